"""Written Go: its compiler takes it and it calls a server with the right types, where Go is installed."""

import shutil
import subprocess
import sys

import pytest

from daemonry.stubs.go import file_of
from daemonry.wire import idl_parser

TEXT = """
# Counts; */
interface org.example.count-er
type Kind (fast, slow)
type Error (x: int)
type Tree (of: []Tree, kinds: [string]Kind, one: ?(a: float), more: ?Tree, type: string)
method Add(steps: ?int) -> (result: int)
method Path(tree: Tree, func: any, error: (a, b)) -> (error: Error, names: [string]())
# [Requires 'more' flag]
method Watch() -> (result: ?Tree)
method Stop() -> ()
error TooFar (limit: int, error: string)
"""

USE = """
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	counter "use/counter"
)

func main() {
	client := counter.CountErClient{Path: os.Args[1]}
	ctx := context.Background()
	steps := int64(2)
	fmt.Println(client.Add(ctx, counter.AddParameters{Steps: &steps}))
	stream, err := client.Watch(ctx, counter.WatchParameters{})
	for err == nil {
		tree, more, failure := stream.Next()
		if !more {
			fmt.Println("ended", failure)
			break
		}
		fmt.Println(tree == nil || tree.Type == "t")
	}
	var far *counter.TooFarError
	if errors.As(client.Stop(ctx, counter.StopParameters{}), &far) {
		fmt.Println("too far", far.Limit, far.Error_)
	}
	kinds := map[string]counter.Kind{"k": counter.KindSlow}
	tree := counter.Tree{Of: []counter.Tree{}, Kinds: kinds, Type: "x"}
	reply, err := client.Path_(ctx, counter.PathParameters{Tree: tree, Func: nil, Error_: "a"})
	fmt.Println(reply.Error_.X, len(reply.Names), err)
}
"""

SERVER = r"""
import json, socket, sys
TREE = {"of": [], "kinds": {"a": "fast"}, "type": "t"}
REPLIES = {"Add": [{"result": 3}], "Watch": [{"result": TREE}, {"result": None}], "Stop": None,
           "Path": [{"error": {"x": 1}, "names": {"n": {}}}]}
SENT = {"tree": {"of": [], "kinds": {"k": "slow"}, "type": "x"}, "func": None, "error": "a"}
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
print("ready", flush=True)
for _ in range(4):
    connection, _ = listener.accept()
    call = json.loads(connection.recv(4096)[:-1])
    name = call["method"].rpartition(".")[2]
    assert name != "Path" or call["parameters"] == SENT, call
    replies = REPLIES[name]
    if replies is None:
        error = {"error": "org.example.count-er.TooFar", "parameters": {"limit": 7, "error": "e"}}
        connection.sendall(json.dumps(error).encode() + b"\0")
    for number, fields in enumerate(replies or []):
        more = number + 1 < len(replies)
        connection.sendall(json.dumps({"parameters": fields, "continues": more}).encode() + b"\0")
    connection.close()
"""


def test_it_is_as_gofmt_writes_it(tmp_path):
    gofmt = shutil.which("gofmt")
    if gofmt is None:
        pytest.skip("needs gofmt")
    (tmp_path / "a.go").write_text(file_of(idl_parser.parse(TEXT))[1], encoding="utf-8")
    done = subprocess.run([gofmt, "-d", "a.go"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.slow
def test_the_compiler_takes_it_and_it_calls_a_server(tmp_path):
    go = shutil.which("go")
    if go is None:
        pytest.skip("needs Go 1.19 or newer")
    name, text = file_of(idl_parser.parse(TEXT))
    (tmp_path / "counter").mkdir()
    (tmp_path / "counter" / name).write_text(text, encoding="utf-8")
    (tmp_path / "main.go").write_text(USE, encoding="utf-8")
    (tmp_path / "go.mod").write_text("module use\n\ngo 1.19\n")
    env = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path / "home"), "GOPROXY": "off"}
    built = subprocess.run(
        [go, "build", "-o", "used", "."], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr
    path = tmp_path / "s"
    server = subprocess.Popen([sys.executable, "-c", SERVER, path], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout.readline() == "ready\n"
        done = subprocess.run(["./used", path], cwd=tmp_path, capture_output=True, text=True, check=False)
    finally:
        server.kill()
        server.communicate()
    wanted = ["3 <nil>", "true", "true", "ended <nil>", "too far 7 e", "1 1 <nil>"]
    assert done.stdout.splitlines() == wanted, done.stderr


def test_names_are_exported_and_none_is_a_method_of_errors():
    name, text = file_of(idl_parser.parse(TEXT))
    assert name == "count_er_client.go"
    for wanted in (
        "package counterclient",
        "type Error_ struct {",
        "type TooFarError struct {",
        "Error_ string `",
    ):
        assert wanted in text

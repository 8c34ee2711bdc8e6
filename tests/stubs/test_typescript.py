"""Written TypeScript: its compiler takes it and Node runs it, if they are there; no text becomes code."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from daemonry.stubs.typescript import comment, file_of
from daemonry.wire import idl_parser

TEXT = """
# Counts; */ process.exit(3) /*
interface org.example.count-er
type Kind (fast, slow)
type Error (x: int)
type Tree (of: []Tree, kinds: [string]Kind, one: ?(a: float))
method Add(steps: ?int) -> (result: int)
method Constructor(tree: Tree, class: any) -> (error: Error, names: [string]())
# [Requires 'more' flag]
method Watch() -> (result: ?Tree)
method Stop() -> ()
method Big() -> (safe: int, result: int, float: float)
error TooFar (limit: int)
"""

USE = """
import { CountErClient, TooFar, VarlinkError } from "./count_er_client.ts";
const client = new CountErClient(process.argv[2]);
console.log(await client.add({ steps: 2 }), await client.add());
for await (const tree of client.watch()) console.log(tree === null ? "none" : tree.of.length);
try {
  await client.stop();
} catch (error) {
  console.log(error instanceof TooFar, error instanceof VarlinkError, (error as TooFar).parameters.limit);
}
try {
  await client.big();
} catch (error) {
  console.log(String(error));
}
"""

SERVER = """
import json, socket, sys
REPLIES = {"Add": [{"result": 3}], "Watch": [{"result": {"of": []}}, {"result": None}], "Stop": None,
           "Big": [{"safe": 2**53 - 1, "float": 1e300, "result": 2**53 + 1}]}
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
print("ready", flush=True)
for _ in range(5):
    connection, _ = listener.accept()
    call = json.loads(connection.recv(4096)[:-1])
    replies = REPLIES[call["method"].rpartition(".")[2]]
    if replies is None:
        error = {"error": "org.example.count-er.TooFar", "parameters": {"limit": 7}}
        connection.sendall(json.dumps(error).encode() + b"\\0")
    for number, fields in enumerate(replies or []):
        more = number + 1 < len(replies)
        connection.sendall(json.dumps({"parameters": fields, "continues": more}).encode() + b"\\0")
    connection.close()
"""


@pytest.fixture
def module(tmp_path):
    """The written module's path."""
    name, text = file_of(idl_parser.parse(TEXT))
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    (tmp_path / "package.json").write_text('{"type": "module"}')
    return path


def test_names_types_and_marks(module):
    text = module.read_text()
    assert "export class CountErClient {" in text
    assert "async constructor_(parameters:" in text
    assert "async *watch(): AsyncGenerator<Tree | null> {" in text
    assert "export type Error_ =" in text
    assert '"one"?: { "a": number; } | null;' in text


@pytest.mark.parametrize("text", ["a */ b", "one\n*/ two", "\u2028*/", "*/*/", "**//"])
def test_no_text_ends_its_comment(text):
    assert "\n".join(comment(text)).count("*/") == 1


def _node_that_runs_typescript():
    node = shutil.which("node")
    if node is None:
        return None
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.match(r"v(\d+)\.", version)
    return node if found and int(found[1]) >= 24 else None


@pytest.mark.slow
def test_node_calls_a_server_by_it(module, tmp_path):
    node = _node_that_runs_typescript()
    if node is None:
        pytest.skip("needs Node 24 or newer, which runs TypeScript")
    (tmp_path / "use.ts").write_text(USE)
    path = tmp_path / "s"
    server = subprocess.Popen([sys.executable, "-c", SERVER, path], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout.readline() == "ready\n"
        done = subprocess.run(
            [node, "use.ts", path], cwd=tmp_path, capture_output=True, text=True, check=False
        )
    finally:
        server.kill()
        server.communicate()
    assert done.stdout.splitlines() == [
        "3 3",
        "0",
        "none",
        "true true 7",
        "RangeError: result: 9007199254740993 is beyond 2^53, and no exact number",
    ], done.stderr


@pytest.mark.slow
def test_the_compiler_takes_it(module, tmp_path):
    compiler = shutil.which("tsc")
    types = Path(compiler or "").resolve().parents[2] / "@types" if compiler else None
    if types is None or not (types / "node").exists():
        pytest.skip("needs tsc, and types of Node beside it: npm install typescript @types/node")
    words = [
        "--noEmit",
        "--strict",
        "--typeRoots",
        types,
        "--types",
        "node",
        "--target",
        "es2022",
        "--module",
        "nodenext",
    ]
    done = subprocess.run(
        [compiler, *words, module.name], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout

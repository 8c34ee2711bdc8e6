"""Written Rust: taken by its compiler, and calls a server with the right types, where rustc is."""

import os
import re
import shutil
import subprocess
import sys

import pytest

from daemonry.stubs.rust import file_of
from daemonry.stubs.rust_runtime import RUNTIME
from daemonry.wire import idl_parser

TEXT = """
# Counts; "#]
interface org.example.count-er
type Kind (fast, slow, self)
type Error (x: int)
type Tree (of: []Tree, kinds: [string]Kind, one: ?(a: float), more: ?Tree, type: string)
method Add(steps: ?int) -> (result: int)
method New(tree: Tree, fn: any, kind: (a, b)) -> (error: Error, names: [string]())
# [Requires 'more' flag]
method Watch() -> (result: ?Tree)
method Stop() -> ()
error TooFar (limit: int)
error Daemon ()
"""

USE = """
mod count_er_client;
use count_er_client::{CountErClient, Error, Json, Kind, Tree};

fn main() {
    let client = CountErClient::new(std::env::args().nth(1).unwrap());
    println!("{}", client.add(Some(2)).unwrap());
    for tree in client.watch().unwrap() {
        println!("{:?}", tree.unwrap().map(|tree| (tree.of.len(), tree.type_)));
    }
    if let Err(Error::TooFar(fields)) = client.stop() {
        println!("too far: {}", fields.limit);
    }
    let tree = Tree {
        of: vec![],
        kinds: [(String::from("k"), Kind::Slow)].into(),
        one: None,
        more: None,
        type_: String::from("quote \\" and \\u{1F600}\\n"),
    };
    println!("{:?}", client.new_(tree, Json::Null, String::from("a")).unwrap().names);
}
"""

SERVER = r"""
import json, socket, sys
TREE = {"of": [], "kinds": {"a": "fast"}, "type": "\U0001f600 \" \\ \n"}
REPLIES = {"Add": [{"result": 3}], "Watch": [{"result": TREE}, {"result": None}], "Stop": None,
           "New": [{"error": {"x": 1}, "names": {"n": {}}}]}
SENT = {"tree": {"of": [], "kinds": {"k": "slow"}, "type": 'quote " and \U0001f600\n'}, "kind": "a"}
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
print("ready", flush=True)
for _ in range(4):
    connection, _ = listener.accept()
    call = json.loads(connection.recv(4096)[:-1])
    name = call["method"].rpartition(".")[2]
    assert name != "New" or call["parameters"] == SENT, call
    replies = REPLIES[name]
    if replies is None:
        error = {"error": "org.example.count-er.TooFar", "parameters": {"limit": 7}}
        connection.sendall(json.dumps(error).encode() + b"\0")
    for number, fields in enumerate(replies or []):
        more = number + 1 < len(replies)
        connection.sendall(json.dumps({"parameters": fields, "continues": more}).encode() + b"\0")
    connection.close()
"""


# Widths on both sides of what rustfmt puts into one line, and a method whose parameters are its own names.
WIDE = (
    "interface org.example.a-rather-long-name-of-an-interface.with-many-parts.that-do-not-fit.one-line\n"
    "type Empty ()\ntype Parser (empty: ?Empty, words: [string]string)\n"
    + "".join(f"type Wide{'e' * n} ({'a' * n}: int, {'b' * n}: ?Empty)\n" for n in range(1, 40))
    + "".join(f"method Call{'l' * n}({'a' * n}: int) -> (result: int)\n" for n in range(1, 60))
    + "".join(f"# [Requires 'more' flag]\nmethod Go{'o' * n}() -> (a: Empty)\n" for n in range(1, 60, 3))
    + "method Names(put: int, one: int, fields: int, replies: int, nothing: int) -> ()\n"
    + "error EmptyHanded ()\n"
)


def tool(name):
    """The path of one of Rust's programs, or None."""
    beside = os.path.expanduser(f"~/.cargo/bin/{name}")
    return shutil.which(name) or (beside if os.path.exists(beside) else None)


def compiler():
    """The path of rustc, or None."""
    return tool("rustc")


@pytest.mark.slow
@pytest.mark.parametrize("text", [TEXT, WIDE])
def test_rustfmt_changes_nothing_and_the_compiler_takes_it(tmp_path, text):
    rustfmt, rustc = tool("rustfmt"), compiler()
    if rustfmt is None or rustc is None:
        pytest.skip("needs rustfmt and rustc")
    path = tmp_path / "client.rs"
    path.write_text(file_of(idl_parser.parse(text))[1], encoding="utf-8")
    words = [rustfmt, "--check", "--edition", "2021", "--color", "never", path]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    words = [rustc, "--edition", "2021", "-D", "warnings", "--crate-type", "lib", "--emit", "metadata"]
    done = subprocess.run([*words, path], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_compiler_takes_it_and_it_calls_a_server(tmp_path):
    rustc = compiler()
    if rustc is None:
        pytest.skip("needs rustc")
    name, text = file_of(idl_parser.parse(TEXT))
    (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "use.rs").write_text(USE, encoding="utf-8")
    words = [rustc, "--edition", "2021", "-D", "warnings", "use.rs", "-o", "use"]
    built = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    path = tmp_path / "s"
    server = subprocess.Popen([sys.executable, "-c", SERVER, path], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout.readline() == "ready\n"
        done = subprocess.run(["./use", path], cwd=tmp_path, capture_output=True, text=True, check=False)
    finally:
        server.kill()
        server.communicate()
    assert done.stdout.splitlines() == [
        "3",
        r'Some((0, "😀 \" \\ \n"))',
        "None",
        "too far: 7",
        '{"n"}',
    ], done.stderr


def test_no_type_has_a_name_of_the_runtime():
    declared = set(re.findall(r"^(?:pub )?(?:struct|enum|trait) (\w+)", RUNTIME, re.MULTILINE))
    types = "".join(f"type {name} (x: int)\n" for name in declared)
    _, text = file_of(idl_parser.parse(f"interface a.b\n{types}"))
    for name in declared:
        assert text.count(f"struct {name}_ {{") == 1


def test_names_are_none_of_rusts():
    name, text = file_of(idl_parser.parse(TEXT))
    assert name == "count_er_client.rs"
    for wanted in (
        "pub struct Error_ {",
        "pub fn new_(",
        "Self_,",
        "pub type_: String,",
        "Daemon_(DaemonFields)",
    ):
        assert wanted in text

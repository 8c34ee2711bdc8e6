"""`mcp-cli call` by the launcher: the same request and output, one call; what is unusual is Python's."""

import hashlib
import os
import pty
import re
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from tests.native.answering_calls import frame, run, standing
from tests.native.conftest import NATIVE, ROOT, telling, with_python

from daemonry.testing import wait_until

pytest.importorskip("mcp_cli")

from mcp_cli.config import cache, passed, search

END = b'{"parameters":{}}\0'
RESULT = '{"content":[{"type":"text","text":"hello"}]}'


def done(**fields):
    return frame({"kind": "done", "text": "hello", "plain": True, "result": RESULT, "ms": 1.25, **fields})


@pytest.fixture(scope="session")
def mcp(native):
    """The launcher as the command `mcp-cli`."""
    return with_python(native, ROOT / "apps/mcp-cli/scripts/mcp-cli")


@pytest.fixture
def place(sandbox, monkeypatch):
    """A sandbox with a configuration that was read before: its server `fake`, and `keyed`, with variables."""
    sandbox.write("mcp_servers.toml", "[[servers]]\nname = 'fake'\n")
    (sandbox.path / "run").mkdir(mode=0o700, exist_ok=True)
    remember(sandbox, monkeypatch)
    return sandbox


def remember(sandbox, monkeypatch):
    monkeypatch.setattr(cache, "SETTLED_NS", -(10**12))
    monkeypatch.chdir(sandbox.path)
    found = search.find(None, sandbox.env)
    servers = [("fake", "a" * 64, 1800.0, ()), ("keyed", "b" * 64, 30.0, ("*", "GIVEN", "KEY_*", "NOT_SET"))]
    cache.remember(found, 0, servers, sandbox.env)


def at(sandbox):
    return sandbox.path / "run/mcp-cli/daemon.sock"


@pytest.mark.parametrize(
    "words",
    [
        ["call", "fake/echo", "text=7"],
        ["call", "fake", "echo", 'text=ä\n"\\\t\x01', "n:=1"],
        ["--json", "call", "fake/echo", '{"text": "7"}'],
        ["call", "--raw", "fake/echo", ' \t[1, "ü"]'],
        ["call", "fake/echo"],
        ["call", "fake/echo", "--", "--text", "7", "--json"],
        ["call", "--", "fake", "echo", "-c"],
        ["call", "--no-check", "--quiet", "fake/e/c/h/o", "a=b", "{"],
        ["-c", "mcp_servers.toml", "call", "fake/echo", "x"],
        ["call", "keyed/echo", "a="],
    ],
)
def test_the_request_is_pythons(place, mcp, words):
    variables = {
        "GIVEN": "ä",
        "KEY_B": "2",
        "KEY_A": "1",
        "KEY": "x",
        "HTTP_PROXY": "http://p",
        "UV_X": "",
        "UV_PUBLISH_TOKEN": "s",
    }
    asked = []
    for command in (mcp, f"{mcp}-python"):
        with standing(at(place), [done(), END]) as stand:
            assert run(command, place, *words, **variables)[0] == 0
        asked += stand.calls
    assert len(asked) == 2
    assert asked[0] == asked[1]


@pytest.mark.parametrize("length", [0, 1, 54, 55, 56, 63, 64, 119, 120, 4000])
def test_fingerprints_of_any_length(place, mcp, length):
    with standing(at(place), [done(), END]) as stand:
        assert run(mcp, place, "call", "keyed/echo", GIVEN="x" * length)[0] == 0
    text = "\0".join(["b" * 64, f"GIVEN={'x' * length}", "NOT_SET"])
    assert stand.calls[0]["parameters"]["fingerprint"] == hashlib.sha256(text.encode()).hexdigest()


def test_the_variables_that_every_server_gets_are_pythons():
    text = (NATIVE / "launcher/mcp_config.h").read_text()
    tables = dict(re.findall(r"char \*const (\w+)\[\] = \{(.*?)\};", text, re.DOTALL))
    read = {name: re.findall(r'"(\w+)"', words) for name, words in tables.items()}
    assert set(read["PASSED"]) == passed.NAMES
    assert tuple(read["PASSED_STARTS"]) == passed.PREFIXES
    assert tuple(read["NEVER_PASSED"]) == passed.NEVER


TOLD = {"kind": "note", "text": "starting"}
REPLIES = {
    "plain": [done(), END],
    "without an end": [done()],
    "several lines": [done(text="a\nb\n"), END],
    "nothing": [done(text=""), END],
    "letters": [done(text="ä€😀\t\r\u202e", result='{"x":"ä\\u0001"}'), END],
    "escapes": [done(text="X").replace(b'"X"', b'"\\ud83d\\ude00\\u00e4\\/\\b\\f\\n\\r\\t\\u007f\\""')],
    "half a pair": [done(text="X").replace(b'"X"', b'"\\ud83d"')],
    "a pair of one": [done(text="X").replace(b'"X"', b'"\\ud83dxxxxxx"')],
    "controls": [done(text="\x1b[31m\x07\x9b2J"), END],
    "not plain": [done(plain=False), END],
    "an error": [done(is_error=True), END],
    "a broken schema": [done(schema_error="$: no"), END],
    "a note before": [frame(TOLD), done(), END],
    "a note in the same piece": [frame(TOLD) + done() + END],
    "byte by byte": [bytes([one]) for one in done()],
    "pieces": [frame({"kind": "part", "result": RESULT[:9]}), done(result=RESULT[9:], plain=False), END],
    "long": [done(text="x" * 300_000), END],
    "a field twice": [done().replace(b'"ms":1.25', b'"kind":"done"')],
    "an empty end": [END],
    "the last": [frame({"kind": "done", "text": "hello", "plain": True, "result": RESULT}, more=False)],
    "an error of the call": [b'{"error":"org.daemonry.mcp.TimedOut","parameters":{"idle_s":1.0}}\0'],
    "no JSON": [b"hello\0"],
    "bytes": [b'{"parameters":{"kind":"done","text":"\xff","plain":true},"continues":true}\0'],
    "NUL in a text": [b'{"parameters":{"kind":"done","text":"a\\u0000b","plain":true},"continues":true}\0'],
    "torn": [done()[:40], None],
    "gone": [None],
}
QUICK = ("plain", "letters", "an error", "a note before", "gone")


@pytest.mark.parametrize(
    "title", [pytest.param(one, marks=[] if one in QUICK else pytest.mark.slow) for one in REPLIES]
)
def test_it_prints_what_python_prints_and_asks_once(place, mcp, title):
    for options in ((), ("--json",), ("--raw",)) if title != "byte by byte" else ((),):
        shown = []
        for command in (mcp, f"{mcp}-python"):
            with standing(at(place), REPLIES[title]) as stand:
                shown.append(run(command, place, "call", "fake/echo", "text=7", *options))
            assert len(stand.calls) == 1
        assert shown[0] == shown[1]


def test_a_plain_call_starts_no_python(place, native, mcp):
    told = telling(place.path / "told", native, "mcp-cli")
    for options in ((), ("--json",), ("--raw",)):
        for language in ("C.UTF-8", "C", None):
            with standing(at(place), REPLIES["letters"]):
                shown = run(told, place, "call", "fake/echo", *options, LANG=language)
            assert shown[0] == 0
            assert not shown[1].startswith(b"python"), options


def test_what_is_unusual_is_pythons_before_anything_is_sent(place, native, mcp):
    told = telling(place.path / "told", native, "mcp-cli")

    def is_pythons(*words, **more):
        return run(told, place, *words, **more)[1].startswith(b"python")

    with standing(at(place), [done(), END]) as stand:
        for words in (
            (),
            ("call",),
            ("list",),
            ("call", "fake"),
            ("call", "fake/"),
            ("call", "/echo"),
            ("call", "fake", "a=b"),
            ("call", "fake/echo", "-"),
            ("call", "fake/echo", "@file"),
            ("call", "fake/echo", "--text", "7"),
            ("call", "fake/echo", "--timeout", "1"),
            ("call", "fake/echo", "--detach"),
            ("call", "fake/echo", "--schema", "x"),
            ("call", "fake/echo", "\u00a0{}"),
            ("call", "other/echo"),
            ("call", "--stdio", "x", "echo"),
            ("--host", "far", "call", "fake/echo"),
            ("call", "fake/echo", b"\xff"),
            ("call", "fake/echo", "x" * 70_000),
            ("--no-daemon", "call", "fake/echo"),
        ):
            assert is_pythons(*words), words
        for name, value in (
            ("MCP_NO_DAEMON", "1"),
            ("DAEMONRY_PURE", "1"),
            ("DAEMONRY_HOST", "far"),
            ("PYTHONPATH", "/x"),
            ("MCP_CLI_RUNTIME", "/x"),
            ("MCP_CONFIG_PATH", "/nonexistent"),
            ("HOME", "relative"),
            ("HOME", "/"),
            ("HOME", None),
            ("LC_ALL", "de_DE.ISO-8859-1"),
            ("XDG_RUNTIME_DIR", "/nonexistent"),
            ("XDG_CACHE_HOME", "/nonexistent"),
        ):
            assert is_pythons("call", "fake/echo", **{name: value}), name
        with (place.path / "given").open("w+") as given:
            assert is_pythons("call", "fake/echo", pass_stdin=given)
        assert stand.calls == []
    assert is_pythons("call", "fake/echo")  # nobody listens


def test_a_changed_configuration_is_pythons(place, native, mcp, monkeypatch):
    told = telling(place.path / "told", native, "mcp-cli")
    cached = next((place.path / "home/.cache/mcp-cli/config").iterdir())
    good = cached.read_text()
    with standing(at(place), [done(), END]) as stand:
        for text in (
            "",
            good.partition("\n")[0],
            good.replace("configuration 3", "configuration 4"),
            good.replace(" 0.", " 9."),
            good.replace("\t1800.0", ""),
            good + "\0",
            good.replace("aaaa", "ä"),
        ):
            cached.write_text(text)
            assert run(told, place, "call", "fake/echo")[1].startswith(b"python"), text
        cached.write_text(good)
        cached.chmod(0o666)
        assert run(told, place, "call", "fake/echo")[1].startswith(b"python")
        cached.chmod(0o600)
        (place.path / "mcp_servers.toml").write_text("[[servers]]\nname = 'fake'\n# other\n")
        assert run(told, place, "call", "fake/echo")[1].startswith(b"python")
        assert stand.calls == []
        remember(place, monkeypatch)
        assert run(told, place, "call", "fake/echo") == (0, b"hello\n", b"")
        assert len(stand.calls) == 1


def test_a_call_that_was_sent_and_cannot_be_shown_has_an_unknown_outcome(place, native, mcp):
    told = telling(place.path / "told", native, "mcp-cli")
    told.with_name("mcp-cli-python").unlink()
    with standing(at(place), [frame(TOLD), done(), END]) as stand:
        code, out, err = run(told, place, "call", "fake/echo")
        assert len(stand.calls) == 1
        assert (code, out) == (6, b"")
        assert b"cannot execute" in err
        assert run(told, place, "call", "other/echo")[0] == 1
        assert len(stand.calls) == 1


@pytest.mark.parametrize("package", ["daemonry", "mcp_cli"])
def test_of_another_version_all_is_pythons(place, native, mcp, package):
    """An older launcher beside a newer Python, and a newer one beside an older Python."""
    told = telling(place.path / "told", native, "mcp-cli")
    link = told.with_name(f".{package}-launcher")
    text = link.read_text()
    link.unlink()
    with standing(at(place), [done(), END]) as stand:
        for other in (
            None,
            text.replace("\nLAUNCHER = ", "\nLAUNCHER = 9"),
            text.replace("\nLAUNCHER = ", "\nL = "),
            "",
        ):
            if other is not None:
                link.write_text(other)
            assert run(told, place, "call", "fake/echo") == (0, b"python call fake/echo\n", b"")
        assert stand.calls == []
        link.write_text(text)
        assert run(told, place, "call", "fake/echo") == (0, b"hello\n", b"")


@pytest.mark.slow
def test_a_slow_call_goes_on_in_python(place, native, mcp):
    shown = []
    for command in (mcp, f"{mcp}-python"):
        with standing(at(place), [done(), END]) as stand:
            stand.go_on.clear()
            call = subprocess.Popen(
                [command, "call", "fake/echo"],
                env=place.env,
                cwd=place.path,
                stdin=subprocess.DEVNULL,
                stdout=-1,
                stderr=-1,
            )
            stand.came.wait(30)
            if command == mcp:
                _wait_for_python(call.pid)
            stand.go_on.set()
            shown.append((*call.communicate(timeout=30), call.returncode))
            assert len(stand.calls) == 1
    assert shown[0] == shown[1] == (b"hello\n", b"", 0)


def _wait_for_python(pid):
    def is_python():
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return b"_continued" in file.read()

    wait_until(is_python, what="Python to go on")


def test_an_interrupt_is_told_as_python_tells_it(place, native, mcp):
    with standing(at(place), [done(), END]) as stand:
        stand.go_on.clear()
        call = subprocess.Popen(
            [mcp, "call", "fake/echo"],
            env=place.env,
            cwd=place.path,
            stdin=subprocess.DEVNULL,
            stdout=-1,
            stderr=-1,
        )
        stand.came.wait(30)
        call.send_signal(signal.SIGINT)
        out, err = call.communicate(timeout=30)
        assert len(stand.calls) == 1
    said = b"fake/echo: interrupted; the call was cancelled, and its outcome is unknown\n"
    assert (call.returncode, out, err) == (130, b"", said)


def test_an_interrupt_before_anything_was_printed_is_told_too(place, native, mcp):
    """The reply is here, and nobody reads: a Ctrl-C ends that."""
    read_fd, write_fd = os.pipe()
    os.set_blocking(write_fd, False)
    with suppress(BlockingIOError):
        while os.write(write_fd, b"x" * 4096):
            pass
    os.set_blocking(write_fd, True)
    with standing(at(place), [done(), END]) as stand:
        call = subprocess.Popen(
            [mcp, "call", "fake/echo"],
            env=place.env,
            cwd=place.path,
            stdin=subprocess.DEVNULL,
            stdout=write_fd,
            stderr=-1,
        )

        def writes():
            return "pipe_write" in Path(f"/proc/{call.pid}/wchan").read_text()

        wait_until(writes, what="the launcher to wait for a reader")
        call.send_signal(signal.SIGINT)
        _, err = call.communicate(timeout=30)
        assert len(stand.calls) == 1
    os.close(read_fd)
    os.close(write_fd)
    assert call.returncode == 130
    assert err == b"fake/echo: interrupted; the call was cancelled, and its outcome is unknown\n"


@pytest.mark.parametrize("sink", ["closed", "full", "nobody"])
def test_the_end_of_its_output(place, native, mcp, sink):
    shown = []
    for command in (mcp, f"{mcp}-python"):
        with standing(at(place), [done(), END]) as stand:
            read_fd, write_fd = os.pipe()
            os.close(read_fd)
            full = os.open("/dev/full", os.O_WRONLY)
            words = [command, "call", "fake/echo"]
            if sink == "closed":
                words = ["/bin/sh", "-c", 'exec "$@" >&-', "sh", *words]
            stdout = {"closed": None, "full": full, "nobody": write_fd}[sink]
            ended = subprocess.run(
                words,
                env=place.env,
                cwd=place.path,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=subprocess.PIPE,
                check=False,
            )
            shown.append((ended.returncode, ended.stderr))
            os.close(full)
            os.close(write_fd)
            assert len(stand.calls) == 1
    assert shown[0] == shown[1]


def on_terminal(command, place, words, pieces):
    """Return the exit code, what a terminal was given as output and errors, and the calls."""
    mine, theirs = pty.openpty()
    with standing(at(place), pieces) as stand:
        call = subprocess.Popen(
            [command, *words],
            env={**place.env, "TERM": "xterm"},
            cwd=place.path,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        shown = []
        try:
            while piece := os.read(mine, 65536):
                shown.append(piece)
        except OSError:  # EIO: nobody writes to it any more
            pass
        os.close(mine)
        code = call.wait(30)
    return code, b"".join(shown), stand.calls


@pytest.mark.parametrize("title", ["plain", "several lines", "controls", "letters", "an error"])
def test_a_terminal_gets_what_python_gives_it(place, native, mcp, title):
    for options in ((), ("--json",)):
        words = ["call", "fake/echo", "text=7", *options]
        shown = [on_terminal(command, place, words, REPLIES[title]) for command in (mcp, f"{mcp}-python")]
        assert shown[0] == shown[1]
        assert b"\x1b" not in shown[0][1]
        [asked] = shown[0][2]
        assert asked["parameters"]["logs"]
        assert bool(asked["parameters"]["answers"]) == (not options)


@pytest.mark.slow
def test_nothing_hostile_makes_it_read_or_write_where_it_may_not(place, sanitized):
    """With the sanitizers of the compiler: replies whole, cut anywhere, and with each byte changed."""
    command = sanitized / "mcp-cli"
    if not command.exists():
        os.link(sanitized / "daemonry", command)
    command.with_name("mcp-cli-python").write_text("#!/bin/sh\nexit 9\n")
    command.with_name("mcp-cli-python").chmod(0o755)
    whole = done(text='ä\n😀"', ms=0.5)
    hostile = [b"".join(piece or b"" for piece in pieces) for pieces in REPLIES.values()]
    hostile += [whole[:cut] for cut in range(0, len(whole), 7)]
    hostile += [whole[:n] + bytes([whole[n] ^ 1 << n % 8]) + whole[n + 1 :] for n in range(0, len(whole), 3)]
    hostile += [
        b'{"parameters":{' + b",".join(b'"k%d":[[1]]' % n for n in range(90)) + b"}}\0",
        b"\0",
        b"{" * 70_000,
    ]
    hostile += [
        b'{"parameters":{"a":' + one + b"}}\0"
        for one in (b'"\\u12', b'"\\', b'"\\ud800\\u', b'"', b"[" * 99, b"1." + b"0" * 99)
    ]
    for reply in hostile:
        for options in ((), ("--json",)):
            with standing(at(place), [reply, None]):
                code, out, err = run(command, place, "call", "fake/echo", "text=7", *options)
            assert code in {0, 9}, (reply, err)
            assert err == b""
            assert code == 0 or out == b""

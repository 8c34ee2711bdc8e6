"""The launcher prints what the Python command prints, asks once, and leaves what is unusual to Python."""

import json
import os
import re
import socket
import subprocess
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.cli.conftest import PROGRAM
from tests.cli.test_transcripts import TRANSCRIPTS, pattern_of
from tests.native.conftest import telling

from daemonry.testing import wait_until

ENDED = 20.0


@pytest.fixture
def probe(sandbox, native):
    """A daemon `probe` that runs, in a sandbox whose `daemonry` is the launcher."""
    sandbox.env["PATH"] = f"{native}:{sandbox.env['PATH']}"
    sandbox.start(sandbox.write("probe.py", PROGRAM))
    return sandbox


@contextmanager
def answering(sandbox, pieces, *, name="fake"):
    """Have something answer for a daemon, in these pieces, and then leave; yield the commands that came."""
    place = sandbox.place(name)
    for directory in (place.host_dir, place.runtime_dir):
        os.makedirs(directory, mode=0o700, exist_ok=True)
    with open(place.record_path, "w") as file:
        # As the daemon writes it: what has blanks in it is Python's.
        json.dump({"endpoint": f"unix:{place.socket_path}", "pid": 1}, file, separators=(",", ":"))
    came = []

    def serve():
        while True:
            try:
                stream = listener.accept()[0]
            except OSError:
                return
            with stream:
                came.append(stream.recv(100))
                for piece in pieces if came[-1] else ():
                    try:
                        stream.sendall(piece)
                    except OSError:
                        break

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(place.socket_path)
        listener.listen()
        server = threading.Thread(target=serve)
        server.start()
        try:
            yield came
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            server.join(ENDED)
            os.unlink(place.socket_path)
            # A `stop` that sees nobody there takes it away.
            Path(place.record_path).unlink(missing_ok=True)


def run(command, sandbox, *words, **more):
    done = subprocess.run(
        [command, *words],
        env={**sandbox.env, **more},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=ENDED,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def executed(native, sandbox, *words, **more):
    """Whether the launcher executed the Python command, which is one that tells of it here."""
    command = telling(sandbox.path / "told", native)
    code, out, _ = run(command, sandbox, *words, **more)
    return code == 0 and out == f"python {' '.join(words)}\n".encode()


@pytest.mark.parametrize(
    "title",
    [pytest.param(title, marks=[] if title == "a life" else pytest.mark.slow) for title in TRANSCRIPTS],
)
def test_the_command_lines_transcripts(sandbox, native, title):
    sandbox.write("probe.py", PROGRAM)
    sandbox.env["PATH"] = f"{native}:{sandbox.env['PATH']}"
    known = {"run": str(sandbox.path / "run")}
    for step in TRANSCRIPTS[title].strip().split("$ ")[1:]:
        typed, _, expected = step.partition("\n")
        if typed.startswith("python "):
            pytest.skip("of a program's own command, which the launcher is not")
        done = sandbox.run("bash", "-c", typed)
        shown = done.out + done.err + (f"[{done.code}]\n" if done.code else "")
        match = re.fullmatch(pattern_of(expected.strip() + "\n", known), shown)
        assert match, f"$ {typed}\n{shown}"
        known |= match.groupdict()


@pytest.mark.parametrize("language", [None, "C", "C.UTF-8"])
def test_plain_commands_start_no_python(sandbox, native, language):
    """Also without a locale, where Python sets a variable of its own."""
    for name in ("LANG", "LC_ALL", "LC_CTYPE"):
        sandbox.env.pop(name, None)
    if language is not None:
        sandbox.env["LANG"] = language
    sandbox.start(sandbox.write("probe.py", PROGRAM))
    for words in (
        ("status", "probe"),
        ("status", "probe", "--json"),
        ("ping", "--json", "probe"),
        ("pause", "probe"),
        ("resume", "probe"),
        ("reload", "probe"),
        ("stop", "probe"),
    ):
        assert not executed(native, sandbox, *words), words
    # On a busy machine its end takes longer than the launcher waits, which then leaves the rest to Python.
    wait_until(lambda: not sandbox.instance("probe").lock_held(), what="the daemon to be gone")


def test_of_another_version_all_is_pythons(sandbox, native):
    """An older launcher beside a newer Python, and a newer one beside an older Python: no usage error."""
    told = telling(sandbox.path / "told", native)
    link = told.with_name(".daemonry-launcher")
    text = link.read_text()
    link.unlink()
    with answering(sandbox, [b"OK\n"]) as came:
        for other in (None, text.replace("LAUNCHER = ", "LAUNCHER = 9"), text.replace("LAUNCHER", "L"), "\0"):
            if other is not None:
                link.write_text(other)
            assert run(told, sandbox, "pause", "fake") == (0, b"python pause fake\n", b"")
        assert came == []
        link.write_text(text)
        assert run(told, sandbox, "pause", "fake") == (0, b"fake: paused\n", b"")


def test_a_command_that_was_sent_and_cannot_be_shown_has_an_unknown_outcome(sandbox, native):
    """The Python command is gone: what came is lost, and that it may have run is not."""
    told = telling(sandbox.path / "told", native)
    told.with_name("daemonry-python").unlink()
    with answering(sandbox, [b"ERR: odd\n"]) as came:
        code, out, err = run(told, sandbox, "pause", "fake")
        assert came == [b"PAUSE\n"]
    assert (code, out) == (6, b"")
    assert b"cannot execute" in err
    assert run(told, sandbox, "pause", "fake")[0] == 1  # nobody is there, and nothing was sent


REPLIES = [
    b'{"state":"running","uptime_secs":90061,"pid":7,"b":[],"c":[1,[true,null]],"d":"x y","e":{"f":[]}}\n',
    b'{"state":"paused","uptime_secs":3725.25,"n":-1,"x":10.0,"y":0.0001,"z":1795906071.3045275}\n',
    b'{"uptime_secs":"long","state":"odd state"}\n',
    b"{}\n",
    b'{"state": "running"}\n',
    b'{"state":"running","state":"paused"}\n',
    b'{"state":"a\\u001b[31m","x":1e5,"y":1.50,"z":-0,"big":12345678901234567890}\n',
    '{"state":"läuft","x":"\u202e"}\n'.encode(),
    b'{"state":7,"deep":' + b"[" * 40 + b"]" * 40 + b"}\n",
    b'{"state":"running","x":NaN}\n',
    b'{"state":"running"\n',
    b"PONG\n",
    b"pong\x1b[2J\n",
    b"OK\n",
    b"OK: a note\n",
    b'OK: a "note" \\ \n',
    b"OK: \x1b]0;title\x07 and more\n",
    b"ERR: Daemon already paused\n",
    b"ERR: Daemon is not paused\n",
    b"ERR: no\n",
    b"ERR: Permission denied\n",
    b"OK\nOK\n",
    b"OK\r\n",
    b"OK\0\n",
    b"\xff\xfe\n",
    b"OK",
    b"",
]
VERBS = ("status", "ping", "pause", "resume", "reload", "stop")
# Where one of each kind is enough: plain, refused, hostile.
QUICK = {(0, "status"), (17, "pause"), (16, "reload")}


@pytest.mark.parametrize(
    ("number", "verb"),
    [
        pytest.param(number, verb, marks=[] if (number, verb) in QUICK else pytest.mark.slow)
        for number in range(len(REPLIES))
        for verb in VERBS
    ],
)
def test_it_prints_what_python_prints_whatever_is_answered(sandbox, native, number, verb):
    compare(sandbox, native, verb, REPLIES[number])


def compare(sandbox, native, verb, reply):
    for options in ((), ("--json",)):
        shown, asked = [], []
        for command in ("daemonry-python", "daemonry"):
            with answering(sandbox, [reply]) as came:
                shown.append(run(native / command, sandbox, verb, "fake", *options))
            asked.append(came.count(verb.upper().encode() + b"\n"))
        assert shown[0] == shown[1]
        if verb in {"pause", "resume", "reload", "stop"}:
            assert asked == [1, 1]


@pytest.mark.parametrize("case", ["huge", "no end", "silence"])
@pytest.mark.slow
def test_replies_without_measure(sandbox, native, case):
    pieces = {"huge": [b"x" * 2**21 + b"\n"], "no end": [b"OK" * 2**18], "silence": [b"O"]}[case]
    for verb in ("status", "pause"):
        with answering(sandbox, pieces) as came:
            expected = run(native / "daemonry-python", sandbox, verb, "fake")
            before = len(came)
            assert run(native / "daemonry", sandbox, verb, "fake") == expected
            assert verb == "status" or len(came) == before + 1


@pytest.mark.slow
def test_nothing_hostile_makes_it_read_or_write_where_it_may_not(sandbox, sanitized):
    """With the sanitizers of the compiler; each reply whole, and byte by byte."""
    (sanitized / "daemonry-python").write_text("#!/bin/sh\ncat >/dev/null\nexit 9\n")
    deep = b'{"a":' * 9 + b"1" + b"}" * 9 + b"\n"
    many = b"{" + b",".join(b'"k%d":%d' % (n, n) for n in range(70)) + b"}\n"
    wide = b'{"a":[' + b",".join(b"%d" % n for n in range(70)) + b"]}\n"
    long = b'{"a":' + b"1" * 60 + b',"b":1.' + b"2" * 60 + b"}\n"
    for reply in (*REPLIES, deep, many, wide, long, b"x" * 2**21, b'{"' + b"\n", b"-\n", b'{"a":-}\n', b"\n"):
        for verb in ("status", "pause"):
            for pieces in [reply], [reply[at : at + 1] for at in range(min(len(reply), 300))]:
                with answering(sandbox, pieces):
                    code, out, err = run(sanitized / "daemonry", sandbox, verb, "fake")
                assert code in {0, 9}, err
                assert err == b""
                assert all(32 <= byte < 127 or byte == 10 for byte in out)


@pytest.mark.parametrize("verb", ["status", "pause"])
def test_an_answer_that_did_not_come_is_told_and_not_asked_for_again(sandbox, native, verb):
    with answering(sandbox, [b"OK\n"]) as came:
        words = ("_answered", "late", verb.upper(), verb, "fake")
        ended = run(native / "daemonry-python", sandbox, *words)
    assert (ended[0], ended[1], came) == (5, b"", [])
    assert b"fake" in ended[2]
    assert ended[2].count(b"\n") == 1  # one line, and no traceback


def test_what_is_unusual_is_pythons(probe, native):
    for words in (
        ("status",),
        ("stop", "probe", "--force"),
        ("stop", "nobody"),
        ("status", "probe", "--timeout", "1"),
        ("status", "probe", "--json", "--json"),
        ("status", "probe", "-h"),
        ("status", "probe", "other"),
        ("status", "./probe.py"),
        ("status", "unix:/x"),
        ("status", "-x"),
        ("status", "é"),
        ("status", "nobody"),
        ("ps",),
        (),
    ):
        assert executed(native, probe, *words), words
    for name, value in (
        ("DAEMONRY_PURE", "1"),
        ("DAEMONRY_HOST", "x"),
        ("PYTHONPATH", "/x"),
        ("PROBE_STATE", "/x"),
        ("PROBE_RUNTIME", "/x"),
        ("HOME", "relative"),
        ("PATH", "/other:/bin:/usr/bin"),  # the daemon has another, which a status tells
    ):
        assert executed(native, probe, "status", "probe", **{name: value}), name


def test_stop_is_pythons_where_a_home_may_own_the_daemon(probe, native):
    directory = probe.path / "home/.local/state/daemonry" / Path(probe.place("probe").host_dir).name
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    assert not executed(native, probe, "ping", "probe")
    (directory / "home-00000000.json").write_text("{}")
    assert executed(native, probe, "stop", "probe")
    assert not executed(native, probe, "ping", "probe")


LONG = """\
import asyncio
from daemonry import Daemon

daemon = Daemon("probe", version="1.2")


@daemon.work
async def a_long_job(run):
    try:
        await asyncio.Event().wait()
    finally:
        await asyncio.sleep(2.5)


if __name__ == "__main__":
    daemon.main()
"""


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_stop_that_takes_long_is_told_by_python_and_asked_once(sandbox, native, options):
    shown = []
    for command in ("daemonry-python", "daemonry"):
        sandbox.start(sandbox.write("probe.py", LONG))
        shown.append(run(native / command, sandbox, "stop", "probe", *options))
    assert shown[0] == shown[1]
    assert shown[0][0] == 0
    assert b"held up by" in shown[0][2]


def test_a_stale_socket_an_odd_record_and_a_crash_are_pythons(sandbox, native):
    place = sandbox.place("fake")
    os.makedirs(place.host_dir, mode=0o700)
    path = place.record_path
    for record in (
        '{"endpoint":"unix:/nonexistent/x.sock"}',
        '{"endpoint":"tcp:127.0.0.1:1"}',
        '{"endpoint":"unix:@abstract"}',
        '{"endpoint":"unix:/a b"}',
        '{"endpoint":7}',
        '{"endpoint":"unix:/' + "x" * 200 + '"}',
        "{",
        "",
        "[]",
    ):
        with open(path, "w") as file:
            file.write(record)
        assert executed(native, sandbox, "ping", "fake"), record
    os.unlink(path)
    os.mkfifo(path)
    assert executed(native, sandbox, "ping", "fake")
    os.unlink(path)
    with answering(sandbox, [b"PONG\n"]) as came:
        with open(place.crash_note_path, "w"):
            assert executed(native, sandbox, "ping", "fake")
        assert came == []


def test_the_end_of_its_output(probe, native):
    """As `daemonry status | head -0`, and into a full device."""
    read_fd, write_fd = os.pipe()
    os.close(read_fd)
    for sink, code in ((write_fd, 141), (os.open("/dev/full", os.O_WRONLY), 1)):
        for command in ("daemonry", "daemonry-python"):
            done = subprocess.run(
                [native / command, "status", "probe"],
                env=probe.env,
                stdout=sink,
                stderr=subprocess.PIPE,
                check=False,
            )
            assert done.returncode == code
            expected = b"" if code == 141 else b"cannot write the output: No space left on device\n"
            assert done.stderr == expected
        os.close(sink)


def all_of(terminal):
    """Return what was written to a terminal; a read ends with a line or two."""
    parts = []
    try:
        while parts[-1:] != [b""]:
            parts.append(os.read(terminal, 10_000))
    except OSError:  # EIO: nobody writes to it any more
        pass
    os.close(terminal)
    return b"".join(parts)


def test_colours_on_a_terminal_are_pythons(probe, native):
    shown = []
    for command in ("daemonry", "daemonry-python"):
        mine, theirs = os.openpty()
        subprocess.run([native / command, "ping", "probe"], env=probe.env, stdout=theirs, check=True)
        subprocess.run(
            [native / command, "status", "probe"],
            env={**probe.env, "TERM": "xterm"},
            stdout=theirs,
            check=True,
        )
        os.close(theirs)
        shown.append(all_of(mine).partition(b"uptime")[0])
    assert shown[0] == shown[1]
    assert b"\x1b[32mrunning\x1b[0m" in shown[0]


def test_it_takes_the_commands_place_and_gives_it_back(tmp_path, native, installer, monkeypatch, capsys):
    monkeypatch.setattr(installer, "LAUNCHER", native / "daemonry")
    command = tmp_path / "daemonry"
    assert installer.install(tmp_path) == 1
    command.write_text("#!/bin/sh\necho python\n")
    for _ in range(2):
        assert installer.install(tmp_path) == 0
        assert installer.is_launcher(command)
        assert (tmp_path / "daemonry-python").read_text().endswith("echo python\n")
        assert os.access(command, os.X_OK)
    for _ in range(2):
        assert installer.remove(tmp_path) == 0
        assert command.read_text().endswith("echo python\n")
    assert [path.name for path in tmp_path.iterdir()] == ["daemonry"]
    assert "native" in capsys.readouterr().out
    # A program of ours is one of them; another of the same name is left alone.
    (tmp_path / "vx-cass").write_text("#!/bin/sh\necho mine\n")
    (tmp_path / "palingenesis").write_text("#!python\nfrom palingenesis.cli import main\nmain()\n")
    assert installer.install(tmp_path) == installer.status(tmp_path) == 0
    assert installer.is_launcher(tmp_path / "palingenesis")
    assert (tmp_path / "vx-cass").read_text().endswith("echo mine\n")
    assert installer.remove(tmp_path) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["daemonry", "palingenesis", "vx-cass"]
    assert "palingenesis.cli" in (tmp_path / "palingenesis").read_text()
    # An upgrade by pip puts a script there: nothing of it is lost.
    installer.install(tmp_path)
    command.write_text("#!/bin/sh\necho newer\n")
    assert installer.remove(tmp_path) == 0
    assert command.read_text().endswith("echo newer\n")

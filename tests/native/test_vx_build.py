"""`vx build` by the launcher where nothing has to be built: the same request, the same output, one call."""

import os
import signal
import subprocess

import pytest
from tests.native.answering_calls import frame, run, standing
from tests.native.conftest import ROOT, telling, with_python

pytest.importorskip("vx")

FINISHED = {
    "kind": "finished",
    "title": "big",
    "total": 3,
    "done": 3,
    "cached": 3,
    "success": True,
    "duration_ms": 1005,
    "run": "01M8",
}


def finished(**fields):
    return frame({**FINISHED, **fields})


@pytest.fixture(scope="session")
def vx(native):
    """The launcher as the command `vx`."""
    return with_python(native, ROOT / "apps/vx/scripts/vx")


@pytest.fixture
def place(sandbox):
    sandbox.env["VX_HOME"] = str(sandbox.path / "vx")
    return sandbox


def at(sandbox):
    return sandbox.path / "vx/aether.sock"


@pytest.mark.parametrize(
    ("words", "more"),
    [
        ([], {}),
        (["-r", "--json"], {"QUOTED": '"\\\n\x01ä', "EMPTY": ""}),
        (["--release", "-q", "--no-spawn"], {"LANG": None, "LC_ALL": None}),
        (["--quiet"], {"LANG": "C", "LONG": "ä" * 20_000, "RAW": b"\xff"}),
        (["--quiet"], {"LANG": "POSIX", "LC_CTYPE": "C"}),
        (["--quiet"], {"LC_ALL": "C"}),
        (["--quiet"], {"LANG": "C.UTF-8", "LC_CTYPE": ""}),
    ],
)
def test_the_request_is_pythons(place, vx, words, more):
    asked = []
    for command in (vx, f"{vx}-python"):
        with standing(at(place), [finished()]) as stand:
            assert run(command, place, "build", *words, **more)[0] == 0
        asked += stand.calls
    assert len(asked) == 2
    assert asked[0] == asked[1]


def test_a_variable_that_is_too_long_is_not_sent(place, vx):
    with standing(at(place), [finished()]) as stand:
        assert run(vx, place, "build", "-q", LONG="x" * 32_769, SHORT="x" * 32_768)[0] == 0
    assert "LONG" not in stand.calls[0]["parameters"]["environment"]
    assert "SHORT" in stand.calls[0]["parameters"]["environment"]


REPLIES = {
    "cached": [finished()],
    "one action": [finished(total=1, duration_ms=5)],
    "half a hundredth": [finished(duration_ms=125)],
    "built": [finished(executed=2, cached=1)],
    "outputs": [finished(outputs=["HERE/.vx/a", "HEREx/b", "/elsewhere/c"])],
    "odd outputs": [finished(outputs=["HERE/ä", "/x\ny", "/\x1b[2J"])],
    "an odd title": [finished(title="b\x1b[31m\n")],
    "tests": [finished(passed=2)],
    "failed": [finished(success=False, text="it broke", code=1)],
    "failed in its own way": [finished(success=False, text="it\nbroke", code=7)],
    "diagnostics": [frame({"kind": "said", "title": "a", "text": "a.c:1: warning"}), finished()],
    "work": [
        frame({"kind": "planned", "total": 2, "done": 1}),
        frame({"kind": "started", "title": "a", "total": 2, "done": 1}),
        finished(executed=1),
    ],
    "a number that is none": [finished(duration_ms="1", total=2.5)],
    "an event without a kind": [frame({"title": "a"}), finished()],
    "an event that is none": [frame({"kind": "said", "text": 5}), finished()],
    "a note without a text": [frame({"kind": "note"}), finished()],
    "less than nothing": [finished(total=-1)],
    "a failure of aether": [
        b'{"error":"org.varlink.service.InvalidParameter","parameters":{"parameter":"x"}}\0'
    ],
    "no JSON": [b"hello\0"],
    "byte by byte": [bytes([one]) for one in finished()],
}
QUICK = ("cached", "outputs", "failed", "work")


@pytest.mark.parametrize(
    "title", [pytest.param(one, marks=[] if one in QUICK else pytest.mark.slow) for one in REPLIES]
)
def test_it_prints_what_python_prints_and_asks_once(place, vx, title):
    here = os.path.realpath(place.path).encode()
    pieces = [piece.replace(b"HERE", here) for piece in REPLIES[title]]
    for options in ((), ("--json",), ("-q",)) if title != "byte by byte" else ((),):
        shown = []
        for command in (vx, f"{vx}-python"):
            with standing(at(place), pieces) as stand:
                shown.append(run(command, place, "build", *options))
            assert len(stand.calls) == 1
        assert shown[0] == shown[1]
        assert b"Traceback" not in shown[0][2]


def test_a_build_without_work_starts_no_python(place, native, vx):
    told = telling(place.path / "told", native, "vx")
    with standing(at(place), [finished(outputs=["/a/b"])]):
        assert run(told, place, "build") == (
            0,
            b"big: cached, nothing to build (3 actions, 1.00 s)\n  output: /a/b\n",
            b"",
        )
        assert run(told, place, "build", "-q") == (0, b"", b"")
        assert run(told, place, "build", "--json")[1].startswith(b'{"ok":true,"project":"big","total":3')


def test_what_is_unusual_is_pythons_before_anything_is_sent(place, native, vx):
    told = telling(place.path / "told", native, "vx")
    with standing(at(place), [finished()]) as stand:
        for words in (
            (),
            ("status",),
            ("build", "--why-not"),
            ("build", "-x"),
            ("build", "--die-with-parent"),
            ("build", "-C", "/"),
        ):
            assert run(told, place, *words)[1].startswith(b"python"), words
        for name, value in (
            ("DAEMONRY_PURE", "1"),
            ("PYTHONUTF8", "1"),
            ("VX_AETHER", str(at(place))),
            ("VX_HOME", "relative"),
            ("VX_HOME", "/nonexistent"),
            ("LC_ALL", "xx_YY.ISO-8859-1"),
            ("MUCH", "\x01" * 20_000),
        ):
            assert run(told, place, "build", **{name: value})[1].startswith(b"python"), name
        assert stand.calls == []


@pytest.mark.parametrize("package", ["daemonry", "vx"])
def test_of_another_version_all_is_pythons(place, native, vx, package):
    told = telling(place.path / "told", native, "vx")
    link = told.with_name(f".{package}-launcher")
    text = link.read_text()
    link.unlink()
    with standing(at(place), [finished()]) as stand:
        for other in (None, text.replace("\nLAUNCHER = ", "\nLAUNCHER = 9"), ""):
            if other is not None:
                link.write_text(other)
            assert run(told, place, "build", "-q") == (0, b"python build -q\n", b"")
        assert stand.calls == []
        if package == "vx":  # the request says the version of the package that is there now
            link.write_text(text.replace('__version__ = "0', '__version__ = "9'))
            assert run(told, place, "build", "-q") == (0, b"", b"")
            assert stand.calls[0]["parameters"]["version"].startswith("9")


def test_an_interrupt_is_told_as_python_tells_it(place, vx):
    shown = []
    for command in (vx, f"{vx}-python"):
        with standing(at(place), [finished()]) as stand:
            stand.go_on.clear()
            build = subprocess.Popen(
                [command, "build"],
                env=place.env,
                cwd=place.path,
                stdin=subprocess.DEVNULL,
                stdout=-1,
                stderr=-1,
            )
            stand.came.wait(30)
            build.send_signal(signal.SIGINT)
            shown.append((*build.communicate(timeout=30), build.returncode))
    assert shown[0] == shown[1] == (b"", b"", 130)


@pytest.mark.slow
def test_nothing_hostile_makes_it_read_or_write_where_it_may_not(place, sanitized):
    command = sanitized / "vx"
    if not command.exists():
        os.link(sanitized / "daemonry", command)
    command.with_name("vx-python").write_text("#!/bin/sh\nexit 9\n")
    command.with_name("vx-python").chmod(0o755)
    whole = finished(outputs=["/a", '/b"'], passed=0)
    hostile = [b"".join(pieces) for pieces in REPLIES.values()]
    hostile += [whole[:n] + bytes([whole[n] ^ 1 << n % 8]) + whole[n + 1 :] for n in range(0, len(whole), 3)]
    hostile += [finished(outputs=["x"] * 70), finished(total=10**15 - 1), finished(total=10**16)]
    for reply in hostile:
        for options in ((), ("--json",)):
            with standing(at(place), [reply, None]):
                code, out, err = run(command, place, "build", *options)
            assert code in {0, 9}, (reply, err)
            assert err == b""
            assert all(32 <= byte < 127 or byte == 10 for byte in out)

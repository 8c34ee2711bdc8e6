"""Development: no stale code, traces for the caller, stacks, a console, a debugger; for the own user only."""

import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import daemonry
from daemonry import errors
from daemonry.cli.dev import differing
from daemonry.runtime.debugging.interface import Debug
from daemonry.runtime.fingerprint import Code
from daemonry.service.interface.handler import Context
from daemonry.service.server.control import answer
from daemonry.testing import wait_until
from daemonry.transport.credentials import Peer
from daemonry.wire.text import TextCommand

SERVED = """
from daemonry import Interface

@daemon.serve
class Probed(Interface, name="org.example.probed"):
    '''Is looked into.'''
    def number(self) -> int:
        return 1
    def boom(self) -> int:
        return inner({})
    async def slow(self) -> int:
        note("slow")
        await wait_told("go")
        return self.number()
    def block(self) -> None:
        note("blocked")
        while not told("free"):
            time.sleep(0.01)
    def stop_here(self) -> int:
        local = 41
        breakpoint()
        return local

def inner(nothing):
    return nothing["missing"]
"""
CALL = "org.example.probed."


@pytest.fixture
def dev(probe, monkeypatch):
    probe.sandbox.env["DAEMONRY_DEV"] = "1"
    probe.sandbox.env.pop("PYTHONDONTWRITEBYTECODE", None)  # as people run it
    monkeypatch.setenv("DAEMONRY_DEV", "1")
    monkeypatch.setenv("DAEMONRY_SANDBOX", str(probe.sandbox.path))
    return probe


def ensure(probe, **options):
    return daemonry.ensure("probe", **options)


def in_thread(work):
    results = []
    thread = threading.Thread(target=lambda: results.append(work()))
    thread.start()
    return thread, results


def edit(probe, old, new):
    text = probe.program.read_text()
    assert old in text
    probe.program.write_text(text.replace(old, new))


def test_ensure_serves_no_stale_code_and_says_so_while_calls_drain(dev, capfd):
    old = dev.start(SERVED).pid()
    with ensure(dev) as first:
        call, results = in_thread(lambda: first.call(CALL + "Slow")["result"])
        wait_until(lambda: dev.noted("slow") is not None, what="the call runs")
        edit(dev, "return 1", "return 2")
        with ensure(dev) as second:
            assert second.call(CALL + "Number") == {"result": 2}
        dev.tell("go")
        call.join(20)
        assert results == [1]
    assert "probe.py changed: replacing the daemon" in capfd.readouterr().err
    wait_until(lambda: not Path(f"/proc/{old}").exists(), what="the old daemon has ended")


def test_code_that_cannot_be_imported_is_the_callers_error(dev):
    dev.start(SERVED)
    edit(dev, "return 1", "return 1 +")
    with pytest.raises(errors.StartFailed, match="SyntaxError"):
        ensure(dev)
    with ensure(dev, mode="require") as client:  # starts nothing
        assert client.call(CALL + "Number") == {"result": 1}


def test_the_caller_has_the_trace_of_the_program_in_development_mode_only(probe, dev):
    dev.start(SERVED)
    with ensure(dev) as client, pytest.raises(errors.Failed) as failed:
        client.call(CALL + "Boom")
    trace = failed.value.parameters["traceback"]
    assert "in inner" in trace
    assert "/daemonry/" not in trace
    assert trace.rstrip() in failed.value.__notes__[0]
    assert "KeyError: 'missing'" in dev.cli("call", CALL + "Boom").err.splitlines()[-1]
    del probe.sandbox.env["DAEMONRY_DEV"]
    assert dev.cli("restart").code == 0
    with ensure(dev, mode="require") as client, pytest.raises(errors.Failed) as failed:
        client.call(CALL + "Boom")
    assert "traceback" not in failed.value.parameters


def test_stacks_are_told_while_the_loop_is_stuck(dev):
    instance = dev.start(SERVED)
    with ensure(dev) as client:
        call, _ = in_thread(lambda: client.call(CALL + "Block"))
        wait_until(lambda: dev.noted("blocked") is not None)
        told = dev.cli("attach")
        dev.tell("free")
        call.join(20)
    assert told.code == 0, told.err
    assert told.out.startswith("thread MainThread\n")
    assert f"{dev.program}:" in told.out
    assert " in block\n" in told.out
    assert any(one["kind"] == "task" for one in dev.cli("attach", "--json").json()["stacks"])
    assert instance.status()["state"] == "running"


@pytest.mark.parametrize("peer", [Peer.of(None), Peer.of((1, 4_000_000_000, 0))])
def test_only_a_process_of_the_own_user_looks_in(peer):
    assert answer(TextCommand("STACKS"), peer, None).to_text() == "ERR: Permission denied\n"
    debug = Debug(Code(), dict)
    for method in (debug.code, debug.stacks, debug.console, debug.debugger):
        with pytest.raises(errors.PermissionDenied):
            method(Context("", peer)).send(None)


def attached(probe, way, lines):
    words = [sys.executable, "-m", "daemonry", "attach", "probe", way]
    with probe.sandbox.popen(*words, stdin=subprocess.PIPE) as process:
        out, err = process.communicate("".join(f"{line}\n" for line in lines), timeout=30)
    assert process.returncode == 0, err
    return out


def test_a_console_runs_in_the_daemon_and_awaits_on_its_loop(dev):
    dev.start(SERVED)
    lines = [
        "probed.number() + 40",
        "await asyncio.sleep(0, 'awaited')",
        "print('\\x1b[2J')",
        "1/0",
        "exit()",
    ]
    out = attached(dev, "--console", lines)
    assert "41\n>>> 'awaited'" in out
    assert "\x1b" not in out
    assert "ZeroDivisionError" in out
    assert dev.cli("ping").code == 0


def test_a_breakpoint_waits_for_a_debugger_and_goes_on_behind_it(dev):
    dev.start(SERVED)
    with ensure(dev) as client:
        call, results = in_thread(lambda: client.call(CALL + "StopHere")["result"])
        wait_until(lambda: any("attach probe --debugger" in told for told in dev.messages()))
        out = attached(dev, "--debugger", ["p local + 1000", "!local = 7", "q"])
        call.join(20)
    assert "1041" in out
    assert results == [7]


def test_a_breakpoint_is_found_from_a_session_with_another_runtime_directory(dev):
    """As over ssh, where XDG_RUNTIME_DIR is not set: the daemon's record says where its sockets are."""
    dev.start(SERVED)
    with ensure(dev) as client:
        call, results = in_thread(lambda: client.call(CALL + "StopHere")["result"])
        wait_until(lambda: any("attach probe --debugger" in told for told in dev.messages()))
        usual = dev.sandbox.env.pop("XDG_RUNTIME_DIR")
        try:
            out = attached(dev, "--debugger", ["!local = 7", "q"])
        finally:
            dev.sandbox.env["XDG_RUNTIME_DIR"] = usual
        call.join(20)
    assert "stop_here()" in out
    assert results == [7]


def test_a_breakpoint_outside_of_development_is_passed_over(probe, monkeypatch):
    monkeypatch.setenv("DAEMONRY_SANDBOX", str(probe.sandbox.path))
    probe.start(SERVED)
    with ensure(probe) as client:
        assert client.call(CALL + "StopHere") == {"result": 41}
    assert any("is passed over" in told for told in probe.messages())


def test_a_debugger_that_goes_lets_the_loop_go_on(dev):
    dev.start(SERVED)
    attached(dev, "--debugger", [f"b {dev.program}:{line_of(dev, 'return 1')}", "c"])
    with ensure(dev) as client:
        assert client.call(CALL + "Number") == {"result": 1}


def line_of(probe, text):
    lines = probe.program.read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)


def test_a_file_saved_while_the_process_began_counts_as_changed(tmp_path, monkeypatch):
    """It may have been read before it was saved."""
    module = tmp_path / "saved_early.py"
    module.write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("daemonry.clock.BEGAN_S", time.time() - 1)
    __import__("saved_early")
    try:
        assert str(module) in Code(thorough=True).changed()
        assert str(module) not in Code().changed()
        monkeypatch.setattr("daemonry.clock.BEGAN_S", time.time() + 1)
        assert str(module) not in Code(thorough=True).changed()
    finally:
        del sys.modules["saved_early"]


def test_a_file_that_is_away_for_a_moment_has_not_changed():
    before = {"a": (1, 1), "b": (1, 1), "c": None}
    assert differing(before, {"a": None, "b": (2, 1), "c": None}) == ["b"]
    assert differing(before, {"a": (1, 1), "b": (1, 1), "c": (3, 3)}) == ["c"]


@pytest.mark.slow
def test_dev_restarts_on_save_and_shows_calls_until_it_is_interrupted(dev):
    dev.write(SERVED)
    out = dev.sandbox.path / "out"
    with out.open("w") as file:
        words = [sys.executable, "-m", "daemonry", "dev", dev.program]
        process = dev.sandbox.popen(*words, stdout=file, stderr=file)
    try:
        wait_until(lambda: "probe: ready at" in out.read_text(), 20)
        wait_until(
            lambda: dev.cli("call", CALL + "Number").code == 0 and '{"result":1}' in out.read_text(), 20
        )
        edit(dev, "return 1", "return 1 +")
        wait_until(lambda: "SyntaxError" in out.read_text() and "next save" in out.read_text(), 20)
        with ensure(dev, mode="require") as client:
            call, _ = in_thread(lambda: client.call(CALL + "Slow"))
            wait_until(lambda: "Slow" in out.read_text(), what="the call is shown")
            edit(dev, "return 1 +", "return 2")
            wait_until(lambda: "probe: upgraded at" in out.read_text(), 20)
            assert dev.cli("call", CALL + "Number").json() == {"result": 2}
            wait_until(lambda: '{"result":2}' in out.read_text(), what="calls of the new process are shown")
            dev.tell("go")
            call.join(20)
        replies = re.compile(r"<-- .*Slow.*", re.MULTILINE)
        wait_until(lambda: replies.search(out.read_text()), what="the reply of the old process is shown")
        assert replies.findall(out.read_text())[0].endswith('{"result":1} (old code)')
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    assert dev.instance.lock_held() is False


@pytest.mark.parametrize("end", ["SIGTERM", "SIGHUP", "reader gone"])
def test_dev_leaves_no_daemon_when_an_editor_or_a_closed_terminal_ends_it(dev, end):
    dev.write(SERVED)
    words = [sys.executable, "-m", "daemonry", "dev", dev.program]
    with dev.sandbox.popen(*words, stderr=subprocess.DEVNULL) as process:
        assert "probe: ready at" in process.stdout.readline()
        if end == "reader gone":
            process.stdout.close()
        else:
            process.send_signal(getattr(signal, end))
        assert process.wait(20) in (0, 141)  # 141 where a line was on its way to the reader
    assert dev.instance.lock_held() is False

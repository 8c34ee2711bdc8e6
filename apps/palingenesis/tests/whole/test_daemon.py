"""The daemon as a real process, commanded by its own command and over a raw socket."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from daemonry.testing import wait_until

COMMAND = Path(sys.executable).parent / "palingenesis"

# What a quick command may not load: each costs about as much as the command itself.
HEAVY = {
    "argparse", "asyncio", "dataclasses", "enum", "inspect", "json", "logging", "msgspec", "pathlib", "re",
    "socket", "subprocess", "threading", "typing", "watchfiles", "yaml",
}  # fmt: skip


def status_line(uptime_secs, session, saves, *, state="monitoring", resumes=0):
    """The original's STATUS line, as its serde_json prints it."""
    return (
        f'{{"state":"{state}","uptime_secs":{uptime_secs},"current_session":{session},'
        f'"saves_count":{saves},"total_resumes":{resumes}}}\n'
    ).encode()


# --- the socket ---------------------------------------------------------------------------------


def test_the_socket_is_there_and_private_while_it_runs(app):
    """P1, P7, P14."""
    app.done("daemon", "start")
    assert stat.S_ISSOCK(app.socket_path.stat().st_mode)
    assert stat.S_IMODE(app.socket_path.stat().st_mode) == 0o600
    assert stat.S_IMODE(app.socket_path.parent.stat().st_mode) == 0o700
    app.done("daemon", "stop")
    assert not app.socket_path.exists()


def test_status_is_the_originals_line_to_the_byte(app):
    """P2."""
    app.done("daemon", "start")
    line = app.raw(b"STATUS\n")
    assert line == status_line(json.loads(line)["uptime_secs"], "null", 0)
    path = app.session('a "quoted" ü.md')
    app.wait_status(saves_count=1)
    line = app.raw(b"STATUS\n")
    session = f'"{app.sessions}/a \\"quoted\\" ü.md"'
    assert path.exists()
    assert line == status_line(json.loads(line)["uptime_secs"], session, 1)


def test_each_command_on_its_own_connection(app):
    """P3, P4, P5, P8, P9."""
    app.done("daemon", "start")
    assert app.raw(b"PAUSE\n") == b"OK\n"
    assert json.loads(app.raw(b"STATUS\n"))["state"] == "paused"
    assert app.raw(b"PAUSE\n") == b"ERR: Daemon already paused\n"
    assert app.raw(b" resume \r\n") == b"OK\n"
    assert json.loads(app.raw(b"status\n"))["state"] == "monitoring"
    assert app.raw(b"RESUME\n") == b"ERR: Daemon is not paused\n"
    assert app.raw(b"RELOAD\n") == b"OK\n"
    assert app.raw(b"DANCE\n") == b"ERR: Unknown command: DANCE\n"


def test_five_clients_at_once(app):
    """P16."""
    app.done("daemon", "start")
    with ThreadPoolExecutor(5) as pool:
        lines = list(pool.map(app.raw, [b"STATUS\n"] * 5))
    assert [json.loads(line)["state"] for line in lines] == ["monitoring"] * 5


def test_a_socket_where_the_configuration_says(app):
    path = app.sandbox.path / "s/mine.sock"
    app.config(f'daemon.socket_path = "{path}"\n')
    app.done("daemon", "start")
    assert path.is_socket()
    assert not app.socket_path.exists()
    assert app.status()["state"] == "monitoring"
    app.done("daemon", "stop")
    assert not path.exists()


# --- commands -----------------------------------------------------------------------------------


def test_handle_pause_resume(app):
    app.done("daemon", "start")
    assert app.done("pause") == "Monitoring paused\n"
    assert app.done("pause") == "Already paused\n"
    assert app.done("resume") == "Monitoring resumed\n"
    assert app.done("resume") == "Already monitoring\n"
    assert app("pause", "--json").json() == {
        "ok": True,
        "name": "palingenesis",
        "result": "Monitoring paused",
    }


def test_status_is_one_fact_a_line(app):
    app.done("daemon", "start")
    path = app.session("a.md")
    fields = app.wait_status(saves_count=1)
    lines = app.done("status").splitlines()
    assert lines[0:2] == ["State: monitoring", f"PID: {fields['pid']}"]
    assert lines[2].startswith("Uptime: ")
    assert lines[3:] == [f"Current session: {path}", "Saves: 1", "Total resumes: 0"]
    assert app.done("daemon", "status").splitlines()[3:] == lines[3:]
    assert list(app.status()) == [
        "state", "uptime_secs", "current_session", "saves_count", "total_resumes", "pid",
    ]  # fmt: skip


def test_start_returns_with_nothing_kept_open(app):
    """`out=$(palingenesis daemon start)` must return."""
    assert "ready at unix:" in app.done("daemon", "start")


def test_a_second_start_says_who_runs(app):
    app.done("daemon", "start")
    assert app.done("daemon", "start") == f"palingenesis: already running (pid {app.pid()})\n"


def test_restart_is_another_process_with_the_same_counts(app):
    app.done("daemon", "start")
    app.session("a.md")
    before = app.wait_status(saves_count=1)
    app.done("daemon", "restart")
    after = app.status()
    assert after["pid"] != before["pid"]
    assert (after["saves_count"], after["current_session"]) == (1, before["current_session"])


def test_foreground_serves_until_a_signal(app):
    process = app.sandbox.popen(COMMAND, "daemon", "start", "--foreground")
    try:
        # It answers before it is ready; a signal that comes so early is a start that failed.
        assert any("ready at unix:" in line for line in process.stderr)
        assert app.pid() == process.pid
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 0
    assert not app.socket_path.exists()


@pytest.mark.parametrize(
    "words",
    [["status"], ["daemon", "status"], ["pause"], ["resume"], ["daemon", "reload"], ["daemon", "stop"]],
)
def test_a_quick_command_loads_nothing_heavy(app, words):
    app.done("daemon", "start")
    loaded = (
        "import sys; bare = set(sys.modules)\n"
        f"from palingenesis.cli import run; code = run({words!r})\n"
        "loaded = sorted(set(sys.modules) - bare)\n"
        "sys.stderr.write(repr((code, loaded)))"
    )
    ended = app.sandbox.run(sys.executable, "-c", loaded)
    code, modules = eval(ended.err)
    assert code == 0
    assert set(modules) & HEAVY == set()
    assert "palingenesis.served" not in modules


# --- the work -----------------------------------------------------------------------------------


def test_it_begins_with_the_session_that_changed_last(app):
    old, new = app.session("old.md"), app.session("x/new.md")
    os.utime(old, (1000, 1000))
    app.done("daemon", "start")
    assert (app.status()["current_session"], app.status()["saves_count"]) == (str(new), 0)


def test_waiting_for_a_directory_holds_up_no_stop(app):
    """The stop hook wakes the wait in the very turn of the loop in which the work is cancelled."""
    shutil.rmtree(app.sessions)
    app.done("daemon", "start")
    wait_until(lambda: "is not there: waiting for it" in app.log())
    stopped = app("daemon", "stop")
    assert (stopped.code, stopped.err) == (0, "")
    assert "left behind" not in app.log()


def test_a_session_file_that_changes_is_seen(app):
    first, second = app.session("a.md"), app.session("b.md")
    app.done("daemon", "start")
    for count, path in enumerate([first, second, first], start=1):
        app.session(path.name, f"turn {count}\n")
        assert app.wait_status(saves_count=count)["current_session"] == str(path)


def test_an_editors_atomic_save_counts_once(app):
    path = app.session("a.md")
    app.done("daemon", "start")
    aside = app.sessions / ".a.md.tmp"
    aside.write_text(path.read_text() + "more")
    aside.rename(path)
    app.wait_status(saves_count=1)
    last = app.session("b.md")
    app.wait_status(current_session=str(last))
    assert app.status()["saves_count"] == 2


def test_paused_it_watches_nothing(app):
    first = app.session("a.md")
    app.done("daemon", "start")
    if sys.platform == "linux":
        wait_until(lambda: watches(app.pid(), app.sessions), what="the sessions are watched")
    app.done("pause")
    if sys.platform == "linux":
        wait_until(lambda: not watches(app.pid(), app.sessions), what="no watch of the sessions is held")
    app.session("b.md")
    app.done("resume")
    assert app.status()["current_session"] == str(first)
    third = app.session("c.md")
    app.wait_status(current_session=str(third))
    assert app.status()["saves_count"] == 1


def watches(pid, directory):
    """Whether a process has a watch of the system on a directory; the library watches files of its own."""
    held = Path(f"/proc/{pid}/fdinfo").iterdir()
    return any(f" ino:{directory.stat().st_ino:x} " in path.read_text() for path in held)


def test_a_session_directory_that_comes_later(app):
    app.sessions.rmdir()
    app.done("daemon", "start")
    wait_until(lambda: "is not there: waiting for it" in app.log())
    path = app.session("a.md")
    app.wait_status(current_session=str(path), saves_count=1)
    assert app.log().count("waiting for it") == 1


def test_bad_front_matter_is_told_once_and_counts(app):
    app.done("daemon", "start")
    for count in (1, 2):
        (app.sessions / "bad.md").write_text("---\ntitle: [\n---\n" + "x" * count)
        app.wait_status(saves_count=count)
    assert app.log().count("front matter cannot be read") == 1


# --- surviving ----------------------------------------------------------------------------------


def test_counts_session_and_pause_survive_a_restart(app):
    app.done("daemon", "start")
    path = app.session("a.md")
    app.wait_status(saves_count=1)
    app.done("pause")
    app.done("daemon", "restart")
    app.wait_status(state="paused", saves_count=1, current_session=str(path))
    assert stat.S_IMODE(app.state_path.stat().st_mode) == 0o600
    app.done("resume")
    app.session("a.md", "more\n")
    app.wait_status(state="monitoring", saves_count=2)


def test_total_resumes_of_the_state_file_are_kept(app):
    app.state_dir.mkdir(parents=True, mode=0o700)
    app.state_path.write_text('{"total_resumes": 7}')
    app.done("daemon", "start")
    app.session("a.md")
    app.wait_status(saves_count=1, total_resumes=7)
    assert json.loads(app.state_path.read_text())["total_resumes"] == 7


def test_a_torn_state_file_is_set_aside(app):
    app.state_dir.mkdir(parents=True, mode=0o700)
    app.state_path.write_text('{"saves_count": 1')
    app.done("daemon", "start")
    assert app.status()["saves_count"] == 0
    assert (app.state_dir / "state.json.bak").read_text() == '{"saves_count": 1'
    assert app.log().count("is damaged") == 1


def kill_9(app):
    pid = app.pid()
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not Path(f"/proc/{pid}").exists() or zombie(pid), what="the daemon is gone")


def zombie(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
@pytest.mark.slow
def test_kill_9_then_start(app):
    """What STATUS has shown is there again, and the log has one line about it each time."""
    app.done("daemon", "start")
    for count in range(1, 4):
        app.session("a.md", f"turn {count}\n")
        app.wait_status(saves_count=count)
        kill_9(app)
        started = app("daemon", "start")
        assert started.code == 0, started
        assert app.status()["saves_count"] == count
        assert app.log().count("ended without cleaning up") == count


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such a name")
@pytest.mark.slow
def test_a_file_name_that_is_not_utf8_does_not_end_it(app):
    """Neither when it appears, nor at each start as long as it is there and touched."""
    bad = os.fsencode(app.sessions) + b"/\x1b[31m\xff.tmp"
    app.done("daemon", "start")
    app.session("0.md")
    app.wait_status(saves_count=1)
    for count in (2, 3):
        with open(bad, "wb"):
            pass
        trouble = wait_until(lambda: app.status().get("watch_trouble"))
        assert trouble.startswith(f"no notices about {app.sessions} (")
        assert "watch_trouble" in app.done("status")
        app.session(f"{count}.md")
        app.wait_status(saves_count=count)
        app.done("daemon", "restart")
        os.unlink(bad)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_kill_9_in_the_middle_of_saves(app):
    """Whenever it is killed, the state file is whole and never behind what was shown."""
    app.done("daemon", "start")
    for turn in range(30):
        for name in "abc":
            app.session(f"{name}.md", f"turn {turn}\n")
        shown = app.status()["saves_count"]
        kill_9(app)
        assert app("daemon", "start").code == 0
        assert app.status()["saves_count"] >= shown
        assert not (app.state_dir / "state.json.bak").exists()
    assert [path.name for path in app.state_dir.iterdir() if "tmp" in path.name] == []


def test_on_a_full_disk_the_state_file_stays_whole_and_the_daemon_goes_on(app, tiny_disk):
    app.sandbox.env["PALINGENESIS_STATE"] = str(tiny_disk / "state")
    app.done("daemon", "start")
    app.session("a.md")
    app.wait_status(saves_count=1)
    with pytest.raises(OSError, match="No space"):
        (tiny_disk / "fill").write_bytes(b"\0" * 2**20)
    app.session("a.md", "more\n")
    app.wait_status(saves_count=2)
    refused = app("pause")
    state = tiny_disk / "state/state.json"
    assert (refused.code, refused.err) == (
        1,
        f"{state} cannot be written: No space left on device; nothing was changed\n",
    )
    assert app.status()["state"] == "monitoring"
    assert json.loads(state.read_text())["saves_count"] == 1
    (tiny_disk / "fill").unlink()
    app.done("pause")
    assert json.loads(state.read_text())["saves_count"] == 2
    app.done("daemon", "stop")


def test_the_variables_say_where_its_files_are(app, tmp_path_factory):
    box = app.sandbox.path
    app.sandbox.env |= {
        "PALINGENESIS_STATE": str(box / "st"),
        "PALINGENESIS_RUNTIME": str(box / "rt"),
        "PALINGENESIS_CONFIG": str(box / "c.toml"),
    }
    app.sandbox.write("c.toml", f'monitoring.session_dir = "{box}/sessions"\n')
    (box / "sessions").mkdir()
    app.done("daemon", "start")
    assert (box / "rt/palingenesis.sock").is_socket()
    (box / "sessions/a.md").write_text("---\n---\n")
    app.wait_status(current_session=f"{box}/sessions/a.md")
    assert (box / "st/state.json").exists()
    assert not app.state_dir.exists()
    app.done("daemon", "stop")


# --- reload -------------------------------------------------------------------------------------


def test_a_good_reload_moves_the_watch(app):
    app.done("daemon", "start")
    other = app.sandbox.path / "other"
    other.mkdir()
    app.config(f'[monitoring]\nsession_dir = "{other}"\n')
    assert app.done("daemon", "reload") == "palingenesis: reloaded\n"
    app.session("a.md")
    (other / "b.md").write_text("---\n---\n")
    app.wait_status(current_session=f"{other}/b.md", saves_count=1)


def test_a_broken_reload_keeps_the_old_and_says_why(app):
    app.done("daemon", "start")
    app.config('[monitoring]\nsesion_dir = "/tmp"\n')
    refused = app("daemon", "reload")
    assert (refused.code, refused.out) == (1, "")
    assert refused.err == (
        f"{app.config_path}:2:1: monitoring.sesion_dir: is not known: did you mean 'session_dir'?\n"
    )
    path = app.session("a.md")
    app.wait_status(current_session=str(path))


def test_a_reload_names_what_needs_a_restart(app):
    app.done("daemon", "start")
    app.config('[daemon]\nsocket_path = "/tmp/x.sock"\nlog_level = "debug"\n')
    assert "needs a restart to take effect: daemon.socket_path" in app.done("daemon", "reload")
    assert app.raw(b"RELOAD\n").startswith(b"OK: ")


def test_the_log_level_is_live(app):
    app.config('daemon.log_level = "error"\n')
    app.done("daemon", "start")
    before = app.log()
    app.done("pause")
    assert app.log() == before
    app.config('daemon.log_level = "info"\n')
    app.done("daemon", "reload")
    app.done("resume")
    assert app.log() != before


def test_sighup_reloads(app):
    app.done("daemon", "start")
    app.config("nonsense = 1\n")
    os.kill(app.pid(), signal.SIGHUP)
    assert wait_until(lambda: "nonsense: is not known" in app.log())


# --- logs ---------------------------------------------------------------------------------------


def test_logs_tail_since_and_follow(app):
    app.done("daemon", "start")
    wait_until(lambda: f"watching {app.sessions}" in app.log())  # the last line that a start brings
    assert len(app.done("logs", "--tail", "1").splitlines()) == 1
    assert app.done("logs", "-t", "0") == app.done("logs", "--since", "1h")
    seen = app.sandbox.path / "seen"
    with open(seen, "w") as file:
        following = app.sandbox.popen(COMMAND, "logs", "--follow", stdout=file)
    try:

        def followed():
            app("pause"), app("resume")
            return "paused" in seen.read_text()

        wait_until(followed)
    finally:
        following.kill()
        following.communicate()

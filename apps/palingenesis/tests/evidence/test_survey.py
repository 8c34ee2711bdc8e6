"""Sessions on the disk and the processes in them: agents as tables, the look at them, and who lives where."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from daemonry.errors import ConfigError
from daemonry.testing import wait_until
from palingenesis.agents import profile as profiles_module
from palingenesis.agents.known import builtin, profiles
from palingenesis.evidence import opencode, places, processes, survey
from palingenesis.evidence.process import Process
from palingenesis.evidence.survey import Survey, local_zone
from palingenesis.verdict.facts import Sign
from palingenesis.verdict.reasons import Reason

SAMPLES = Path(__file__).parents[1] / "samples"
ID = "11111111-1111-4111-8111-111111111111"


class Home:
    """A home directory with sessions in it."""

    def __init__(self, path):
        self.path = path
        self.project = path / "proj"
        self.project.mkdir()
        self.environment = {"HOME": str(path)}

    def claude(self, sample="claude-usage-limit-5h", session=ID, **changes):
        """Put a sample where Claude Code would have it, in our project's directory."""
        name = "".join(sign if sign.isalnum() else "-" for sign in str(self.project))
        target = self.path / ".claude/projects" / name / f"{session}.jsonl"
        target.parent.mkdir(parents=True, exist_ok=True)
        lines = [json.loads(line) for line in (SAMPLES / f"{sample}.jsonl").read_text().splitlines()]
        changes = {"cwd": str(self.project), "sessionId": session} | changes
        target.write_text("".join(json.dumps(line | changes) + "\n" for line in lines))
        return target

    def register(self, pid, session=ID, **changes):
        entry = {"pid": pid, "sessionId": session, "procStart": processes.start_of(pid), "status": "busy"}
        target = self.path / f".claude/sessions/{pid}.json"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(entry | changes))

    def look(self, **own):
        return Survey(profiles(own, "c.toml"), self.environment).look(0.0)

    def only(self, **own):
        (session,) = self.look(**own)
        return session


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path)


@pytest.fixture
def stand_in(tmp_path):
    """Start programs that are called `claude` and do nothing; they end with the test."""
    program = tmp_path / "bin/claude"
    program.parent.mkdir()
    shutil.copy(shutil.which("sleep"), program)
    started = []

    def start(cwd):
        process = subprocess.Popen([program, "600"], cwd=cwd)
        started.append(process)
        wait_until(lambda: any(one.pid == process.pid for one in processes.running({"claude"})))
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


# --- tables ---------------------------------------------------------------------------------------


def test_each_built_in_agent_says_with_which_version_it_was_checked():
    known = profiles({}, "")
    assert set(known) == {"claude", "codex", "opencode", "gemini", "markdown"}
    assert all(profile.checked_with for name, profile in known.items() if name != "markdown")


@pytest.mark.parametrize(
    ("table", "key", "reason"),
    [
        ({}, "agents.mine", "sessions names no place: give at least one pattern"),
        ({"sessions": []}, "agents.mine", "sessions names no place: give at least one pattern"),
        ({"sessions": ["x/*.md"]}, "agents.mine", "a place must be absolute"),
        ({"sessions": "x"}, "agents.mine.sessions", "expected `array`, got `str`"),
        ({"sessions": ["/x"], "reader": "tea"}, "agents.mine", "reader must be one of"),
        ({"sessions": ["/x"], "sesions": []}, "agents.mine.sesions", "is not known"),
        ({"sessions": ["/x"], "resume": ["x", "{id}"]}, "agents.mine", "resume has no {prompt}"),
        ({"sessions": ["/x"], "resume": ["x", "{prompt}"]}, "agents.mine", "resume has no {id}"),
        ({"sessions": ["/x"], "served": ["x", "{prompt}"]}, "agents.mine", "served has no {id}"),
        ({"sessions": ["/x"], "resume": ["x", "{name}"]}, "agents.mine", "{name} is not known"),
        ({"sessions": ["/x"], "resume": ["x", "{id", "{prompt}"]}, "agents.mine", "write {{ for a brace"),
        ({"sessions": ["/x"], "resume": ["x", "{id.__class__}", "{prompt}"]}, "agents.mine", "is not known"),
        (
            {"sessions": ["/x"], "signs": [{"pattern": "(", "reason": "context"}]},
            "agents.mine.signs",
            "regular",
        ),
        (
            {"sessions": ["/x"], "signs": [{"pattern": "x", "reason": "tea"}]},
            "agents.mine.signs",
            "invalid enum",
        ),
        ({"sessions": ["/x"], "errors": {"a": "tea"}}, "agents.mine.errors", "invalid enum value"),
    ],
)
def test_a_table_that_cannot_be_used_is_told_with_its_key(table, key, reason):
    with pytest.raises(ConfigError) as caught:
        profiles({"mine": table}, "c.toml")
    assert str(caught.value).startswith("c.toml: ")
    assert key in str(caught.value)
    assert reason in str(caught.value)


@pytest.mark.parametrize("name", ["", "a:b", "a b", "\x1b[2J", "x" * 65, "-x", "\u00fc"])
def test_an_agent_s_name_is_plain(name):
    with pytest.raises(ConfigError, match="letters, digits, - and _"):
        profiles({name: {"sessions": ["/x"]}}, "c.toml")


def test_a_user_s_table_changes_single_keys_and_entries():
    mine = {"claude": {"resume": ["my", "{id}", "{prompt}"], "errors": {"odd": "transient"}}}
    known = profiles(mine, "")["claude"]
    assert known.resume == ("my", "{id}", "{prompt}")
    assert known.errors["odd"] is Reason.TRANSIENT
    assert known.errors["rate_limit"] is Reason.RATE_LIMIT
    assert "codex" not in profiles({"codex": {"enabled": False}}, "")


def test_no_built_in_table_skips_permissions():
    tables = builtin()
    for table in tables.values():
        table.get("run", {}).pop("not_carried", None)  # values with which an option is left out
    words = json.dumps(tables)
    for flag in ("dangerously", "bypass", "yolo", "full-access", "full-auto", "skip-trust"):
        assert flag not in words


def test_places_follow_the_agent_s_variables():
    place = profiles_module.place
    assert place("{CODEX_HOME:-~/.codex}/s", {"HOME": "/h"}) == "/h/.codex/s"
    assert place("{CODEX_HOME:-~/.codex}/s", {"HOME": "/h", "CODEX_HOME": "/c"}) == "/c/s"
    assert place("{OPENCODE_DB}", {"HOME": "/h"}) == ""
    assert place("~/x", {}) == ""


def test_an_argument_stays_one_argument_whatever_is_in_it():
    words = profiles_module.command(
        ["x", "--r={id}", "{prompt}"], {"id": "a b; {cwd}", "prompt": "$(rm) {id}\n"}
    )
    assert words == ["x", "--r=a b; {cwd}", "$(rm) {id}\n"]


# --- the look -------------------------------------------------------------------------------------


def test_a_session_s_reason_reset_and_directory(home):
    home.claude()
    session = home.only()
    assert session.key == f"claude:{ID}"
    assert session.cwd == str(home.project)
    assert (session.verdict.reason, session.verdict.resets_at_s) == (Reason.RATE_LIMIT, 1795852777)


def test_agents_own_variables_move_their_places(home, tmp_path):
    home.claude()
    (home.path / ".claude").rename(tmp_path / "elsewhere")
    assert home.look() == []
    home.environment["CLAUDE_CONFIG_DIR"] = str(tmp_path / "elsewhere")
    assert home.only().verdict.reason is Reason.RATE_LIMIT


def test_an_agent_of_the_user_s_own_by_a_table(home):
    (home.project / ".chat.history.md").write_text("# aider\n> litellm.RateLimitError: try later\n")
    own = {
        "aider": {
            "sessions": [f"{home.project}/.chat.history.md"],
            "signs": [{"pattern": "ratelimiterror", "reason": "rate limit"}],
        }
    }
    session = home.only(aider=own["aider"])
    assert (session.agent, session.verdict.reason) == ("aider", Reason.RATE_LIMIT)


def test_markdown_is_a_session_only_with_front_matter(home):
    (home.path / ".opencode").mkdir()
    (home.path / ".opencode/a.md").write_text("---\ntitle: x\n---\n")
    (home.path / ".opencode/b.md").write_text("# notes\n")
    session = home.only()
    assert (session.agent, session.id, session.verdict.reason) == ("markdown", "a", Reason.UNKNOWN)


def test_a_file_is_read_again_only_when_it_changed(home, monkeypatch):
    path = home.claude()
    found = Survey(profiles({}, ""), home.environment)
    reads = []
    real = survey._from_file
    monkeypatch.setattr(survey, "_from_file", lambda *given: reads.append(given) or real(*given))
    for _ in range(3):
        found.look(0.0)
    assert len(reads) == 1
    with path.open("ab") as file:
        file.write(b"{}\n")
    found.look(0.0)
    assert len(reads) == 2


def test_names_that_are_not_utf8(home):
    path = home.claude()
    odd = os.fsencode(path.parent) + b"/\xff\xfe.jsonl"
    os.rename(path, odd)
    session = home.only()
    assert os.fsencode(session.path) == odd
    assert session.verdict.reason is Reason.RATE_LIMIT


def test_what_cannot_be_read_says_so(home):
    path = home.claude()
    path.unlink()
    path.symlink_to("/dev/zero")
    assert home.look() == []
    path.unlink()
    path.write_text("{}\n")
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("root reads everything")
    assert "cannot be read" in home.only().verdict.said


def test_a_directory_of_very_many_files_is_walked_to_a_bound(home, monkeypatch):
    path = home.claude()
    for number in range(300):
        (path.parent / f"{number}.txt").touch()
    assert len(list(places.find(f"{path.parent}/*.jsonl"))) == 1
    monkeypatch.setattr(places, "MAX_ENTRIES", 100)
    assert len(list(places.find(f"{path.parent}/*.txt"))) < 100


@pytest.mark.slow
def test_a_directory_of_a_hundred_thousand_files(home):
    path = home.claude()
    for number in range(100_000):
        os.close(os.open(f"{path.parent}/{number}.jsonl", os.O_CREAT | os.O_WRONLY, 0o600))
    found = Survey(profiles({}, ""), home.environment)
    reasons = {one.verdict.reason for one in found.look(time.time() - 60)}
    assert Reason.UNKNOWN in reasons
    assert len(found._read) == survey.MAX_READ


def test_a_directory_s_name_that_looks_like_a_pattern(tmp_path):
    odd = tmp_path / "a[1]*"
    odd.mkdir()
    (odd / "x.md").write_text("---\n---\n")
    import glob

    assert [found.path for found in places.find(f"{glob.escape(str(odd))}/*.md")] == [f"{odd}/x.md"]


def test_the_zone_is_the_machine_s():
    assert local_zone({"TZ": "Asia/Kolkata"}) == "Asia/Kolkata"
    assert local_zone({"TZ": ":Asia/Kolkata"}) == "Asia/Kolkata"
    assert local_zone({"TZ": "Mars/Olympus"}) != "Mars/Olympus"


# --- who lives there ------------------------------------------------------------------------------


def test_a_registered_process_lives_in_its_session(home, stand_in):
    home.claude("claude-crashed-in-tool")
    process = stand_in(home.path)
    home.register(process.pid)
    verdict = home.only().verdict
    assert (verdict.reason, verdict.alive_pid) == (Reason.RUNNING, process.pid)


def test_a_registered_process_that_is_gone_is_a_crash(home, stand_in):
    home.claude("claude-crashed-in-tool", timestamp=_now())
    process = stand_in(home.path)
    home.register(process.pid)
    process.kill()
    process.wait()
    assert home.only().verdict.reason is Reason.CRASHED


def test_a_number_that_passed_to_another_process_is_not_alive(home, stand_in):
    home.claude("claude-crashed-in-tool", timestamp=_now())
    home.register(stand_in(home.path).pid, procStart="17")
    assert home.only().verdict.reason is Reason.CRASHED


def test_a_process_in_the_same_directory_may_live_in_it(home, stand_in):
    home.claude("claude-crashed-in-tool", cwd=str(home.project / "sub"))
    process = stand_in(home.project)
    verdict = home.only().verdict
    assert (verdict.reason, verdict.confidence.value, verdict.alive_pid) == (
        Reason.RUNNING,
        "likely",
        process.pid,
    )


def test_a_process_that_lives_in_another_session_does_not_count(home, stand_in):
    home.claude("claude-crashed-in-tool", entrypoint="sdk-cli", timestamp=_now())
    home.register(stand_in(home.project).pid, session="another")
    assert home.only().verdict.reason is Reason.CRASHED


def test_a_process_elsewhere_does_not_count(home, stand_in):
    home.claude("claude-crashed-in-tool", entrypoint="sdk-cli", timestamp=_now())
    stand_in(home.path)
    assert home.only().verdict.reason is Reason.CRASHED


SERVED_ID = "01a220bb-1869-7302-8fe3-8a2ee1346d19"


@pytest.fixture
def served(home, monkeypatch):
    """A session of Codex that its server has open, and the processes that `seen` says."""
    record = home.path / f".codex/sessions/2026/11/28/rollout-2026-11-28T05-57-01-{SERVED_ID}.jsonl"
    record.parent.mkdir(parents=True)
    sample = (SAMPLES / "codex-usage.jsonl").read_text()
    record.write_text(sample.replace("/home/me/proj", str(home.project)))
    parents = {}

    def seen(*given):
        found = []
        for pid, words, cwd, parent in given:
            files = frozenset({str(record)} if "app-server" in words else ())
            found.append(Process(pid, "1", "codex", ("codex", *words), str(cwd), files))
            parents[pid] = parent
        monkeypatch.setattr(processes, "running", lambda _: found)
        monkeypatch.setattr(processes, "parent_of", lambda pid: parents[pid])
        return home.only()

    return seen


def test_a_server_of_the_agent_lives_in_no_session(home, served):
    """Codex 0.171.0 leaves one that outlives its windows, and has their records open."""
    server = (7, ("app-server", "--listen", "unix://"), home.project, 1)
    verdict = served(server).verdict
    assert (verdict.reason, verdict.alive_pid, verdict.served) == (Reason.RATE_LIMIT, 7, True)
    verdict = served(server, (8, (), home.project, 1)).verdict
    assert (verdict.alive_pid, verdict.served) == (8, False)
    other = (9, ("app-server", "daemon"), home.project, 1)
    assert served(other, (8, (), home.path, 1)).verdict.served is True  # the one beside it is elsewhere


def test_a_server_keeps_no_other_session_of_its_directory_alive(home, served, monkeypatch):
    served((7, ("app-server",), home.project, 1))
    monkeypatch.setattr(processes, "running", lambda _: [
        Process(7, "1", "codex", ("codex", "app-server"), str(home.project), frozenset())
    ])  # fmt: skip
    assert home.only().verdict.alive_pid is None


def test_several_windows_in_one_directory_are_told_as_such(home, served):
    server = (7, ("app-server",), home.project, 1)

    def living(*windows):
        facts = served(server, *windows).evidence.facts
        return next(one for one in facts if one.sign is Sign.MAYBE_ALIVE)

    assert living((8, (), home.project, 1)).text == ""
    assert living((8, (), home.project, 1), (9, (), home.project, 8)).text == ""  # a script and its program
    assert living((8, (), home.project, 1), (9, (), home.project, 1)).text == "one of 2"


def test_a_registry_of_anything_breaks_nothing(home):
    home.claude()
    directory = home.path / ".claude/sessions"
    directory.mkdir()
    for number, text in enumerate(
        ['{"pid":"x"}', "[]", "\xff", '{"pid":-1,"sessionId":"a"}', '{"pid":1e300}']
    ):
        (directory / f"{number}.json").write_text(text)
    assert home.only().verdict.reason is Reason.RATE_LIMIT


@pytest.mark.parametrize(
    ("words", "program"),
    [
        (["/usr/bin/claude", "-p"], "claude"),
        (["claude"], "claude"),
        (["node", "/opt/bin/claude.js"], "claude"),
        (["/usr/bin/node", "--max-old-space-size=9", "/x/claude", "-p"], "claude"),
        (["vim", "claude"], ""),
        (["node", "server.js", "claude"], ""),
        ([], ""),
        ([""], ""),
        (["/usr/bin/python3.11", "/home/me/.local/bin/claude"], "claude"),
        (["/opt/python3.13t", "-u", "/home/me/bin/claude"], "claude"),
        (["nodejs", "/usr/bin/claude"], "claude"),
        (["/bin/dash", "/home/me/bin/claude"], "claude"),
        (["pythonic", "claude"], ""),
    ],
)
def test_a_program_is_known_by_its_own_name(words, program):
    assert processes.program_of(words, {"claude"}) == program


def _now():
    from datetime import UTC, datetime

    return datetime.now(UTC).isoformat()


# --- opencode's database --------------------------------------------------------------------------


@pytest.fixture
def database(home):
    path = home.path / ".local/share/opencode/opencode.db"
    path.parent.mkdir(parents=True)
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE session (id, parent_id, directory, title, time_created, time_updated)")
    connection.execute("CREATE TABLE message (id, session_id, data)")
    for number, line in enumerate((SAMPLES / "opencode-message-data.jsonl").read_text().splitlines()):
        now_ms = int(time.time() * 1000) + number
        session = (f"ses_{number}", None, str(home.project), "t", 1, now_ms)
        connection.execute("INSERT INTO session VALUES (?,?,?,?,?,?)", session)
        connection.execute(
            "INSERT INTO message VALUES (?,?,?)", ("msg_1", f"ses_{number}", '{"role":"user"}')
        )
        connection.execute("INSERT INTO message VALUES (?,?,?)", ("msg_2", f"ses_{number}", line))
    yield path, connection
    connection.close()


def test_opencode_s_sessions(home, database):
    found = {one.id: one for one in home.look()}
    assert {key: one.verdict.reason for key, one in found.items()} == {
        "ses_0": Reason.COMPLETED,
        "ses_1": Reason.CRASHED,
        "ses_2": Reason.CONTEXT,
        "ses_3": Reason.LOGIN,
        "ses_4": Reason.USER_EXIT,
        "ses_5": Reason.CRASHED,
    }
    assert found["ses_0"].cwd == str(home.project)


def test_opencode_s_database_is_only_read(home, database):
    """Neither the database nor its log change, and nothing is checkpointed."""
    path, _ = database
    files = [path, Path(f"{path}-wal")]
    before = [(file.read_bytes(), file.stat().st_mtime_ns) for file in files]
    assert len(before[1][0]) > 0
    home.look()
    assert [(file.read_bytes(), file.stat().st_mtime_ns) for file in files] == before


def test_a_database_that_nobody_has_open_gets_no_file_beside_it(home, database):
    """SQLite's usual read-only connection makes a log and its index, and leaves them."""
    path, connection = database
    connection.close()
    assert os.listdir(path.parent) == [path.name]
    assert len(home.look()) == 6
    assert os.listdir(path.parent) == [path.name]
    with contextlib.closing(sqlite3.connect(path)) as writer:
        writer.execute("ALTER TABLE message RENAME TO msg")
    (session,) = home.look()
    assert "another schema" in session.verdict.said
    assert os.listdir(path.parent) == [path.name]


def test_a_database_that_changes_while_it_is_read_as_one_at_rest_is_read_again(home, database, monkeypatch):
    database[1].close()
    rows = opencode._rows

    def changed_meanwhile(path, how, *more):
        found = rows(path, how, *more)
        if "immutable" in how:
            with contextlib.closing(sqlite3.connect(path)) as writer:
                writer.execute("DELETE FROM session WHERE id != 'ses_0'")
                writer.commit()
        return found

    monkeypatch.setattr(opencode, "_rows", changed_meanwhile)
    assert [one.id for one in home.look()] == ["ses_0"]


def test_a_sub_agent_s_session_is_none_of_its_own(home, database):
    database[1].execute("UPDATE session SET parent_id='ses_1' WHERE id='ses_0'")
    assert "ses_0" not in {one.id for one in home.look()}


def test_a_locked_database_gives_what_was_known(home, database, monkeypatch):
    _, connection = database
    monkeypatch.setattr(opencode, "LOCK_WAIT_S", 0.01)
    monkeypatch.setattr(opencode, "FIRST_LOCK_WAIT_S", 0.01)
    connection.execute("PRAGMA journal_mode=DELETE")
    found = Survey(profiles({}, ""), home.environment)
    before = {one.id: one.verdict.reason for one in found.look(0.0)}
    connection.execute("BEGIN EXCLUSIVE")
    assert {one.id: one.verdict.reason for one in found.look(0.0)} == before
    (fresh,) = home.look()
    assert fresh.verdict.reason is Reason.UNKNOWN
    assert "locked" in fresh.verdict.said
    connection.execute("ROLLBACK")


def test_the_first_look_waits_longer_for_a_lock(home, database, monkeypatch):
    """A command has no earlier look to show."""
    _, connection = database
    monkeypatch.setattr(opencode, "LOCK_WAIT_S", 0.0)
    connection.execute("PRAGMA journal_mode=DELETE")
    connection.execute("BEGIN EXCLUSIVE")
    threading.Timer(0.3, connection.execute, ["ROLLBACK"]).start()
    assert len(home.look()) == 6


def test_a_database_of_a_newer_schema_is_unknown(home, database):
    database[1].execute("ALTER TABLE message RENAME COLUMN data TO body")
    (session,) = home.look()
    assert session.verdict.reason is Reason.UNKNOWN
    assert "another schema" in session.verdict.said


@pytest.mark.parametrize("content", [b"", b"SQLite format 3\0" + b"\xff" * 5000, b"garbage" * 1000])
def test_a_torn_database_is_unknown(home, content):
    path = home.path / ".local/share/opencode/opencode.db"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    assert [one.verdict.reason for one in home.look()] == [Reason.UNKNOWN]


def test_rows_of_anything_break_nothing(home, database):
    connection = database[1]
    rows = ("{", "[]", "null", b"\xff", None, 7, '{"role":"assistant","error":7}', '{"role":{}}', "x" * 9999)
    for number, data in enumerate(rows):
        session = (f"odd_{number}", None, b"\xff" if number else 7, None, "x", int(time.time() * 1000))
        connection.execute("INSERT INTO session VALUES (?,?,?,?,?,?)", session)
        connection.execute("INSERT INTO message VALUES (?,?,?)", ("m", f"odd_{number}", data))
    found = {one.id: one.verdict.reason for one in home.look()}
    assert len(found) == 6 + len(rows)
    assert found["odd_0"] is Reason.UNKNOWN


# --- the commands ---------------------------------------------------------------------------------


@pytest.fixture
def seen(app):
    app.home = Home(app.sandbox.path / "home")
    return app


def test_the_commands_work_without_a_daemon_and_without_configuration(seen):
    assert "no session has changed" in seen.done("sessions")
    assert "no session has changed" in seen.done()
    seen.home.claude()
    heads, row = seen.done("sessions").splitlines()
    assert heads.split() == ["AGENT", "SESSION", "PROJECT", "STATE", "WHY", "RESUMES", "IN"]
    assert row.split()[:6] == ["claude", "11111111", "proj", "stopped", "rate", "limit"]
    assert seen.done().splitlines()[0] == heads
    (fields,) = seen("sessions", "--json").json()["sessions"]
    assert (fields["reason"], fields["resets_at"]) == ("rate limit", "2026-11-28T07:59:37Z")


def test_why_says_what_it_rests_on(seen):
    path = seen.home.claude("claude-credit")
    told = seen.done("why", "1111")
    assert f"Session: claude:{ID}" in told
    assert "Why: credit (sure)" in told
    assert "Rests on: transcript, 2026-11-28T06:01:05Z: an error ended the turn" in told
    assert "Next: it needs you: pay, or use another account" in told
    assert seen.done("why", str(path)) == seen.done("why", f"claude:{ID}")
    assert seen("why", ID, "--json").json()["basis"][0]["source"] == "transcript"


def test_why_of_no_session_or_of_several(seen):
    seen.home.claude()
    seen.home.claude(session="1111aaaa")
    ended = seen("why", "1111")
    assert (ended.code, ended.out) == (1, "")
    assert "fits 2 sessions: claude:" in ended.err
    ended = seen("why", "nope\x1b[2J")
    assert ended.code == 1
    assert ended.err.count("\n") == 1
    assert "\x1b" not in ended.err


def test_agents_says_what_is_installed_and_what_can_be_seen(seen):
    seen.home.claude()
    told = seen.done("agents")
    assert "claude: not in PATH; sessions: 1\n" in told
    assert "without a window it writes no errors" in told
    rows = {row["name"]: row for row in seen("agents", "--json").json()["agents"]}
    assert rows["claude"]["checked_with"] == "2.1.332"
    program = seen.sandbox.path / "home/bin/claude"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o700)
    seen.sandbox.env["PATH"] = f"{program.parent}:{seen.sandbox.env['PATH']}"
    assert f"claude: {program}; sessions: 1\n" in seen.done("agents")


def test_foreign_text_never_reaches_the_terminal_raw(seen):
    nasty = "\x1b]0;owned\x07\x1b[2J\r\n"
    seen.home.claude(session="s1", cwd=f"/home/{nasty}", version=nasty)
    path = seen.home.claude("claude-529", session="s2")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[1]["message"]["content"][0]["text"] = f"529 Overloaded {nasty}"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    for words in (["sessions"], ["why", "s1"], ["why", "s2"], []):
        told = seen.done(*words)
        assert "\x1b" not in told
        assert "\x07" not in told


def test_a_bad_table_is_one_line(seen):
    seen.config("[agents.mine]\n")
    for words in (["sessions"], ["agents"], ["why", "x"], ["config", "validate"], []):
        ended = seen(*words)
        assert (ended.code, ended.out) == (1, "")
        assert ended.err.count("\n") == 1
        assert "agents.mine: sessions names no place" in ended.err


def test_the_live_table_on_a_terminal(seen, tmp_path):
    """Drawn on the other screen, which it leaves at Ctrl-C; each line within the terminal's width."""
    import fcntl
    import pty
    import select
    import struct
    import termios

    seen.home.claude()
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 10, 40, 0, 0))
    command = Path(sys.executable).parent / "palingenesis"
    env = {**seen.sandbox.env, "TERM": "xterm"}
    env.pop("COLUMNS", None)
    ends = {"stdin": follower, "stdout": follower, "stderr": follower}
    # What runs the tests may be a job in a shell's background, and have SIGINT ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen([command], **ends, env=env)
    signal.signal(signal.SIGINT, before)
    os.close(follower)
    shown = b""
    try:
        while b"rate limit" not in shown.replace(b"\x1b[K", b"") and b"\x1b[J" not in shown:
            assert select.select([leader], [], [], 20)[0], shown
            shown += os.read(leader, 65536)
        process.send_signal(2)
        process.wait(20)
    finally:
        process.kill()
        process.wait()
    while select.select([leader], [], [], 0)[0]:
        try:
            shown += os.read(leader, 65536)
        except OSError:
            break
    os.close(leader)
    assert process.returncode == 0
    assert shown.startswith(b"\x1b[?1049h")
    assert shown.rstrip().endswith(b"\x1b[?1049l")
    lines = shown.split(b"\x1b[H")[1].split(b"\x1b[K\r\n")
    assert lines[1].startswith(b"AGENT")
    assert all(len(line) <= 40 for line in lines[:3])


@pytest.mark.parametrize(("width", "height"), [(12, 4), (1, 3), (30, 5)])
def test_the_live_table_keeps_within_a_small_terminal(home, monkeypatch, width, height):
    from daemonry.cli import terminal
    from palingenesis import overview

    for number in range(9):
        home.claude(session=f"5e55107e-0000-4000-8000-00000000001{number}")
    found = Survey(profiles({}, "c.toml"), home.environment)
    monkeypatch.setattr(found, "look", lambda: Survey.look(found, 0.0))
    monkeypatch.setattr(overview.terminal, "size", lambda _fd: (width, height))
    monkeypatch.setattr(overview, "kept_entries", dict)
    lines = overview._screen(found).removeprefix("\x1b[H").removesuffix("\x1b[J").split("\x1b[K\n")
    assert len(lines) <= height
    assert [one for one in lines if terminal.width(one) > width] == []


def test_config_show_is_toml_with_the_user_s_tables(seen):
    import tomllib

    own = '[agents.mine]\nsessions = ["/x"]\nsigns = [{ pattern = "a\\"b", reason = "context" }]\n'
    seen.config(own)
    assert tomllib.loads(seen.done("config", "show"))["agents"] == tomllib.loads(own)["agents"]

"""Sessions at a terminal, to the letter: what is typed, what is printed, how it ends.

A line after `$` is typed; what follows is what it prints, standard output first, and `[N]` is its
exit code where that is not 0.  `{...}` stands for a path or a number that differs each time.
"""

import re

import pytest

from daemonry.cli import kit
from daemonry.process import record

TRANSCRIPTS = {
    "a life": """
$ daemonry status probe
probe: not running
[3]
$ daemonry start probe.py
probe: ready at unix:{run}/probe/probe.sock (pid {pid})
$ daemonry start probe.py
probe: already running (pid {pid})
$ daemonry status probe
probe: running
  uptime: {time}
  pid: {pid}
  version: 1.2
  served: 7
  last: -
  busy: no
  queue: a, b
$ daemonry ping probe
probe: answers
$ daemonry pause probe
probe: paused
$ daemonry pause probe
probe: already paused
$ daemonry resume probe
probe: running
$ daemonry resume probe
probe: not paused
$ daemonry reload probe
probe: reloaded
$ daemonry restart probe
probe: ready at unix:{run}/probe/probe.sock (pid {other})
$ daemonry ps
NAME   PID{blank}STATE    UPTIME  VERSION  ENDPOINT
probe  {other}  running  {time}      1.2      unix:{run}/probe/probe.sock
$ daemonry stop probe
probe: stopped
$ daemonry stop probe
probe: not running
$ daemonry ps
no daemons
$ daemonry ping probe
probe: not running
[3]
$ daemonry pause probe
probe: not running
[3]
""",
    "the same as JSON": """
$ daemonry status probe --json
{"state":"absent","name":"probe"}
[3]
$ daemonry ping probe --json
{"ok":false,"error":"probe: not running","kind":"NotRunning","exit_code":3}
probe: not running
[3]
$ daemonry start probe.py --json
{"ok":true,"name":"probe","result":"ready","pid":{pid},"endpoint":"unix:{run}/probe/probe.sock"}
$ daemonry start probe --json
{"ok":true,"name":"probe","result":"already running","pid":{pid},"endpoint":"unix:{run}/probe/probe.sock"}
$ daemonry status probe --json
{"state":"running","uptime_secs":{n},"pid":{pid},"version":"1.2","served":7,"last":null,"busy":false,"queue":["a","b"]}
$ daemonry ping --json probe
{"ok":true,"name":"probe","result":"answers"}
$ daemonry pause probe --json
{"ok":true,"name":"probe","result":"paused"}
$ daemonry pause probe --json
{"ok":true,"name":"probe","result":"already paused"}
$ daemonry reload probe --json
{"ok":true,"name":"probe","result":"reloaded"}
$ daemonry ps --json
[{"kind":"daemon","name":"probe","pid":{pid},"state":"paused","uptime_secs":{n},"version":"1.2","endpoint":"unix:{run}/probe/probe.sock","log":"{log}"}]
$ daemonry ps --names
probe
$ daemonry stop probe --json
{"ok":true,"name":"probe","result":"stopped"}
$ daemonry stop probe --json
{"ok":true,"name":"probe","result":"not running"}
$ daemonry ps --json
[]
""",
    "a program's own commands": """
$ python probe.py status
probe: not running
[3]
$ python probe.py start
probe: ready at unix:{run}/probe/probe.sock (pid {pid})
$ python probe.py status --json
{"state":"running","uptime_secs":{n},"pid":{pid},"version":"1.2","served":7,"last":null,"busy":false,"queue":["a","b"]}
$ python probe.py pause
probe: paused
$ python probe.py resume
probe: running
$ python probe.py reload
probe: reloaded
$ python probe.py ping
probe: answers
$ python probe.py status probe
probe.py: unrecognized arguments: probe (try probe.py --help)
[2]
$ python probe.py --version
probe.py 1.2
$ python probe.py stop
probe: stopped
$ python probe.py ps
probe.py: argument COMMAND: invalid choice: 'ps' (choose from {choices}) (try probe.py --help)
[2]
""",
    "wrong usage": """
$ daemonry
daemonry: the following arguments are required: COMMAND (try daemonry --help)
[2]
$ daemonry bogus
daemonry: argument COMMAND: invalid choice: 'bogus' (choose from {choices}) (try daemonry --help)
[2]
$ daemonry status
daemonry status: the following arguments are required: DAEMON (try daemonry status --help)
[2]
$ daemonry status one two
daemonry: unrecognized arguments: two (try daemonry --help)
[2]
$ daemonry status probe --bogus
daemonry: unrecognized arguments: --bogus (try daemonry --help)
[2]
$ daemonry status --home .
daemonry: unrecognized arguments: --home; for homes: up, down, ps, restart, logs, ui (try daemonry --help)
[2]
$ daemonry status probe --tim 3
daemonry: unrecognized arguments: --tim 3 (try daemonry --help)
[2]
$ daemonry status probe --timeout 0
daemonry status: argument --timeout: '0' is not a number of seconds above 0 (try daemonry status --help)
[2]
$ daemonry status probe --timeout soon
daemonry status: argument --timeout: 'soon' is not a number of seconds above 0 (try daemonry status --help)
[2]
$ daemonry status probe --timeout nan
daemonry status: argument --timeout: 'nan' is not a number of seconds above 0 (try daemonry status --help)
[2]
$ daemonry status probe --timeout
daemonry status: argument --timeout: expected one argument (try daemonry status --help)
[2]
$ daemonry logs probe --tail -1
daemonry logs: argument -n/-t/--tail: '-1' is not a number of lines (try daemonry logs --help)
[2]
$ daemonry start probe.py --log-level loud
daemonry start: argument --log-level: invalid choice: 'loud' (choose from {choices}) {try}
[2]
$ daemonry completion tcsh
daemonry completion: argument shell: invalid choice: 'tcsh' (choose from {choices}) {try}
[2]
$ daemonry --version
daemonry {version}
""",
}


def pattern_of(expected, known):
    """Return a regular expression for what is expected, with what is known already put in."""
    pattern = re.escape(expected)
    kinds = {
        "pid": r"\d+",
        "other": r"\d+",
        "n": r"\d+",
        "time": r"\d+s",
        "run": r"\S+",
        "blank": " +",
        "choices": r"[^()]+",
        "try": r"\(try daemonry [a-z]+ --help\)",
        "version": r"\d+\.\d+\.\d+\S*",
        "log": r"/[^\"]+/probe\.log",
    }
    once = {"pid", "other", "run"}
    for name, kind in kinds.items():
        mark = re.escape(f"{{{name}}}")
        if name in known:
            pattern = pattern.replace(mark, re.escape(known[name]))
        elif name in once:
            pattern = pattern.replace(mark, f"(?P<{name}>{kind})", 1).replace(mark, f"(?P={name})")
        else:
            pattern = pattern.replace(mark, kind)
    return pattern


@pytest.mark.parametrize("title", TRANSCRIPTS)
def test_transcript(sandbox, shell, program, title):
    """Broken in words or in exit code, it is broken for whoever reads or scripts it."""
    known = {"run": str(sandbox.path / "run")}
    for step in TRANSCRIPTS[title].strip().split("$ ")[1:]:
        typed, _, expected = step.partition("\n")
        done = shell(typed)
        shown = done.out + done.err + (f"[{done.code}]\n" if done.code else "")
        match = re.fullmatch(pattern_of(expected.strip() + "\n", known), shown)
        assert match, f"$ {typed}\n{shown}"
        known |= match.groupdict()
    assert "pid" not in known or "other" not in known or known["pid"] != known["other"]


def test_help_says_what_there_is_and_how_it_ends(shell):
    helped = shell("daemonry --help")
    assert (helped.code, helped.err) == (0, "")
    for verb in (*kit.VERBS, "run", "start", "restart", "logs", "ps"):
        assert re.search(rf"^    {verb} ", helped.out, re.MULTILINE), verb
    assert "exit codes: 0 done, or already so; 1 failed; 2 wrong usage" in helped.out


@pytest.mark.parametrize("verb", ["run", "start", "stop", "restart", "status", "logs", "ps", "completion"])
def test_each_command_has_help(shell, verb):
    helped = shell(f"daemonry {verb} --help")
    assert (helped.code, helped.err) == (0, "")
    assert helped.out.startswith(f"usage: daemonry {verb} ")


@pytest.mark.usefixtures("netcat")
def test_a_daemon_that_speaks_plain_text_can_be_asked_with_nc(sandbox, shell, program):
    """One connection, one line, and the server ends it: no client library is needed."""
    assert shell("daemonry start probe.py").code == 0
    sock = sandbox.place("probe").socket_path
    status = shell(f"printf 'STATUS\\n' | nc -U {sock}")
    assert status.code == 0
    assert status.json()["served"] == 7
    assert status.out.count("\n") == 1
    assert shell(f"printf 'pause\\n' | nc -U {sock}").out == "OK\n"
    assert shell(f"printf 'bogus\\n' | nc -U {sock}").out == "ERR: Unknown command: bogus\n"
    assert record.read(sandbox.place("probe").record_path) is not None

"""What a hostile daemon, log or record says, on a terminal: no command shows it as it is."""

import json
import os
import sys
import threading

from daemonry.testing import wait_until
from daemonry.testing.on_terminal import EVIL, on_a_terminal, unsafe_in

PROGRAM = """
import asyncio, logging
from daemonry import Daemon, Interface

EVIL = %(evil)s

class Echo(Interface, name="org.example.Echo"):
    async def say(self, text: str) -> str:
        return text + EVIL

    async def fail(self, text: str) -> str:
        raise ValueError(text + EVIL)

daemon = Daemon("evil", version="1")
daemon.serve(Echo())

@daemon.status
def status():
    return {"words" + EVIL: EVIL, "more": {"inner": [EVIL]}}

@daemon.work
async def tick(run):
    logging.getLogger("evil").warning(EVIL, extra={"field": EVIL})
    print(EVIL, flush=True)
    await asyncio.sleep(3600)

@daemon.on_pause
def pause():
    from daemonry import Refused
    raise Refused(EVIL)

if __name__ == "__main__":
    daemon.main()
"""


def test_no_command_shows_what_a_hostile_daemon_says_as_it_is(sandbox):
    program = sandbox.write("evil.py", PROGRAM % {"evil": ascii(EVIL)})
    me = (sys.executable, str(program))
    cli = (sys.executable, "-m", "daemonry")
    code, written = on_a_terminal(sandbox.env, *me, "start")
    assert code == 0, written
    call = (*cli, "call", "evil")
    commands = [
        (*me, "status"),
        (*me, "status", "--json"),
        (*me, "pause"),
        (*me, "pause", "--json"),
        (*me, "logs", "--tail", "0"),
        (*me, "logs", "--tail", "0", "--json"),
        (*cli, "ps"),
        (*cli, "ps", "--json"),
        (*call, "org.example.Echo.Say", f"text={EVIL}"),
        (*call, "org.example.Echo.Fail", f"text={EVIL}"),
        (*call, "org.example.Echo.Nothing" + EVIL, "text=x"),
        (*cli, "describe", "evil"),
        (*cli, "describe", "evil", "org.example.Echo"),
        (*cli, "status", "not" + EVIL),
        (*cli, EVIL),
    ]
    shown = {words: on_a_terminal(sandbox.env, *words) for words in commands}
    on_a_terminal(sandbox.env, *me, "stop")
    for words, (_, text) in shown.items():
        assert text.strip(), words
        assert unsafe_in(text) == [], (words[1:], text)
    assert "\\x1b]0;title\\x07" in shown[commands[0]][1]
    fields = json.loads(shown[commands[1]][1])
    assert fields["words" + EVIL] == EVIL
    said = json.loads(shown[commands[8]][1])
    assert EVIL + EVIL in said.values()
    assert any(
        json.loads(line).get("field") for line in shown[commands[5]][1].splitlines() if "field" in line
    )


ODD_NAME = f"x\n{EVIL.replace(chr(0x2028), '')}\x1b[31m"
SHOWN_NAME = "x \\x1b]0;title\\x07\\x9b2J\\u202egnp.exe"
PLAIN = """\
from daemonry import Daemon
daemon = Daemon("plain")
if __name__ == "__main__":
    daemon.main()
"""


def test_the_name_of_a_home_is_not_shown_as_it_is(sandbox):
    """Whoever unpacks an archive, or goes through somebody's directories, has not chosen them."""
    home = sandbox.path / ODD_NAME
    home.mkdir()
    (home / "home.toml").write_text('[services.a]\ncommand = ["sleep", "600"]\n')
    for verb, code in (("ps", 3), ("up", 0), ("up", 0), ("down", 0), ("down", 0)):
        words = (sys.executable, "-m", "daemonry", verb, "--home", str(home))
        ended, text = on_a_terminal(sandbox.env, *words)
        assert (ended, unsafe_in(text)) == (code, []), (verb, text)
        assert SHOWN_NAME in text


def test_the_path_of_a_socket_is_not_shown_as_it_is(sandbox):
    program = sandbox.write("plain.py", PLAIN)
    path = sandbox.path / f"{ODD_NAME}.sock"
    path.symlink_to(sandbox.place("plain").socket_path)
    for verb, code in (("status", 3), ("start", 0), ("status", 0), ("ping", 0), ("pause", 0), ("stop", 0)):
        words = (program, "start") if verb == "start" else ("-m", "daemonry", verb, str(path))
        ended, text = on_a_terminal(sandbox.env, sys.executable, *words)
        assert (ended, unsafe_in(text)) == (code, []), (verb, text)
        assert (SHOWN_NAME in text) == (verb != "start")
    assert sandbox.daemonry("stop", "plain").code == 0  # its process has ended as well


def test_a_line_that_was_not_made_safe_reaches_no_terminal_as_it_is(sandbox):
    red = "\x1b[31mred\x1b[0m"
    script = f"from daemonry.cli import kit; kit.say({EVIL + red!r}); kit.complain({EVIL!r})"
    code, text = on_a_terminal(sandbox.env, sys.executable, "-c", script)
    assert (code, unsafe_in(text.replace(red, ""))) == (0, [])
    assert red in text
    assert sandbox.run(sys.executable, "-c", script).out == f"{EVIL}{red}\n"


def test_a_damaged_log_is_shown_without_its_escapes_and_piped_as_it_is(sandbox):
    program = sandbox.write("evil.py", PROGRAM % {"evil": ascii(EVIL)})
    place = sandbox.place("evil")
    os.makedirs(place.host_dir, 0o700)
    line = f'{{"message": "{EVIL[:2]}'
    with open(place.log_path, "w", encoding="utf-8") as file:
        file.write(f"{EVIL.replace(chr(0x2028), '')}\n{line}\n")
    for words in (("logs",), ("logs", "--json")):
        code, text = on_a_terminal(sandbox.env, sys.executable, str(program), *words)
        assert (code, unsafe_in(text)) == (0, []), text
    piped = sandbox.run(sys.executable, program, "logs", "--json")
    assert piped.out == f"{EVIL.replace(chr(0x2028), '')}\n{line}\n"


def test_tap_shows_payloads_without_their_escapes(sandbox):
    program = sandbox.write("evil.py", PROGRAM % {"evil": ascii(EVIL)})
    cli = (sys.executable, "-m", "daemonry")
    assert sandbox.run(sys.executable, program, "start").code == 0
    shown = {}
    seen = {"plain": bytearray(), "json": bytearray()}

    def tap(how, *options):
        words = (*cli, "tap", "evil", "--payloads", *options)
        shown[how] = on_a_terminal(sandbox.env, *words, written=seen[how])

    taps = [threading.Thread(target=tap, args=args) for args in (("plain",), ("json", "--json"))]
    for one in taps:
        one.start()

    def has_seen():
        for verb in ("Say", "Fail"):
            sandbox.daemonry("call", "evil", f"org.example.Echo.{verb}", f"text={EVIL}")
        return all(b"Fail" in one and b"Say" in one for one in seen.values())

    try:
        wait_until(has_seen, 60, what="both have seen calls")
    finally:
        sandbox.run(sys.executable, program, "stop")
        for one in taps:
            one.join()
    for how, (_, text) in shown.items():
        assert "gnp.exe" in text, how
        assert unsafe_in(text) == [], (how, text)

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

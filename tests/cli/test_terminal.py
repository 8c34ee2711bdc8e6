"""What a hostile daemon, log or record says, on a terminal: no command shows it as it is."""

import json
import os
import pty
import subprocess
import sys

from daemonry.terminal_text import is_unsafe

EVIL = "\x1b]0;title\x07\x9b2J\u202egnp.exe\u2066x\u200b\U000e0041\u2028\x7f"

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


def on_a_terminal(sandbox, *words):
    """Run a command on a pseudo-terminal and return (exit code, what it wrote there)."""
    master, slave = pty.openpty()
    env = {**sandbox.env, "TERM": "xterm", "NO_COLOR": "1", "PYTHONIOENCODING": "utf-8"}
    with subprocess.Popen(words, stdin=slave, stdout=slave, stderr=slave, env=env) as process:
        os.close(slave)
        written = b""
        while True:
            try:
                data = os.read(master, 65536)
            except OSError:  # EIO: nobody has the other side any more
                break
            if not data:
                break
            written += data
        os.close(master)
    return process.returncode, written.decode("utf-8").replace("\r\n", "\n")


def unsafe_in(text):
    return sorted({f"U+{ord(char):04X}" for char in text if char not in "\n\t" and is_unsafe(ord(char))})


def test_no_command_shows_what_a_hostile_daemon_says_as_it_is(sandbox):
    program = sandbox.write("evil.py", PROGRAM % {"evil": ascii(EVIL)})
    me = (sys.executable, str(program))
    cli = (sys.executable, "-m", "daemonry")
    code, written = on_a_terminal(sandbox, *me, "start")
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
    shown = {words: on_a_terminal(sandbox, *words) for words in commands}
    on_a_terminal(sandbox, *me, "stop")
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
        code, text = on_a_terminal(sandbox, sys.executable, str(program), *words)
        assert (code, unsafe_in(text)) == (0, []), text
    piped = sandbox.run(sys.executable, program, "logs", "--json")
    assert piped.out == f"{EVIL.replace(chr(0x2028), '')}\n{line}\n"

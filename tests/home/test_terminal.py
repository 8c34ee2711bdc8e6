"""What a hostile service writes, on a terminal: no command of homes shows it as it is."""

import sys

from daemonry.testing.on_terminal import EVIL, on_a_terminal, unsafe_in

SAYS = [sys.executable, "-c", f"import time; print({EVIL!a}, flush=True); time.sleep(600)"]
FAILS = [sys.executable, "-c", f"import sys; print({EVIL!a}, file=sys.stderr); sys.exit(3)"]
# home.toml holds no DEL, and the test writes its strings as JSON does, which has pairs for TAG characters.
NAME = EVIL.replace("\x7f", "").replace("\U000e0041", "")


def test_no_command_of_a_home_shows_what_a_service_writes_as_it_is(shop, service):
    shop.write(
        service("a", SAYS, ready="{ output = 'gnp' }")
        + service("b", FAILS, restart='"never"')
        + service("c", [f"./no{NAME}"], restart='"never"')
    )
    home = ("--home", str(shop.path))
    shown = {}
    for words in (
        ("up", *home),
        ("ps", *home),
        ("ps", *home, "--json"),
        ("logs", *home, "--tail", "0"),
        ("logs", *home, "--tail", "0", "--json"),
        ("status", *home),
        ("restart", "b", *home),
        ("down", *home),
    ):
        shown[words] = on_a_terminal(shop.sandbox.env, sys.executable, "-m", "daemonry", *words)
    for words, (_, text) in shown.items():
        assert unsafe_in(text) == [], (words, text)
    assert "\\x1b]0;title\\x07" in shown["logs", *home, "--tail", "0"][1]

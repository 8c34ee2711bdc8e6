"""The keys of `top`: which command each is, for which line."""

import pytest

from daemonry.cli.top.deeds import DEEDS, NotPossible, command, question
from daemonry.cli.top.lines import ServiceLine

DAEMON = ServiceLine("d", "daemon", "adder", "", "adder", "unix:/run/a", "running", 4, 1, "/l")
HOME = ServiceLine("h", "home", "site", "/srv/site", "", "unix:/h", "up", 5, 1, "/l")
SERVICE = ServiceLine("s", "service", "store", "/srv/site", "", "", "ready", 6, 1, "/l")
DAEMON_SERVICE = SERVICE._replace(daemon="stored", endpoint="unix:/run/s")


@pytest.mark.parametrize(
    ("verb", "line", "words"),
    [
        ("pause", DAEMON, ["pause", "adder"]),
        ("stop", DAEMON, ["stop", "adder"]),
        ("pause", DAEMON_SERVICE, ["pause", "unix:/run/s"]),
        ("stop", DAEMON_SERVICE, ["down", "--home=/srv/site", "--", "store"]),
        ("start", SERVICE, ["up", "--home=/srv/site", "--", "store"]),
        ("restart", SERVICE, ["restart", "--home=/srv/site", "--", "store"]),
        ("stop", HOME, ["down", "--home=/srv/site"]),
        ("reload", HOME, ["reload", "--home=/srv/site"]),
    ],
)
def test_a_key_is_a_command(verb, line, words):
    assert command(verb, line) == words


@pytest.mark.parametrize(
    ("verb", "line"),
    [
        ("pause", SERVICE),
        ("pause", HOME),
        ("restart", HOME),
        ("resume", DAEMON_SERVICE._replace(endpoint="")),
    ],
)
def test_a_key_that_means_nothing_says_why(verb, line):
    with pytest.raises(NotPossible, match=r"cannot|does not run"):
        command(verb, line)


def test_what_ends_something_is_asked_first():
    assert {deed.verb for deed in DEEDS if deed.asks} == {"stop", "restart"}
    stop = next(deed for deed in DEEDS if deed.verb == "stop")
    assert question(stop, HOME) == "Stop the home site? It ends. All of its services end."
    assert "\x1b" not in question(stop, DAEMON._replace(name="\x1b[2J"))

"""An interface that cannot work is found where it is served, with the file and line of what is wrong."""

import pytest

from daemonry import Daemon, Interface
from daemonry.service.interface.schema import NotDescribable

PROGRAM = """\
from daemonry import CallError, Daemon, Interface, method

class Full(CallError):
    size: {field}

class Jobs(Interface, name="org.example.jobs", errors=(Full,)):
    def fine(self) -> int:
        return 1

    {decorator}
    def bad(self, x: {parameter}) -> {result}:
        return 1

daemon = Daemon("jobs")
daemon.serve(Jobs())
"""


@pytest.mark.parametrize(
    ("wrong", "line", "reason"),
    [
        ({"result": "'Undefined'"}, 10, "Jobs.bad: Undefined is named as a type, and is not defined there"),
        ({"parameter": "'list[Nope]'"}, 10, "Jobs.bad: Nope is named as a type, and is not defined there"),
        (
            {"parameter": "complex"},
            10,
            "org.example.jobs.Bad(x): complex has no form",
        ),
        ({"result": "complex"}, 10, "org.example.jobs.Bad: complex has no form"),
        ({"decorator": "@method(name='Fine')"}, 10, "Jobs.bad: Fine is another method's name on the wire"),
        ({"field": "'Nope'"}, 3, "org.example.jobs.Full: Nope is named as a type, and is not defined there"),
        ({"field": "complex"}, 3, "Full.size: complex has no form"),
    ],
)
def test_what_is_wrong_is_told_with_its_file_and_line(sandbox, wrong, line, reason):
    """In one line, by whatever command reads the program first."""
    usual = {"field": "int", "decorator": "@method()", "parameter": "int", "result": "int"}
    path = sandbox.write("jobs.py", PROGRAM.format(**usual | wrong))
    done = sandbox.daemonry("start", path)
    assert (done.code, done.out) == (2, "")
    served = 1 + PROGRAM.partition("daemon.serve")[0].count("\n")
    assert done.err.replace(" in the interface language", "") == (
        f"{str(path)!r} names no daemon: it cannot be imported: NotDescribable: "
        f"{path}:{line}: {reason} ({path}:{served})\n"
    )


def test_nothing_of_it_is_served():
    class Odd(Interface, name="org.example.odd"):
        def odd(self, x: complex) -> int: ...

    daemon = Daemon("odd")
    with pytest.raises(NotDescribable) as caught:
        daemon.serve(Odd())
    assert daemon.services == []
    assert caught.value.place == f"{__file__}:{Odd.odd.__code__.co_firstlineno}"


def test_an_interface_is_served_once():
    class Fine(Interface, name="org.example.fine"):
        def fine(self) -> int: ...

    daemon = Daemon("fine")
    daemon.serve(Fine())
    with pytest.raises(ValueError, match=r"org\.example\.fine is served already"):
        daemon.serve(Fine())
    assert len(daemon.services) == 1

"""A function that cannot be called as its hook is refused where it is registered."""

import functools
import re

import pytest

from daemonry import Daemon

HOOKS = {
    "setup": 1,
    "work": 1,
    "status": 0,
    "whole_status": 1,
    "on_pause": 0,
    "on_resume": 0,
    "on_reload": 1,
    "on_stop": 0,
}


class Program:
    """Its hooks are methods."""

    def none(self):
        """Take nothing."""

    def one(self, value):
        """Take the run, the configuration or the fields."""

    @staticmethod
    def apart(value):
        """Take one, as a function of the class."""


def functions(count):
    """Return functions that can be called with so many arguments, in the forms that programs have."""
    taking = [lambda: None, lambda value: None][count]
    either = [lambda value=None: None, lambda *values, word="": None]
    method = Program().one if count else Program().none
    partial = functools.partial(lambda first, *rest: None, 1)
    return [taking, *either, method, partial, *([Program.apart] if count else [])]


@pytest.mark.parametrize(("kind", "count"), HOOKS.items())
def test_what_can_be_called_is_registered(kind, count):
    daemon = Daemon("probe")
    for function in functions(count):
        assert getattr(daemon, kind)(function) is function


def without(): ...


def with_one(value): ...


def with_two(first, second): ...


def with_word(*, word): ...


def generator(*values):
    yield


async def async_generator(*values):
    yield


@pytest.mark.parametrize(("kind", "count"), HOOKS.items())
def test_what_cannot_is_refused_with_its_place(kind, count):
    wrong = [with_one if count == 0 else without, with_two, with_word, generator, async_generator]
    wrong.append(Program().none if count else Program().one)
    for function in wrong:
        daemon = Daemon("probe")
        before = repr(vars(daemon))
        with pytest.raises(
            TypeError, match=rf"test_hooks\.py:\d+: the {kind} hook is called as .*, and "
        ) as caught:
            getattr(daemon, kind)(function)
        line = re.search(r"test_hooks\.py:(\d+)", str(caught.value))[1]
        assert int(line) == function.__code__.co_firstlineno
        assert repr(vars(daemon)) == before  # nothing was registered
    with pytest.raises(TypeError, match="registers a function, and not 3"):
        getattr(Daemon("probe"), kind)(3)


async def coroutine(*values): ...


def test_only_a_status_must_be_plain():
    daemon = Daemon("probe")
    for kind in HOOKS:
        if "status" not in kind:
            getattr(daemon, kind)(coroutine)
            continue
        with pytest.raises(TypeError, match="is async: a status is asked for"):
            getattr(daemon, kind)(coroutine)


def test_a_start_says_it_in_one_line(sandbox):
    program = sandbox.write(
        "probed.py", "from daemonry import Daemon\ndaemon = Daemon('probed')\n@daemon.work\ndef go(): ...\n"
    )
    started = sandbox.daemonry("start", program)
    assert started.code == 2
    assert started.err.count("\n") == 1, started.err
    assert "probed.py:3: the work hook is called as go(run), and takes ()" in started.err

"""The errors: one tree, as it is drawn, of values that travel and speak in one sentence."""

import copy
import errno
import pickle
import re

import pytest

from daemonry import errors

CALL_FAILED = ("org.example.Busy", {"limit": 4, "why": "too much work"})
EXAMPLES = {
    "DaemonryError": ("anything",),
    "IpcError": ("anything",),
    "EndpointInvalid": ("nonsense", "expected unix:/path"),
    "SocketBindError": ("/run/x.sock", "another process listens there"),
    "AlreadyBound": ("unix:/run/x.sock",),
    "NotBound": ("unix:/run/x.sock",),
    "ConnectError": ("/run/x.sock", "cannot connect", errno.EPROTOTYPE),
    "ConnectionRefused": ("tcp:localhost:1", errno.ECONNREFUSED),
    "StaleSocket": ("/run/x.sock", errno.ECONNREFUSED),
    "NotListening": ("/run/x.sock", errno.ENOENT),
    "AccessDenied": ("/run/x.sock", "Permission denied", errno.EACCES),
    "Unreachable": ("ssh:box/adder", "Connection timed out"),
    "ConnectionLost": ("unix:/run/x.sock", "maybe"),
    "ClientClosed": ("unix:/run/x.sock", "maybe"),
    "CallCancelled": ("unix:/run/x.sock", "no"),
    "InheritedConnection": ("unix:/run/x.sock", "no"),
    "WrongLoop": ("unix:/run/x.sock",),
    "WaitsForItself": ("unix:/run/x.sock",),
    "DeadlineExceeded": ("reply", 2.5, "maybe", "unix:/run/x.sock"),
    "ProtocolError": ("bytes",),
    "LocalProtocolError": ("bytes",),
    "NotSendable": ("too deep",),
    "OutOfTurn": ("idle", "reply"),
    "RemoteProtocolError": ("bytes",),
    "FrameTooLarge": (1024,),
    "BadFrame": ("not JSON",),
    "Refused": ("not now",),
    "CommandFailed": ("PAUSE", "Daemon already paused"),
    **dict.fromkeys(
        (
            *(
                "CallFailed",
                "InterfaceNotFound",
                "MethodNotFound",
                "MethodNotImplemented",
                "InvalidParameter",
            ),
            *("PermissionDenied", "ExpectedMore", "Paused", "Draining", "Overloaded", "Failed", "BadReply"),
        ),
        CALL_FAILED,
    ),
    "LifecycleError": ("anything",),
    "AlreadyRunning": ("ticker", 42, "unix:/run/x.sock"),
    "NotRunning": ("ticker",),
    "VersionMismatch": ("ticker", "1.0", "2.0", "1.0 runs, and 2.0 is wanted"),
    "StartFailed": ("ticker", "config", "no such key", 1, "the log's\nlast lines"),
    "NotReadyInTime": ("ticker", "setup", 60.0, 42),
    "StopFailed": ("ticker", 20.0, "work at ticker.py:3"),
    "TargetInvalid": ("a/b", "a name cannot have a slash in it"),
    "ArgumentInvalid": ("--since", "'x' is not a span of time"),
    "UnsafePath": ("/tmp/x", "belongs to user 65534"),
    "ConfigError": ("/etc/x.toml", "ticker.every_s", "not a number"),
}


def classes():
    return {
        name: cls
        for name, cls in vars(errors).items()
        if isinstance(cls, type) and issubclass(cls, errors.DaemonryError)
    }


def drawn():
    """The tree of the module's docstring as (class, its parent's name)."""
    above = []
    for line in errors.__doc__.split("DaemonryError", 1)[1].splitlines()[1:]:
        found = re.match(r"    ([ │├└]+) (\w.*)", line)
        if not found:
            break
        depth = len(found[1]) // 3
        for name in re.findall(r"\w+", re.split(r" \(|\s{2,}", found[2])[0]):
            above[depth:] = [name]
            yield name, above[depth - 1] if depth else "DaemonryError"


def example(name):
    return classes()[name](*EXAMPLES[name])


def documented_fields(cls):
    section = (cls.__doc__ or "").partition("Attributes:")[2]
    return re.findall(r"^        (\w+):", section, re.MULTILINE)


def test_the_tree_is_the_one_that_is_drawn():
    real = {(name, cls.__bases__[0].__name__) for name, cls in classes().items()} - {
        ("DaemonryError", "Exception")
    }
    assert set(drawn()) == real


def test_every_error_has_an_example_here():
    assert set(EXAMPLES) == set(classes())


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_error_survives_pickling_with_all_that_it_knows(name):
    """Errors cross process borders in pools and in pytest-xdist; OSError's own pickling loses fields."""
    error = example(name)
    error.add_note("seen in a test")
    copies = [pickle.loads(pickle.dumps(error, protocol)) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]
    for again in (*copies, copy.copy(error)):
        assert type(again) is type(error)
        assert (str(again), vars(again), again.args) == (str(error), vars(error), error.args)
        assert getattr(again, "errno", None) == getattr(error, "errno", None)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_error_says_one_line(name):
    told = str(example(name))
    assert told
    assert "\n" not in told
    assert not told.startswith("[Errno")


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_error_has_the_fields_that_its_documentation_names(name):
    error = example(name)
    assert [field for field in documented_fields(type(error)) if not hasattr(error, field)] == []


@pytest.mark.parametrize(
    ("ran", "names"),
    [
        ("no", "ConnectError ConnectionRefused StaleSocket NotListening AccessDenied NotSendable OutOfTurn"),
        ("no", "InterfaceNotFound MethodNotFound MethodNotImplemented InvalidParameter ExpectedMore"),
        ("no", "Paused Draining Overloaded"),
        ("maybe", "RemoteProtocolError FrameTooLarge BadFrame ConnectionLost DeadlineExceeded"),
        ("yes", "CallFailed PermissionDenied Failed"),
    ],
)
def test_what_a_call_fails_with_says_whether_it_ran(ran, names):
    """So that a caller decides whether to try again by one attribute."""
    found = {name: getattr(errors, name)(*EXAMPLES[name]) for name in names.split()}
    assert {name: error.ran for name, error in found.items()} == dict.fromkeys(found, ran)
    assert all(pickle.loads(pickle.dumps(error)).ran == ran for error in found.values())


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("ConnectError", OSError),
        ("AccessDenied", OSError),
        ("StaleSocket", errors.ConnectionRefused),
        ("DeadlineExceeded", TimeoutError),
    ],
)
def test_callers_who_know_only_the_standard_errors_catch_ours(name, kind):
    assert isinstance(example(name), kind)


def test_the_number_of_the_system_is_kept():
    """Requirement M6: conversions from the system's errors lose nothing."""
    assert example("StaleSocket").errno == errno.ECONNREFUSED
    assert example("AccessDenied").errno == errno.EACCES


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (errors.AlreadyRunning("ticker", None, None), "ticker: already running"),
        (errors.AlreadyRunning("ticker", 42, None), "ticker: already running (pid 42)"),
        (errors.ConnectionLost("x", "no"), "connection to x lost: nothing was executed"),
        (errors.ConnectionLost("x", "maybe"), "connection to x lost: the call may have been executed"),
        (errors.ConfigError("", "--since", "no span"), "--since: no span"),
        (errors.ConfigError("x.toml", "", "not TOML"), "x.toml: not TOML"),
        (errors.StopFailed("ticker", 20.0, ""), "ticker: still stopping after 20 s"),
        (errors.StopFailed("ticker", 0.5, "job 3"), "ticker: still stopping after 0.5 s, held up by job 3"),
        (errors.DeadlineExceeded("reply", 5.0, "no", "x"), "no answer from x within 5 s (reply)"),
        (errors.DeadlineExceeded("connect", 1.99983, "no", "x"), "no answer from x within 2 s (connect)"),
    ],
)
def test_the_sentence_tells_what_is_known_and_no_more(error, told):
    assert str(error) == told

"""How a command ends: the table, and each code from a real command."""

import inspect
import socket
import threading

import pytest

from daemonry import errors
from daemonry.cli import exit_codes

CASES = {
    0: [errors.AlreadyRunning("x", 1, None)],
    1: [
        errors.DaemonryError("x"),
        errors.ConfigError("f", "k", "r"),
        errors.StartFailed("x", "setup", "e"),
        errors.CommandFailed("PAUSE", "no"),
        errors.UnsafePath("/p", "r"),
        errors.SocketBindError("/p", "c"),
        errors.Refused("no"),
        errors.BadFrame("r"),
        OSError(28, "No space left on device"),
    ],
    2: [errors.TargetInvalid("x", "r"), errors.EndpointInvalid("x", "r")],
    3: [
        errors.NotRunning("x"),
        errors.NotListening("/p"),
        errors.ConnectionRefused("/p"),
        errors.StaleSocket("/p"),
    ],
    4: [errors.AccessDenied("/p", "r"), PermissionError(13, "Permission denied", "another user's log")],
    5: [
        errors.DeadlineExceeded("reply", 1.0, "no", "x"),
        errors.NotReadyInTime("x", "setup", 1.0, 1),
        errors.StopFailed("x", 1.0, ""),
    ],
    6: [errors.ConnectionLost("x", "maybe")],
}


@pytest.mark.parametrize(
    ("code", "error"),
    [pytest.param(code, error, id=type(error).__name__) for code, cases in CASES.items() for error in cases],
)
def test_each_error_has_its_code(code, error):
    assert exit_codes.code_of(error) == code


def test_each_code_has_a_meaning():
    """Every program's help, and the documentation, are made of it."""
    constants = {value for name, value in vars(exit_codes).items() if name.isupper() and type(value) is int}
    assert set(exit_codes.MEANINGS) == constants == set(range(7))
    for code, meaning in exit_codes.MEANINGS.items():
        assert f"{code} {meaning}" in exit_codes.HELP


def test_no_code_needs_a_kind_that_does_not_exist():
    known = {kind for _, kind in inspect.getmembers(errors, inspect.isclass)} | {PermissionError}
    assert {kind for kind, _ in exit_codes._CODES} <= known


# --- each from a real command ---------------------------------------------------------------------


@pytest.fixture
def answering(sandbox):
    """A function that listens at a path, gives each client one answer, and returns the path."""
    path = str(sandbox.path / "odd.sock")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    threads = []

    def answer(data, times=2):
        def serve():
            for _ in range(times):
                try:
                    client, _ = listener.accept()
                except OSError:
                    return  # the test is over
                client.recv(100)
                client.sendall(data)
                client.close()

        threads.append(threading.Thread(target=serve, daemon=True))
        threads[0].start()
        return path

    yield answer
    listener.shutdown(socket.SHUT_RDWR)
    for thread in threads:
        thread.join()
    listener.close()
    (sandbox.path / "odd.sock").unlink()


def test_0_for_done_and_for_already_so(sandbox, program):
    for words in (
        ("start", program),
        ("start", program),
        ("pause", "probe"),
        ("pause", "probe"),
        ("stop", "probe"),
        ("stop", "probe"),
    ):
        assert sandbox.daemonry(*words).code == 0, words


def test_1_for_a_command_that_the_daemon_refuses(sandbox, answering):
    assert sandbox.daemonry("reload", answering(b"ERR: not today\n")) == (1, "", "not today\n")


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"{not json}\n", "malformed frame: not JSON"),
        (b"\xff\xfe\n", "malformed frame: the answer is not UTF-8"),
        (b"hello\n", "unix:{path} answered STATUS with 'hello'"),
        (b"x" * (1 << 20) + b"\n", "frame longer than 1048576 bytes"),
    ],
)
def test_1_for_something_that_is_no_daemon_of_ours(sandbox, answering, data, told):
    path = answering(data)
    shown = sandbox.daemonry("status", path)
    assert (shown.code, shown.out) == (1, "")
    assert shown.err.startswith(told.format(path=path)), shown.err
    assert shown.err.count("\n") == 1


def test_1_at_once_for_a_stop_that_is_refused(sandbox, answering):
    """Known by its endpoint alone, it has no process that could be signalled."""
    path = answering(b"ERR: STOP is not supported by this daemon\n", times=1)
    told = "STOP is not supported by this daemon\n"
    assert sandbox.daemonry("stop", path, "--timeout", "60", timeout_s=20) == (1, "", told)


def test_2_for_wrong_usage(sandbox):
    assert sandbox.daemonry("status").code == 2


def test_3_for_not_running(sandbox):
    assert sandbox.daemonry("status", "nobody") == (3, "nobody: not running\n", "")


def test_3_for_a_stale_socket(sandbox):
    path = str(sandbox.path / "stale.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
    assert sandbox.daemonry("status", path).code == 3
    (sandbox.path / "stale.sock").unlink()


def test_4_for_access_denied(sandbox, program, as_nobody):
    """Hard case 5: denied is not gone.  Whoever asks is another user and sees a directory that is closed."""
    instance = sandbox.start(program)
    command = as_nobody(
        "sys.exit(daemonry.cli.main.run(sys.argv[1:]))",
        *("status", instance.place.socket_path),
        imports="import daemonry.cli.main, daemonry.cli.target, daemonry.cli.exit_codes\n"
        "import daemonry.transport.unix_connect, daemonry.service.client.text, daemonry.process.lock",
    )
    denied = sandbox.run(*command)
    assert (denied.code, denied.out) == (4, "")
    assert denied.err == f"access denied to {instance.place.socket_path}: Permission denied\n"


@pytest.mark.parametrize(
    ("words", "denied"),
    [
        (["up"], "{home}/home.crash: Permission denied"),
        (["ps"], "access denied to {home}/home.sock: Permission denied"),
        (["down"], "access denied to {home}/home.sock: Permission denied"),
        (["restart", "a"], "access denied to {home}/home.sock: Permission denied"),
        (["reload"], "access denied to {home}/home.sock: Permission denied"),
    ],
    ids=lambda one: one[0] if isinstance(one, list) else "",
)
def test_4_for_another_users_home(sandbox, as_nobody, words, denied):
    """It is up, and whoever asks sees its files: that it were not up would be wrong."""
    home = sandbox.path / "theirs"
    home.mkdir()
    (home / "home.toml").write_text('[services.a]\ncommand = ["sleep", "600"]\n')
    assert sandbox.daemonry("up", "--home", str(home)).code == 0
    try:
        for directory in (home, *home.parents[: len(home.parts) - 2]):
            directory.chmod(directory.stat().st_mode | 0o055)
        command = as_nobody(
            "sys.exit(main.run(sys.argv[1:]))",
            *(words[0], "--home", str(home), *words[1:]),
            imports="from daemonry.cli import commands, exit_codes, full, main\n"
            "from daemonry.cli.homes import change, events, listing, perform, up, watch",
        )
        shown = sandbox.run(*command)
    finally:
        sandbox.daemonry("down", "--home", str(home))
    assert shown == (4, "", denied.format(home=home) + "\n")


def test_5_for_no_answer(sandbox):
    path = str(sandbox.path / "deaf.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        shown = sandbox.daemonry("status", path, "--timeout", "0.2")
    assert shown == (5, "", f"no answer from unix:{path} within 0.2 s (reply)\n")
    (sandbox.path / "deaf.sock").unlink()


@pytest.mark.parametrize("half", [b"", b"O"], ids=["nothing", "half a reply"])
def test_6_for_an_outcome_that_nobody_knows(sandbox, answering, half):
    """A command that went out, and a connection that broke: it may have been done."""
    path = answering(half)
    shown = sandbox.daemonry("pause", path)
    assert shown == (6, "", f"connection to unix:{path} lost: the call may have been executed\n")


def test_a_question_is_asked_again_when_the_connection_breaks(sandbox, answering):
    """STATUS changes nothing, so it may be sent twice; twice in a row broken is told."""
    shown = sandbox.daemonry("status", answering(b"", times=2))
    assert shown.code == 6

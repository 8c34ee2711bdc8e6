"""pytest fixtures over `daemonry.testing`, and the check that a run left nothing behind.

    socket_path         a unique socket path, clean before and after
    sandbox             a private, short home and runtime directory; `os.environ` points there too
    running_daemon      starts a daemon as a real process: `running_daemon("program.py")`

A test whose sandbox still holds a socket, a held lock or a process at its end fails.  After the
whole run, over all workers, the same is asked of everything that the run made.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from daemonry.daemon.instance import Instance
from daemonry.testing import Leftovers, Sandbox, cleanup_socket_file, get_test_socket_path, leftovers_in
from daemonry.testing.sockets import left_sockets

# Names this run's directory to its workers and to the processes that its tests start.
_RUN_VARIABLE = "DAEMONRY_TEST_RUN"
_LEFT = pytest.StashKey[Leftovers]()


def _run_dir() -> Path:
    return Path(os.environ[_RUN_VARIABLE])


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


def pytest_configure(config: pytest.Config) -> None:
    """Make this run's directory, or, in a worker, join it."""
    if not _is_worker(config):
        os.environ[_RUN_VARIABLE] = tempfile.mkdtemp(prefix="dmr-")
    (_run_dir() / f"pid-{os.getpid()}").touch()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run if anything of it is left."""
    if _is_worker(session.config):
        return
    left = _leftovers_of_run()
    session.config.stash[_LEFT] = left
    if left and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Report the leftovers."""
    left = config.stash.get(_LEFT, None)
    if left:
        terminalreporter.section("left behind", red=True)
        terminalreporter.line(str(left))


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove this run's directory."""
    if not _is_worker(config) and _RUN_VARIABLE in os.environ:
        shutil.rmtree(os.environ.pop(_RUN_VARIABLE), ignore_errors=True)


def _leftovers_of_run() -> Leftovers:
    found = leftovers_in(_run_dir())
    pids = [int(path.name.removeprefix("pid-")) for path in _run_dir().glob("pid-*")]
    sockets = [str(path) for pid in pids for path in left_sockets(pid)]
    return Leftovers(found.sockets + sockets, found.locks, found.processes)


@pytest.fixture
def socket_path() -> Iterator[Path]:
    """A unique socket path with nothing at it, before the test and after."""
    path = get_test_socket_path()
    yield path
    cleanup_socket_file(path)


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A private home and runtime directory, also for code in the test's own process."""
    box = Sandbox(str(_run_dir()))
    for name in ("HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.setenv(name, box.env[name])
    for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    yield box
    left = box.close()
    assert not left, f"the test left behind: {left}"


@pytest.fixture
def running_daemon(sandbox: Sandbox) -> Callable[..., Instance]:
    """A function that starts a daemon as a real process and returns it, seen from outside."""
    return sandbox.start

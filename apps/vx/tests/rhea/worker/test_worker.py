"""`vx-rhea join` at a farm in this process: what it runs, what it tells, and each way in which they part."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("grpc", reason="gRPC is not installed: the extra vx[remote]")

import grpc

from daemonry.testing import wait_until
from vx.remote.protos import bots_pb2
from vx.remote.protos import remote_execution_pb2 as reapi

BIN = Path(sys.executable).parent
# An update waits for work no longer than this.
HELD_S = 0.3


class Farm:
    """Gives leases to one worker, as BuildGrid does.

    Attributes:
        wanted: leases that the worker is to have, by their ids.
        ended: those that it reported.
        sessions: how many were opened.
        requests: the sessions as the worker told them.
        fault: is called with each method's name and its context before it is answered.
    """

    def __init__(self, server: Any) -> None:
        self.server = server
        self.wanted: dict[str, bots_pb2.Lease] = {}
        self.ended: dict[str, bots_pb2.Lease] = {}
        self.sessions = 0
        self.requests: list[bots_pb2.BotSession] = []
        self.fault: Callable[[str, grpc.ServicerContext], None] = lambda _name, _context: None
        self._changed = threading.Event()
        server.bots = self._answer

    def lease(self, name: str, *words: str, **more: Any) -> None:
        """Have the worker run a command."""
        inputs = reapi.Directory()
        for path, data in more.pop("inputs", {}).items():
            inputs.files.add(name=path, digest=self.server.keep(data))
        command = reapi.Command(arguments=words, **more)
        action = reapi.Action(
            command_digest=self._kept(command), input_root_digest=self._kept(inputs), do_not_cache=True
        )
        made = bots_pb2.Lease(id=name, state=bots_pb2.PENDING)
        made.payload.Pack(self._kept(action))
        self.wanted[name] = made
        self._changed.set()

    def drop(self, name: str) -> None:
        del self.wanted[name]
        self._changed.set()

    def result(self, name: str) -> reapi.ActionResult:
        """Return the result of a lease, once it has one."""
        wait_until(lambda: name in self.ended, 20, f"{name} ends")
        found = reapi.ActionResult()
        assert self.ended[name].status.code == 0, self.ended[name].status
        assert self.ended[name].result.Unpack(found)
        return found

    def failure(self, name: str) -> tuple[int, str]:
        wait_until(lambda: name in self.ended, 20, f"{name} ends")
        return self.ended[name].status.code, self.ended[name].status.message

    def _kept(self, made: Any) -> reapi.Digest:
        return self.server.keep(made.SerializeToString(deterministic=True))

    def _answer(self, name: str, request: Any, context: grpc.ServicerContext) -> bots_pb2.BotSession:
        self.fault(name, context)
        session = request.bot_session
        told = bots_pb2.BotSession()
        told.CopyFrom(session)
        self.requests.append(told)
        if name == "CreateBotSession":
            self.sessions += 1
            session.name = f"session-{self.sessions}"
            del session.leases[:]
        elif request.name != f"session-{self.sessions}":
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "Bot does not exist")
        listed = {one.id: one.state for one in session.leases}
        for one in session.leases:
            if one.state == bots_pb2.COMPLETED and one.id in self.wanted:
                self.ended[one.id] = one
                del self.wanted[one.id]
        if set(self.wanted) == set(listed):
            self._changed.wait(HELD_S)
            self._changed.clear()
        for one in self.wanted.values():
            one.state = listed.get(one.id, one.state)
        del session.leases[:]
        session.leases.extend(self.wanted.values())
        session.expire_time.FromSeconds(int(time.time()) + 3)
        return session


class Worker:
    """`vx-rhea join` as a process."""

    def __init__(self, sandbox: Any, url: str) -> None:
        self.sandbox = sandbox
        self.url = url
        self.log = sandbox.path / "worker.log"
        self.process: subprocess.Popen[bytes] | None = None

    def join(self, *words: str) -> None:
        command = [BIN / "vx-rhea", "join", self.url, "--name", "w", "--jobs", "2", "--drain", "0.1", *words]
        env = {**self.sandbox.env, "VX_HOME": str(self.sandbox.path / "vx")}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, env=env, stdout=log, stderr=log)

    def says(self, text: str) -> None:
        wait_until(lambda: text in self.log.read_text(), 20, lambda: f"{text!r} in {self.log.read_text()!r}")

    def ends(self) -> int:
        assert self.process is not None
        return self.process.wait(20)

    def leave(self) -> int:
        assert self.process is not None
        self.process.terminate()
        return self.ends()


@pytest.fixture
def farm(remote_server: Any) -> Farm:
    return Farm(remote_server)


@pytest.fixture
def worker(sandbox: Any, remote_server: Any) -> Iterator[Worker]:
    one = Worker(sandbox, remote_server.url)
    yield one
    if one.process is not None and one.process.poll() is None:
        one.process.send_signal(signal.SIGCONT)
        one.process.terminate()
        one.process.wait(20)


def runs(pid_file: Path) -> bool:
    """Whether the process that wrote its number there still runs."""
    try:
        os.kill(int(pid_file.read_text()), 0)
    except ProcessLookupError:
        return False
    return True


def sleeper(farm: Farm, name: str, path: Path) -> Path:
    """Lease a command that never ends; return the file with the number of a process that it started."""
    farm.lease(name, "sh", "-c", "sh -c 'echo $$ > x; exec sleep 600' & while [ ! -s x ]; do :; done; wait")
    wait_until(lambda: any(path.glob("worker/**/x")), 20, "it runs")
    (found,) = path.glob("worker/**/x")
    kept = path / f"pid-{name}"
    wait_until(lambda: found.read_text() != "", 10, "its number")
    kept.write_text(found.read_text())
    return kept


def test_an_action_runs_and_its_outputs_go_to_the_farm(farm: Farm, worker: Worker, remote_server) -> None:
    script = "cat a; echo e >&2; mkdir -p d/e; echo 1 > d/e/f; ln -s f d/e/l; cp a out/b; exit 3"
    farm.lease(
        "one",
        "sh",
        "-c",
        script,
        inputs={"a": b"content\n"},
        output_paths=["out/b", "d", "absent", "d/e/l"],
    )
    worker.join()
    result = farm.result("one")
    assert (result.exit_code, result.stdout_raw, result.stderr_raw) == (3, b"content\n", b"e\n")
    (file,) = result.output_files
    assert (file.path, remote_server.blobs[file.digest.hash]) == ("out/b", b"content\n")
    (folder,) = result.output_directories
    tree = reapi.Tree.FromString(remote_server.blobs[folder.tree_digest.hash])
    assert [one.name for one in tree.root.directories] == ["e"]
    assert [(one.path, one.target) for one in result.output_symlinks] == [("d/e/l", "f")]
    assert result.execution_metadata.worker == "w"
    assert worker.leave() == 0
    lines = worker.log.read_text().splitlines()
    assert lines == [
        f"vx-rhea: joined {remote_server.url} as w, with 2 places",
        "vx-rhea: leaving",
        f"vx-rhea: left {remote_server.url}: 1 done, 0 dropped",
    ]
    assert not list((worker.sandbox.path / "vx" / "worker").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "more", "code", "told"),
    [
        (["/no/such"], {}, 3, "'/no/such' cannot be run: No such file"),
        ([], {}, 3, "no command"),
        (["true"], {"output_paths": ["../x"]}, 3, "is not a path below"),
        (["true"], {"working_directory": "/etc"}, 3, "is not a path below"),
        (["ln", "-s", "/etc", "d"], {"output_paths": ["d/hostname"]}, 3, "out of the input root"),
        (["mkfifo", "p"], {"output_paths": ["p"]}, 3, "is not a file"),
    ],
)
def test_an_action_that_cannot_be_run_is_told_with_its_reason(farm, worker, words, more, code, told) -> None:
    if words[0:1] == ["ln"]:  # after the folder of the output was made, the command replaces it by a link
        words = ["sh", "-c", "rmdir d && ln -s /etc d"]
    farm.lease("one", *words, **more)
    worker.join()
    found = farm.failure("one")
    assert found[0] == code
    assert told in found[1]


@pytest.mark.slow
def test_an_input_that_the_farm_spoils_is_never_run(farm, worker, remote_server) -> None:
    farm.lease("one", "sh", "a", inputs={"a": b"echo right"})
    remote_server.spoil = lambda data: data.replace(b"right", b"wrong")
    worker.join()
    code, told = farm.failure("one")
    assert code == 14
    assert "that are not" in told


@pytest.mark.slow
def test_an_input_that_the_farm_has_lost_is_the_farms_fault(farm, worker, remote_server) -> None:
    farm.lease("one", "cat", "a", inputs={"a": b"gone"})
    del remote_server.blobs[remote_server.digest(b"gone").hash]
    worker.join()
    assert farm.failure("one")[0] == 9


@pytest.mark.slow
def test_a_time_that_is_over_ends_all_processes(farm, worker, remote_server) -> None:
    farm.lease("one", "sh", "-c", "sleep 600 & wait")
    digest = reapi.Digest()
    farm.wanted["one"].payload.Unpack(digest)
    action = reapi.Action.FromString(remote_server.blobs[digest.hash])
    action.timeout.nanos = 300_000_000
    farm.wanted["one"].payload.Pack(action)  # an Action itself is a payload, too
    worker.join()
    assert farm.failure("one") == (4, "not done after 0.3 s")


def test_a_lease_that_is_gone_ends_with_its_processes(farm: Farm, worker: Worker) -> None:
    worker.join()
    pid = sleeper(farm, "one", worker.sandbox.path / "vx")
    farm.drop("one")
    worker.says("1 job ended: the farm does not want them any more")
    wait_until(lambda: not runs(pid), 10, "its processes end")
    farm.lease("two", "true")
    assert farm.result("two").exit_code == 0


@pytest.mark.slow
def test_a_session_that_is_gone_is_opened_again(farm: Farm, worker: Worker) -> None:
    worker.join()
    pid = sleeper(farm, "one", worker.sandbox.path / "vx")
    farm.wanted.clear()
    farm.sessions += 1  # the farm knows another one now
    worker.says("the session is gone: the farm does not know this session any more")
    wait_until(lambda: not runs(pid), 10, "its processes end")
    farm.lease("two", "true")
    assert farm.result("two").exit_code == 0
    assert worker.log.read_text().count("joined") == 2


@pytest.mark.slow
def test_a_farm_that_restarts_is_joined_again_and_what_runs_goes_on(farm, worker, remote_server) -> None:
    worker.join()
    farm.lease("one", "sh", "-c", "echo > x; sleep 1.5; echo done")
    wait_until(lambda: any((worker.sandbox.path / "vx").glob("worker/**/x")), 20, "it runs")
    remote_server.stop()
    worker.says("does not answer: UNAVAILABLE")
    remote_server.start()
    assert farm.result("one").stdout_raw == b"done\n"
    worker.says("answers again")
    assert farm.sessions == 1


@pytest.mark.slow
def test_a_farm_that_is_silent_for_longer_than_it_keeps_a_session_has_given_the_work_away(
    farm, worker, remote_server
) -> None:
    worker.join()
    pid = sleeper(farm, "one", worker.sandbox.path / "vx")
    farm.wanted.clear()
    remote_server.stop()
    worker.says("the session is gone: no answer for")
    wait_until(lambda: not runs(pid), 10, "its processes end")
    remote_server.start()
    farm.lease("two", "true")
    assert farm.result("two").exit_code == 0


@pytest.mark.slow
def test_a_worker_that_was_frozen_ends_what_others_have_now(farm: Farm, worker: Worker) -> None:
    worker.join()
    pid = sleeper(farm, "one", worker.sandbox.path / "vx")
    assert worker.process is not None
    worker.process.send_signal(signal.SIGSTOP)
    farm.wanted.clear()
    farm.sessions += 1
    worker.process.send_signal(signal.SIGCONT)
    worker.says("1 job ended: others have them now")
    wait_until(lambda: not runs(pid), 10, "its processes end")


@pytest.mark.slow
def test_leaving_lets_work_end_and_gives_back_what_does_not(farm: Farm, worker: Worker) -> None:
    worker.join("--drain", "1")
    farm.lease("short", "sh", "-c", "sleep 0.5; echo done")
    pid = sleeper(farm, "long", worker.sandbox.path / "vx")
    assert worker.leave() == 0
    assert farm.result("short").stdout_raw == b"done\n"
    assert farm.failure("long") == (14, "the worker leaves")
    assert not runs(pid)
    assert farm.requests[-1].status == bots_pb2.BOT_TERMINATING
    worker.says("1 job ended: the worker leaves")


@pytest.mark.slow
def test_a_worker_that_is_killed_leaves_no_process(farm: Farm, worker: Worker) -> None:
    worker.join()
    pid = sleeper(farm, "one", worker.sandbox.path / "vx")
    assert worker.process is not None
    number = worker.process.pid
    children = Path(f"/proc/{number}/task/{number}/children").read_text().split()
    assert children
    worker.process.kill()
    worker.process.wait(10)
    wait_until(lambda: not runs(pid), 10, "its processes end")
    wait_until(lambda: not any(Path("/proc", one).exists() for one in children), 10, "its runner ends")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "exit_code", "told"),
    [
        (grpc.StatusCode.UNIMPLEMENTED, 1, "has no Bots service"),
        (grpc.StatusCode.PERMISSION_DENIED, 4, "does not take this worker: PERMISSION_DENIED"),
        (grpc.StatusCode.UNAUTHENTICATED, 4, "does not take this worker: UNAUTHENTICATED"),
        (grpc.StatusCode.INVALID_ARGUMENT, 1, "does not take this worker: INVALID_ARGUMENT"),
    ],
)
def test_a_farm_that_takes_no_worker_ends_it_with_one_line(farm, worker, code, exit_code, told) -> None:
    farm.fault = lambda _name, context: context.abort(code, "no\x1b[31m\nno")
    worker.join()
    assert worker.ends() == exit_code
    (line,) = worker.log.read_text().splitlines()
    assert told in line
    assert "\x1b" not in line


@pytest.mark.slow
def test_a_second_worker_of_one_home_is_refused(farm: Farm, worker: Worker, sandbox, remote_server) -> None:
    worker.join()
    worker.says("joined")
    other = Worker(sandbox, remote_server.url)
    other.log = sandbox.path / "other.log"
    other.join()
    assert other.ends() == 1
    assert "has joined" in other.log.read_text()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["farm:50051"], "'farm:50051' is neither grpc://HOST:PORT"),
        (["grpc://h", "--jobs", "0"], "--jobs='0' is not a number from 1"),
        (["grpc://h", "--remote_header", "X y=1"], "cannot be sent"),
    ],
)
def test_wrong_words_are_one_line_and_exit_code_2(sandbox, words: list[str], told: str) -> None:
    done = sandbox.run(BIN / "vx-rhea", "join", *words)
    assert done.code == 2
    assert told in done.err
    assert done.err.count("\n") == 1


def test_the_command_is_in_the_help_and_the_completion_of_vx_rhea(sandbox) -> None:
    assert re.search(r"\n +join +run the Actions of a farm", sandbox.run(BIN / "vx-rhea", "--help").out)
    assert sandbox.run(BIN / "vx-rhea", "_complete", "joi").out.split() == ["join"]

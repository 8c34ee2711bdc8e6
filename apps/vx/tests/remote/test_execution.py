"""Running an Action, and each way in which the connection to the server can break meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from google.longrunning import operations_pb2

from vx.remote import execution
from vx.remote.digest_functions import RemoteDigest
from vx.remote.execution import Execution, LivenessProbe
from vx.remote.failures import RemoteFailed
from vx.remote.protos import remote_execution_pb2 as reapi
from vx.remote.server import Server
from vx.remote.settings import RemoteSettings

ACTION = RemoteDigest("ac" * 32, 5)


@pytest.fixture
def start(remote_server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Execution]]:
    """Makes an execution by the server."""
    monkeypatch.setattr(execution, "_AGAIN_S", 0.01)
    monkeypatch.setattr(execution, "PROBE_EACH_S", 0.1)
    monkeypatch.setattr(execution, "PROBE_TIMEOUT_S", 0.2)
    server = Server(remote_server.url, RemoteSettings())
    yield lambda: Execution(server, LivenessProbe(server))
    server.rpc.close()


def finished(exit_code: int = 0) -> operations_pb2.Operation:
    response = reapi.ExecuteResponse()
    response.result.exit_code = exit_code
    operation = operations_pb2.Operation(name="one", done=True)
    operation.response.Pack(response)
    return operation


def answering(*turns: list[Any]) -> Callable[..., Iterator[operations_pb2.Operation]]:
    """Return a service whose calls are answered in turn: by operations, or by a code that ends the call."""
    left = list(turns)

    def execute(_name: str, _request: Any, context: Any) -> Iterator[operations_pb2.Operation]:
        for step in left.pop(0):
            if isinstance(step, grpc.StatusCode):
                context.abort(step, "broken")
            yield step

    return execute


BEGUN = operations_pb2.Operation(name="one")
LOST = grpc.StatusCode.UNAVAILABLE
EXECUTIONS = ("Execute", "WaitExecution")


def calls(server: Any) -> list[str]:
    return [one for one in server.calls if one in EXECUTIONS]


def test_a_break_before_the_first_operation_is_followed_by_the_same_call(start, remote_server) -> None:
    remote_server.execute = answering([LOST], [LOST], [BEGUN, finished(3)])
    assert start().run(ACTION, 10).result.exit_code == 3
    assert calls(remote_server) == ["Execute"] * 3


def test_a_break_after_it_is_followed_by_waiting(start, remote_server) -> None:
    remote_server.execute = answering([BEGUN, LOST], [BEGUN], [finished()])
    assert start().run(ACTION, 10).result.exit_code == 0
    assert calls(remote_server) == ["Execute", "WaitExecution", "WaitExecution"]


def test_a_run_that_the_server_has_forgotten_is_begun_again(start, remote_server) -> None:
    remote_server.execute = answering([BEGUN, LOST], [grpc.StatusCode.NOT_FOUND], [finished()])
    start().run(ACTION, 10)
    assert calls(remote_server) == ["Execute", "WaitExecution", "Execute"]


def test_three_failures_are_enough(start, remote_server) -> None:
    remote_server.execute = answering([LOST], [BEGUN, LOST], [LOST], [finished()])
    with pytest.raises(RemoteFailed, match="UNAVAILABLE: broken"):
        start().run(ACTION, 10)
    assert len(calls(remote_server)) == 3


def test_a_refusal_is_not_tried_again(start, remote_server) -> None:
    remote_server.execute = answering([grpc.StatusCode.PERMISSION_DENIED], [finished()])
    with pytest.raises(RemoteFailed, match="PERMISSION_DENIED"):
        start().run(ACTION, 10)
    assert len(calls(remote_server)) == 1


def test_the_deadline_ends_it(start, remote_server) -> None:
    remote_server.execute = lambda *_: remote_server.hang("", _[2]) or iter(())
    with pytest.raises(RemoteFailed, match=r"DEADLINE_EXCEEDED|no result after"):
        start().run(ACTION, 0.3)
    assert remote_server.cancelled == []


@pytest.mark.parametrize("has_method", [True, False])
def test_a_run_beyond_its_deadline_is_taken_back(start, remote_server, has_method: bool) -> None:
    """It runs here then; the server's worker would go on for as long as it takes."""

    def execute(name: str, _request: Any, context: Any) -> Iterator[operations_pb2.Operation]:
        yield BEGUN
        remote_server.hang(name, context)

    def fault(name: str, context: Any) -> None:
        if name == "CancelOperation" and not has_method:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, "no such method")

    remote_server.execute, remote_server.fault = execute, fault
    with pytest.raises(RemoteFailed, match="no result after"):
        start().run(ACTION, 0.3)
    assert remote_server.cancelled == (["one"] if has_method else [])


def test_a_server_that_went_silent_is_given_up(start, remote_server) -> None:
    """A network that is cut ends no call: the questions in between do, and nobody asks for it again."""

    def execute(_name: str, _request: Any, context: Any) -> Iterator[operations_pb2.Operation]:
        yield BEGUN
        remote_server.fault = remote_server.hang
        remote_server.hang("", context)

    remote_server.execute = execute
    with pytest.raises(RemoteFailed, match="it does not answer any more: 3 questions in 11 s"):
        start().run(ACTION, 60)
    assert len(calls(remote_server)) == 1


def test_a_server_that_ends_the_connection_and_comes_back_is_asked_for_the_result(
    start, remote_server
) -> None:
    def execute(name: str, _request: Any, context: Any) -> Iterator[operations_pb2.Operation]:
        if name == "WaitExecution":
            yield finished()
            return
        yield BEGUN
        threading.Thread(target=again).start()
        remote_server.hang("", context)

    def again() -> None:
        remote_server.stop()
        remote_server.start()
        back.set()

    back = threading.Event()
    remote_server.execute = execute
    assert start().run(ACTION, 60).result.exit_code == 0
    assert back.wait(10)


def test_a_cancelled_one_ends_at_once(start, remote_server) -> None:
    def execute(_name: str, _request: Any, context: Any) -> Iterator[operations_pb2.Operation]:
        yield BEGUN
        remote_server.hang("", context)

    remote_server.execute = execute
    one = start()
    operations, taken = one._operations, threading.Event()

    def watched(*given: Any, **more: Any) -> Iterator[Any]:
        for operation in operations(*given, **more):
            yield operation
            taken.set()  # it knows the name, without which nothing can be taken back

    one._operations = watched
    canceller = threading.Thread(target=lambda: taken.wait(10) and one.cancel())
    canceller.start()
    with pytest.raises(RemoteFailed, match="CANCELLED"):
        one.run(ACTION, 60)
    canceller.join()
    assert len(calls(remote_server)) == 1
    assert remote_server.cancelled == ["one"]  # the server would let it go on


@pytest.mark.parametrize("broken", ["error", "another", "status"])
def test_a_result_of_another_form_is_a_failure(start, remote_server, broken: str) -> None:
    operation = operations_pb2.Operation(name="one", done=True)
    if broken == "error":
        operation.error.message = "out of\nworkers"
    elif broken == "another":
        operation.response.Pack(reapi.Directory())
    else:
        response = reapi.ExecuteResponse()
        response.status.code = 9
        operation.response.Pack(response)
    remote_server.execute = answering([operation], [operation], [operation])
    with pytest.raises(RemoteFailed, match=r"the run failed there|cannot be read"):
        start().run(ACTION, 10)

"""Running an Action on a server's workers.

Owns what happens when the connection breaks: before the first Operation the same Execute is sent again, which
joins the run or finds its result; after it, WaitExecution by the Operation's name.  Three failures, or the
deadline, and the caller runs the job here.  A run is taken back by that name once nobody waits for it: a
server may let it go on when the call ends.  A server that is silent while jobs run is asked for its
capabilities now and then: no answer ends the calls, since a cut network ends none.  Blocks: for threads.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Any, Final, Self

from google.longrunning import operations_pb2
from google.protobuf.message import DecodeError

from vx.remote.digest_functions import RemoteDigest
from vx.remote.failures import RemoteFailed
from vx.remote.protos import remote_execution_pb2 as reapi
from vx.remote.rpc import CANCEL, CAPABILITIES, EXECUTE, WAIT
from vx.remote.server import Server, message

logger = logging.getLogger("vx.rhea")

MOST_FAILURES: Final = 3
# While jobs run: how often the server is asked whether it is there, and how long it may take.  Three
# unanswered questions are eleven seconds.
PROBE_EACH_S: Final = 5.0
PROBE_TIMEOUT_S: Final = 2.0
SILENT_S: Final = PROBE_EACH_S + MOST_FAILURES * PROBE_TIMEOUT_S
_AGAIN_S: Final = 0.2
_TAKE_BACK_TIMEOUT_S: Final = 2.0
# What another try does not mend.
_FINAL: Final = frozenset(
    ("INVALID_ARGUMENT", "FAILED_PRECONDITION", "PERMISSION_DENIED", "UNAUTHENTICATED", "UNIMPLEMENTED")
)


class Execution:
    """One Action under way.

    Args:
        server: whose Execution service runs it.
        watch: ends its calls when the server is silent.
    """

    def __init__(self, server: Server, watch: LivenessProbe) -> None:
        self._server = server
        self._watch = watch
        self._call: Any = None
        self._cancelled = False
        self._silent = False

    def run(
        self, action: RemoteDigest, timeout_s: float, *, skip_cache: bool = False
    ) -> reapi.ExecuteResponse:
        """Return how the Action ended.

        Args:
            action: its name; it and its inputs are there.
            timeout_s: for all of it.
            skip_cache: whether it is run although its result is known.

        Raises:
            RemoteFailed: it is not known how it ended, and nobody waits for it any more.
        """
        until_s = time.monotonic() + timeout_s
        name = ""
        failures = 0
        while True:
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                self._take_back(name)
                raise RemoteFailed(f"no result after {timeout_s:g} s", "DEADLINE_EXCEEDED")
            try:
                for operation in self._operations(action, name, left_s, skip_cache=skip_cache):
                    name = operation.name or name
                    if operation.done:
                        return _response(operation)
                raise RemoteFailed("the answers ended before the result")
            except RemoteFailed as error:
                failures += 1
                if name and error.code == "NOT_FOUND":
                    name = ""  # it does not know the run any more: the same Execute again
                if self._cancelled:
                    self._take_back(name)
                if self._cancelled or self._silent or failures >= MOST_FAILURES or error.code in _FINAL:
                    raise
            time.sleep(_AGAIN_S * failures)

    def cancel(self) -> None:
        """End it: nobody waits for it."""
        self._cancelled = True
        if self._call is not None:
            self._call.cancel()

    def _take_back(self, name: str) -> None:
        """Tell the server that we do not wait for a run any more; it need not have such a method."""
        if not name or self._silent:
            return
        request = operations_pb2.CancelOperationRequest(name=name)
        try:
            self._server.rpc.unary(CANCEL, request, _TAKE_BACK_TIMEOUT_S)
        except RemoteFailed as error:
            logger.info("the run %s was not taken back: %s", name, error.reason)

    def _operations(self, action: RemoteDigest, name: str, left_s: float, *, skip_cache: bool) -> Any:
        rpc = self._server.rpc
        if name:
            self._call = rpc.streamed(WAIT, reapi.WaitExecutionRequest(name=name), left_s)
        else:
            request = reapi.ExecuteRequest(
                instance_name=self._server.instance,
                action_digest=message(action),
                skip_cache_lookup=skip_cache,
                digest_function=self._server.capabilities().function.number,
            )
            self._call = rpc.streamed(EXECUTE, request, left_s)
        if self._cancelled:
            self._call.cancel()
        with self._watch.over(self._call) as watched:
            try:
                yield from rpc.answers(self._call)
            except RemoteFailed as error:
                if not watched.silent:
                    raise
                asked = f"{MOST_FAILURES} questions in {SILENT_S:g} s"
                self._silent = True
                raise RemoteFailed(f"it does not answer any more: {asked}", error.code) from None


def _response(operation: Any) -> reapi.ExecuteResponse:
    if operation.WhichOneof("result") == "error":
        raise RemoteFailed(f"the run failed there: {operation.error.message[:200]!r}", "UNKNOWN")
    response = reapi.ExecuteResponse()
    try:
        unpacked = operation.response.Unpack(response)
    except DecodeError:
        unpacked = False
    if not unpacked:
        raise RemoteFailed("the result cannot be read", "INVALID_ARGUMENT")
    if response.status.code:
        raise RemoteFailed(f"the run failed there: {response.status.message[:200]!r}", "UNKNOWN")
    return response


class LivenessProbe:
    """Ends the calls of a server that does not answer any more, by one thread for all of them.

    Args:
        server: it.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._calls: list[ProbedCall] = []
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._changed = threading.Event()

    def over(self, call: Any) -> ProbedCall:
        """Return a block during which a call is watched."""
        return ProbedCall(self, call)

    def add(self, call: ProbedCall) -> None:
        """Watch a call."""
        with self._lock:
            self._calls.append(call)
            if self._thread is None:
                self._changed.clear()
                self._thread = threading.Thread(target=self._run, name="liveness probe", daemon=True)
                self._thread.start()

    def remove(self, call: ProbedCall) -> None:
        """Watch it no more."""
        with self._lock:
            self._calls.remove(call)
            if not self._calls:
                self._changed.set()

    def _run(self) -> None:
        unanswered = 0
        while True:
            self._changed.wait(PROBE_EACH_S if not unanswered else 0)
            with self._lock:
                if not self._calls:
                    self._thread = None
                    return
            unanswered = 0 if self._answers() else unanswered + 1
            if unanswered >= MOST_FAILURES:
                unanswered = 0
                with self._lock:
                    for call in self._calls:
                        call.give_up()

    def _answers(self) -> bool:
        asked = reapi.GetCapabilitiesRequest(instance_name=self._server.instance)
        try:
            self._server.rpc.unary(CAPABILITIES, asked, PROBE_TIMEOUT_S)
        except RemoteFailed as error:
            return error.code not in ("UNAVAILABLE", "DEADLINE_EXCEEDED")
        return True


class ProbedCall:
    """A block during which a call is watched.

    Attributes:
        silent: whether its server did not answer, and the call was ended for that reason.
    """

    def __init__(self, watch: LivenessProbe, call: Any) -> None:
        self.silent: bool = False
        self._watch = watch
        self._call = call

    def give_up(self) -> None:
        """End the call: its server is silent."""
        self.silent = True
        self._call.cancel()

    def __enter__(self) -> Self:
        self._watch.add(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._watch.remove(self)

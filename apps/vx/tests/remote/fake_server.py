"""A server of the Remote Execution API in this process, which can be told to misbehave."""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
from blake3 import blake3
from google.longrunning import operations_pb2
from google.protobuf import empty_pb2

from vx.remote.protos import bots_pb2, bytestream_pb2
from vx.remote.protos import remote_execution_pb2 as reapi

REAPI = "build.bazel.remote.execution.v2"
BOTS = "google.devtools.remoteworkers.v1test2.Bots"


class FakeServer:
    """Blobs and results in memory.

    Attributes:
        blobs: by hash.
        results: by the hash of an action.
        calls: the names of the methods that were called.
        headers: of the last call.
        fault: is called with the name of a method and the call's context before it is answered.
        spoil: is given each blob's content before it is sent.
        cancelled: the names of the Operations that were taken back.
        executed: how often each action was executed, by its hash.
        execute: answers Execute and WaitExecution: yields operations.
        bots: answers CreateBotSession and UpdateBotSession; a session of a worker.
    """

    def __init__(
        self,
        function: int = reapi.DigestFunction.SHA256,
        port: int = 0,
        tls: grpc.ServerCredentials | None = None,
    ) -> None:
        self.function = function
        self.blobs: dict[str, bytes] = {}
        self.results: dict[str, reapi.ActionResult] = {}
        self.calls: list[str] = []
        self.headers: dict[str, str] = {}
        self.fault: Callable[[str, grpc.ServicerContext], None] = lambda _name, _context: None
        self.spoil: Callable[[bytes], bytes] = lambda data: data
        self.execute: (
            Callable[[str, Any, grpc.ServicerContext], Iterator[operations_pb2.Operation]] | None
        ) = None
        self.executed: Counter[str] = Counter()
        self.cancelled: list[str] = []
        self.bots: Callable[[str, Any, grpc.ServicerContext], bots_pb2.BotSession] | None = None
        self.may_update = True
        self.batch_bytes = 0
        self.port = port
        self._tls = tls
        self.start()

    def start(self) -> None:
        """Listen, again at the same port after `stop`."""
        self._server = grpc.server(ThreadPoolExecutor(16), options=[("grpc.so_reuseport", 0)])
        self._server.add_generic_rpc_handlers((_Handlers(self),))
        address = f"127.0.0.1:{self.port}"
        if self._tls is None:
            self.port = self._server.add_insecure_port(address)
        else:
            self.port = self._server.add_secure_port(address, self._tls)
        self._server.start()

    def stop(self) -> None:
        """Send GOAWAY to all, end their calls, and listen no more."""
        self._server.stop(0).wait(5)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"grpc://127.0.0.1:{self.port}" if self._tls is None else f"grpcs://localhost:{self.port}"

    def digest(self, data: bytes) -> reapi.Digest:
        """Return the digest of some content."""
        made = blake3(data) if self.function == reapi.DigestFunction.BLAKE3 else hashlib.sha256(data)
        return reapi.Digest(hash=made.hexdigest(), size_bytes=len(data))

    def keep(self, data: bytes) -> reapi.Digest:
        """Keep some content."""
        digest = self.digest(data)
        self.blobs[digest.hash] = data
        return digest

    # --- faults -----------------------------------------------------------------------------------

    @staticmethod
    def hang(_name: str, context: grpc.ServicerContext) -> None:
        """Answer nothing for as long as anybody waits."""
        over = threading.Event()
        if context.add_callback(over.set):
            over.wait(30)
        context.abort(grpc.StatusCode.CANCELLED, "nobody waits")

    @staticmethod
    def unavailable(_name: str, context: grpc.ServicerContext) -> None:
        """Answer that there is no answer."""
        context.abort(grpc.StatusCode.UNAVAILABLE, "being\x1b[31m moved\nelsewhere")

    # --- a worker ---------------------------------------------------------------------------------

    def work(
        self, _name: str, request: Any, _context: grpc.ServicerContext
    ) -> Iterator[operations_pb2.Operation]:
        """Answer Execute by running the Action in a directory of its own; set as `execute`."""
        yield operations_pb2.Operation(name="one")
        hash_ = request.action_digest.hash
        self.executed[hash_] += 1
        action = reapi.Action.FromString(self.blobs[hash_])
        command = reapi.Command.FromString(self.blobs[action.command_digest.hash])
        response = reapi.ExecuteResponse()
        with tempfile.TemporaryDirectory() as folder:
            self._lay(Path(folder), action.input_root_digest)
            environment = {one.name: one.value for one in command.environment_variables}
            done = subprocess.run(
                list(command.arguments),
                cwd=Path(folder) / command.working_directory,
                env=environment,
                capture_output=True,
                check=False,
            )
            response.result.exit_code = done.returncode
            response.result.stderr_raw = done.stderr
            for path in command.output_paths:
                output = Path(folder) / command.working_directory / path
                if output.exists():
                    digest = self.keep(output.read_bytes())
                    response.result.output_files.add(path=path, digest=digest)
        operation = operations_pb2.Operation(name="one", done=True)
        operation.response.Pack(response)
        yield operation

    def _lay(self, folder: Path, digest: reapi.Digest) -> None:
        found = reapi.Directory.FromString(self.blobs.get(digest.hash, b""))
        for file in found.files:
            (folder / file.name).write_bytes(self.blobs.get(file.digest.hash, b""))
        for inside in found.directories:
            (folder / inside.name).mkdir()
            self._lay(folder / inside.name, inside.digest)

    # --- the methods ------------------------------------------------------------------------------

    def GetCapabilities(self, _request, _context):
        told = reapi.ServerCapabilities()
        told.cache_capabilities.digest_functions.append(self.function)
        told.cache_capabilities.action_cache_update_capabilities.update_enabled = self.may_update
        told.cache_capabilities.max_batch_total_size_bytes = self.batch_bytes
        told.execution_capabilities.exec_enabled = self.execute is not None
        return told

    def FindMissingBlobs(self, request, _context):
        lacking = [one for one in request.blob_digests if one.hash not in self.blobs]
        return reapi.FindMissingBlobsResponse(missing_blob_digests=lacking)

    def BatchUpdateBlobs(self, request, _context):
        reply = reapi.BatchUpdateBlobsResponse()
        for one in request.requests:
            assert self.digest(one.data) == one.digest
            self.blobs[one.digest.hash] = one.data
            reply.responses.add(digest=one.digest)
        return reply

    def BatchReadBlobs(self, request, _context):
        reply = reapi.BatchReadBlobsResponse()
        for one in request.digests:
            answer = reply.responses.add(digest=one)
            if one.hash in self.blobs or not one.size_bytes:
                answer.data = self.spoil(self.blobs.get(one.hash, b""))
            else:
                answer.status.code = 5
        return reply

    def GetActionResult(self, request, context):
        found = self.results.get(request.action_digest.hash)
        if found is None:
            context.abort(grpc.StatusCode.NOT_FOUND, "no such result")
        return found

    def UpdateActionResult(self, request, _context):
        for file in request.action_result.output_files:
            assert file.digest.hash in self.blobs
        self.results[request.action_digest.hash] = request.action_result
        return request.action_result

    def CreateBotSession(self, request, context):
        return self._bots("CreateBotSession", request, context)

    def UpdateBotSession(self, request, context):
        return self._bots("UpdateBotSession", request, context)

    def _bots(self, name, request, context):
        if self.bots is None:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, "no workers here")
        return self.bots(name, request, context)

    def Read(self, request, context):
        hash_ = request.resource_name.split("/")[-2]
        if hash_ not in self.blobs:
            context.abort(grpc.StatusCode.NOT_FOUND, "no such blob")
        data = self.spoil(self.blobs[hash_])
        for begin in range(0, len(data), 1 << 20):
            yield bytestream_pb2.ReadResponse(data=data[begin : begin + (1 << 20)])

    def Write(self, requests, _context):
        data = b"".join(one.data for one in requests)
        return bytestream_pb2.WriteResponse(committed_size=self.keep(data).size_bytes)

    def CancelOperation(self, request, _context):
        self.cancelled.append(request.name)
        return empty_pb2.Empty()

    def Execute(self, request, context):
        yield from self.execute("Execute", request, context)

    def WaitExecution(self, request, context):
        yield from self.execute("WaitExecution", request, context)


_METHODS = {
    f"/{REAPI}.Capabilities/GetCapabilities": reapi.GetCapabilitiesRequest,
    f"/{REAPI}.ContentAddressableStorage/FindMissingBlobs": reapi.FindMissingBlobsRequest,
    f"/{REAPI}.ContentAddressableStorage/BatchUpdateBlobs": reapi.BatchUpdateBlobsRequest,
    f"/{REAPI}.ContentAddressableStorage/BatchReadBlobs": reapi.BatchReadBlobsRequest,
    f"/{REAPI}.ActionCache/GetActionResult": reapi.GetActionResultRequest,
    f"/{REAPI}.ActionCache/UpdateActionResult": reapi.UpdateActionResultRequest,
    f"/{REAPI}.Execution/Execute": reapi.ExecuteRequest,
    f"/{REAPI}.Execution/WaitExecution": reapi.WaitExecutionRequest,
    "/google.longrunning.Operations/CancelOperation": operations_pb2.CancelOperationRequest,
    f"/{BOTS}/CreateBotSession": bots_pb2.CreateBotSessionRequest,
    f"/{BOTS}/UpdateBotSession": bots_pb2.UpdateBotSessionRequest,
    "/google.bytestream.ByteStream/Read": bytestream_pb2.ReadRequest,
    "/google.bytestream.ByteStream/Write": bytestream_pb2.WriteRequest,
}
_KINDS = {
    "Write": grpc.stream_unary_rpc_method_handler,
    "Read": grpc.unary_stream_rpc_method_handler,
    "Execute": grpc.unary_stream_rpc_method_handler,
    "WaitExecution": grpc.unary_stream_rpc_method_handler,
}


class _Handlers(grpc.GenericRpcHandler):
    def __init__(self, fake: FakeServer) -> None:
        self._fake = fake

    def service(self, details):
        request = _METHODS.get(details.method)
        if request is None:
            return None
        name = details.method.rpartition("/")[2]
        kind = _KINDS.get(name, grpc.unary_unary_rpc_method_handler)
        call = getattr(self._fake, name)

        def streamed(asked, context):
            self._note(name, context)
            yield from call(asked, context)

        def answered(asked, context):
            self._note(name, context)
            return call(asked, context)

        streams = kind is grpc.unary_stream_rpc_method_handler
        return kind(
            streamed if streams else answered, request.FromString, lambda reply: reply.SerializeToString()
        )

    def _note(self, name, context):
        self._fake.calls.append(name)
        self._fake.headers = dict(context.invocation_metadata())
        self._fake.fault(name, context)

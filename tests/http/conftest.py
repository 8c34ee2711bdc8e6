"""A daemon with HTTP, and a client of each of its doors that knows no more than HTTP."""

import http.client
import json
import socket
from pathlib import Path
from typing import NamedTuple

import pytest

pytest.importorskip("starlette", reason="the extra `http` is not installed")
pytest.importorskip("uvicorn", reason="the extra `http` is not installed")
pytest.importorskip("prometheus_client", reason="the extra `http` is not installed")

PROGRAM = """
import asyncio, os, time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal
from daemonry import CallError, Daemon, Http, Interface, Part, method

BOX = os.environ["DAEMONRY_SANDBOX"]

class NoSuch(CallError):
    '''There is none.'''
    name: str

@dataclass
class Job:
    id: int
    tags: list[str]
    note: str | None = None
    kind: Literal["a", "b"] = "a"

class Tries(Interface, name="org.example.tries", errors=(NoSuch,)):
    '''Tries.'''
    def add(self, a: int, b: int = 1) -> int:
        '''Add two numbers.'''
        return a + b
    async def nap(self, seconds: float) -> None:
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            open(f"{BOX}/cancelled", "w").close()
            raise
    def fail(self) -> int:
        raise ValueError("bad thing")
    def find(self, name: str) -> Job:
        raise NoSuch(name=name)
    @method(reads=True)
    def look(self) -> list[Job]:
        return [Job(1, ["t"], "n", "b")]
    def keep(self, job: Job, names: set[str]) -> Job:
        return job
    async def count(self, to: int, pause: float = 0.0) -> AsyncIterator[int]:
        for number in range(to):
            yield number
            await asyncio.sleep(pause)

OPTIONS
daemon.serve(Tries())
"""
UNIX_AND_PORT = 'daemon = Daemon("seen", version="1.2", http=Http(port=0))'


class Answer(NamedTuple):
    """A response."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)


class OverUnix(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("d", timeout=20)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Seen:
    """A daemon with HTTP."""

    def __init__(self, sandbox, options=UNIX_AND_PORT, name="seen"):
        self.sandbox = sandbox
        self.program = sandbox.write(f"{name}.py", PROGRAM.replace("OPTIONS", options))
        self.instance = sandbox.start(self.program)
        self.place = sandbox.place(name)
        self.path = self.place.socket_path

    def ask(self, verb, path, body=None, headers=(), port=False):
        """Ask over the daemon's socket, or its port."""
        connection = http.client.HTTPConnection(*self.address, timeout=20) if port else OverUnix(self.path)
        data = None if body is None else json.dumps(body) if not isinstance(body, (str, bytes)) else body
        heads = dict(headers)
        if data is not None and "Content-Type" not in heads:
            heads["Content-Type"] = "application/json"
        try:
            connection.request(verb, path, data, {k: v for k, v in heads.items() if v is not None})
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def get(self, path, **more):
        return self.ask("GET", path, **more)

    def post(self, path, body=None, **more):
        return self.ask("POST", path, body, **more)

    def call(self, method, **parameters):
        return self.post(f"/v1/call/org.example.tries/{method}", parameters)

    @property
    def url(self):
        return self.get("/v1/status").json["http"]

    @property
    def address(self):
        host, _, port = self.url.removeprefix("http://").partition(":")
        return host, int(port)

    @property
    def token(self):
        return Path(self.place.http_token_path).read_text().strip()

    @property
    def bearer(self):
        return {"Authorization": f"Bearer {self.token}"}

    def events(self, path="/v1/events", headers=()):
        """A stream that was opened: yields (event, data, id) without end."""
        connection = OverUnix(self.path)
        connection.request("GET", path, headers=dict(headers))
        return Stream(connection, connection.getresponse())


class Stream:
    def __init__(self, connection, response):
        self.connection, self.response = connection, response
        self.status = response.status

    def __iter__(self):
        found = {}
        for line in self.response:
            text = line.decode().rstrip("\n")
            if not text and "data" in found:
                yield found.get("event"), json.loads(found["data"]), found.get("id")
            if not text:
                found = {}
            else:
                name, _, value = text.partition(": ")
                found[name] = value

    def until(self, wanted):
        return next(one for one in self if wanted(one))

    def close(self):
        self.response.close()
        self.connection.close()


@pytest.fixture
def seen(sandbox):
    return Seen(sandbox)


@pytest.fixture
def seen_with(sandbox):
    """A function that starts one by the line that makes its Daemon."""
    return lambda options: Seen(sandbox, options)

"""A model of calls: what a caller is told of its call is what became of it, whatever happens to the daemon.

Each scenario is a state that a daemon gets into, a transport, and calls by each kind of client on connections
that were made before, during and after.  The handler writes down each call as it runs, and afterwards:

    done       it ran exactly once
    no         it never ran
    maybe      it ran at most once, and only where the process has died or gone away

Where the process lives on and takes work, every call is done.  A failure prints the seeds of its scenario:
DAEMONRY_SEED=N repeats a run; `scripts/test --soak N` plays N scenarios of each state and transport.
"""

import asyncio
import collections
import contextlib
import json
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

# Loaded here, and not by two threads at the same time: see tests/service/conftest.py.
import daemonry.service.client.async_pipeline
import daemonry.service.client.pipeline  # noqa: F401
from daemonry import AsyncClient, Client, Endpoint, connect
from daemonry.errors import CallFailed, DaemonryError
from daemonry.testing import cleanup_socket_file, wait_until

EXAMPLES = int(os.environ.get("DAEMONRY_SOAK", "1"))
# Another one for each run, told where a scenario fails; in a variable, so that all workers have the same.
SEED = os.environ.setdefault("DAEMONRY_SEED", str(random.randrange(1 << 32)))
# To make a failing scenario smaller takes longer than to read it.
PHASES = (Phase.generate,)
# More than any state lasts, on a machine that has much else to do.
CALL_TIMEOUT_S = 60.0
# For calls to a socket that stays while nobody serves it: a service manager's.
NOBODY_TIMEOUT_S = 2.0

STATES = (
    *("starting", "serving", "stuck", "paused", "draining", "upgrading", "frozen", "killed"),
    *("unlinked", "without descriptors", "without disk", "restarted"),
)
# The process ends: what was sent to it and not answered may have run.
ENDING = {"draining", "killed", "restarted"}
# Nobody serves any more after these.
GONE = {"draining", "killed"}
# Whoever connects meanwhile waits in the backlog; over TCP, where a proof is wanted, as one who connects.
ACCEPTS_NOBODY = {"frozen", "without descriptors"}
# It goes on and takes work: nobody is refused.
LIVING = {"serving", "stuck", "upgrading", "frozen", "without descriptors", "without disk"}
# Of these, a Unix socket with a file of the daemon's own is the subject; an upgrade over TCP is not promised.
ON_UNIX_ONLY = {"unlinked", "restarted"}

PROGRAM = """
from daemonry import Interface, method

RAN = os.open(f"{BOX}/ran", os.O_WRONLY | os.O_CREAT | os.O_APPEND)  # there are descriptors now

NOT_WRITTEN = []  # while the disk is full
WRITING = threading.Lock()

def ran(key):
    write_down([key + "\\n"])

def write_down(more):
    with WRITING:  # the loop writes as it ends, while threads still do
        NOT_WRITTEN.extend(more)
        try:
            os.write(RAN, "".join(NOT_WRITTEN).encode())
        except OSError:
            return
        NOT_WRITTEN.clear()

class Work(Interface, name="org.example.Work"):
    def plain(self, key: str) -> str:
        ran(key)
        return key

    async def later(self, key: str) -> str:
        ran(key)
        await asyncio.sleep(0.02)
        return key

    @method(blocking=True)
    def thread(self, key: str) -> str:
        ran(key)
        time.sleep(0.02)
        return key

    def fail(self) -> None:
        raise RuntimeError("this is logged")

    def hold(self, secs: float) -> None:
        note("holding", "x")
        time.sleep(secs)
        note("held", "x")

daemon.serve(Work())

@daemon.setup
async def setup(run):
    if told("slow"):
        note("setup", "x")
        await wait_told("go")

@daemon.work
async def work(run):
    try:
        await asyncio.Event().wait()
    finally:
        write_down([])
        if told("slow"):
            note("ending", "x")
            await wait_told("end")
"""


@dataclass(frozen=True)
class Planned:
    """One call of a scenario."""

    when: str
    client: str
    method: str
    waits: bool  # with its first byte until the state is over

    def key(self, number):
        return f"{number}-{self.when}-{self.client}-{self.method}{'-waits' if self.waits else ''}"


def scenario(seed):
    """All kinds of client at all times, each twice, by a method and at a pace of its own."""
    chance = random.Random(seed)
    return chance.choice((1.0, 1.5, 2.0)), [
        Planned(when, client, chance.choice(("Plain", "Later", "Thread")), chance.random() < 0.5)
        for when in ("before", "during", "after")
        for client in CLIENTS
        for _ in range(2)
    ]


# --- clients ------------------------------------------------------------------------------------------


class Failed(Exception):
    """A raw call that failed, and what that says about it."""

    def __init__(self, ran, why):
        super().__init__(why)
        self.ran = ran


class Blocking:
    def __init__(self, endpoint, timeout_s):
        self._timeout_s = timeout_s
        self._client = Client.connect(endpoint, CALL_TIMEOUT_S)

    def call(self, method, key):
        with self._client as client:
            answer = client.call(f"org.example.Work.{method}", {"key": key}, timeout_s=self._timeout_s)
        return answer["result"]


class Asyncio:
    def __init__(self, endpoint, timeout_s):
        self._timeout_s = timeout_s
        self._loop = asyncio.new_event_loop()
        try:
            self._client = self._loop.run_until_complete(AsyncClient.connect(endpoint, CALL_TIMEOUT_S))
        except BaseException:
            self._loop.close()
            raise

    def call(self, method, key):
        async def made():
            async with self._client as client:
                return await client.call(
                    f"org.example.Work.{method}", {"key": key}, timeout_s=self._timeout_s
                )

        try:
            return self._loop.run_until_complete(made())["result"]
        finally:
            self._loop.close()


class Pipelined(Blocking):
    def call(self, method, key):
        with self._client as client, client.pipeline(timeout_s=self._timeout_s) as pipeline:
            call = pipeline.call(f"org.example.Work.{method}", {"key": key})
        assert call.outcome in ("done", "not_sent", "maybe_ran"), call.outcome
        return call.result()["result"]


class AsyncPipelined(Asyncio):
    def call(self, method, key):
        async def made():
            async with self._client as client, client.pipeline(timeout_s=self._timeout_s) as pipeline:
                return await pipeline.call(f"org.example.Work.{method}", {"key": key})

        try:
            return self._loop.run_until_complete(made())["result"]
        finally:
            self._loop.close()


class Raw:
    """A program in another language: it sends a frame in two pieces, and reads one."""

    def __init__(self, endpoint, timeout_s):
        if endpoint.path is None:
            # Over TCP it proves who it is, as any client does; what it says then is its own.
            self._sock = socket.socket(fileno=connect(endpoint, CALL_TIMEOUT_S).sock.detach())
        else:
            self._sock = socket.socket(socket.AF_UNIX)
        try:
            self._sock.settimeout(CALL_TIMEOUT_S)
            if endpoint.path is not None:
                self._sock.connect(endpoint.path)
            self._sock.settimeout(timeout_s)
        except OSError as error:
            self._sock.close()
            raise Failed("no", repr(error)) from None

    def call(self, method, key):
        with self._sock as sock:
            frame = json.dumps({"method": f"org.example.Work.{method}", "parameters": {"key": key}}).encode()
            try:
                sock.sendall(frame[:10])
                sock.sendall(frame[10:] + b"\0")
            except OSError as error:
                raise Failed("no", repr(error)) from None
            reply = b""
            try:
                while not reply.endswith((b"\0", b"\n")):
                    piece = sock.recv(4096)
                    if not piece:
                        raise Failed("maybe", "the connection ended")
                    reply += piece
            except OSError as error:
                raise Failed("maybe", repr(error)) from None
        if reply.startswith(b"ERR: "):
            raise Failed("no", reply.decode())
        answer = json.loads(reply[:-1])
        if "error" in answer:
            raise Failed("maybe" if answer["parameters"].get("begun") else "no", reply.decode())
        return answer["parameters"]["result"]


CLIENTS = {
    "blocking": Blocking,
    "asyncio": Asyncio,
    "pipelined": Pipelined,
    "asyncio-pipelined": AsyncPipelined,
    "raw": Raw,
}


@dataclass
class Outcome:
    kind: str
    why: str


@dataclass
class Callers:
    """Threads that call, and what each was told."""

    outcomes: dict[str, Outcome] = field(default_factory=dict)
    threads: list[threading.Thread] = field(default_factory=list)

    def begin(self, planned, key, endpoint, gate, timeout_s):
        """Connect, and call once `gate` is set, in a thread; return an event that says it has connected."""
        connected = threading.Event()
        thread = threading.Thread(
            target=self._call, args=(planned, key, endpoint, gate, timeout_s, connected)
        )
        thread.start()
        self.threads.append(thread)
        return connected

    def _call(self, planned, key, endpoint, gate, timeout_s, connected):
        try:
            try:
                client = CLIENTS[planned.client](endpoint, timeout_s)
            finally:
                connected.set()
            assert gate.wait(CALL_TIMEOUT_S)
            result = client.call(planned.method, key)
            self.outcomes[key] = Outcome("done" if result == key else "wrong", repr(result))
        except (Failed, DaemonryError) as error:
            told = getattr(error, "ran", "no" if isinstance(error, CallFailed) else "unknown")
            self.outcomes[key] = Outcome(told, repr(error))
        except BaseException as error:  # noqa: BLE001  # a client may raise nothing else: the test shows it
            self.outcomes[key] = Outcome("unknown", repr(error))

    def join(self):
        for thread in self.threads:
            thread.join(2 * CALL_TIMEOUT_S)
            assert not thread.is_alive(), "a client hangs"
        return self.outcomes


# --- a daemon, by each transport ----------------------------------------------------------------------

ACTIVATE = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.set_inheritable(3, True); "
    "os.environ['LISTEN_FDS'] = '1'; "
    "os.environ['LISTEN_PID'] = str(os.getpid()); "
    "os.execv(sys.executable, [sys.executable, '-m', 'daemonry', 'run', sys.argv[2]])"
)


class Scene:
    """A daemon that is got into a state, and out of it."""

    def __init__(self, probe, transport, stack):
        self.probe = probe
        self.transport = transport
        self._stack = stack
        self._listener = None
        if transport == "fd":
            os.makedirs(os.path.dirname(probe.place.socket_path), mode=0o700, exist_ok=True)
            self._listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            self._listener.bind(probe.place.socket_path)
            self._listener.listen(128)
            stack.callback(cleanup_socket_file, probe.place.socket_path)

    @property
    def endpoint(self):
        if self.transport == "tcp":
            return self.probe.instance.endpoint()
        return Endpoint.unix(self.probe.place.socket_path)

    def launch(self):
        """Start the daemon, and do not wait for it."""
        options = "drain_timeout_s=20" + (", endpoint='tcp:127.0.0.1:0'" if self.transport == "tcp" else "")
        program = self.probe.write(PROGRAM, options)
        words = [sys.executable, "-m", "daemonry", "run", program]
        fds = ()
        if self._listener is not None:
            fds = (self._listener.fileno(),)
            words = [sys.executable, "-c", ACTIVATE, str(fds[0]), program]
        process = subprocess.Popen(
            [str(word) for word in words],
            env=self.probe.sandbox.env,
            cwd=self.probe.sandbox.path,
            pass_fds=fds,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._stack.callback(self._end, process)
        return process

    def _end(self, process):
        """End the daemon, also one that took over, and wait until it is gone."""
        for name in ("go", "end"):
            self.probe.tell(name)
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
        while (pid := self.probe.instance.pid()) is not None and self.probe.instance.lock_held():
            os.kill(pid, signal.SIGTERM)
            with contextlib.suppress(AssertionError):
                self.probe.wait_gone(5)
        process.wait(30)
        if self._listener is None:
            self.probe.bury()

    def wait_running(self):
        wait_until(lambda: self.state() == "running", 60, "it runs")

    def state(self):
        try:
            return self.probe.instance.status()["state"]
        except DaemonryError:
            return None

    def enter(self, state, secs):
        """Get it into a state; an upgrade, a restart and a kill happen as it is left."""
        enters = getattr(self, f"enter_{state.replace(' ', '_')}", None)
        if enters is not None:
            enters(secs)

    def leave(self, state):
        """Get it out of it."""
        if state != "serving":
            getattr(self, f"leave_{state.replace(' ', '_')}")()

    def leave_starting(self):
        self.probe.tell("go")
        self.wait_running()

    def enter_stuck(self, secs):
        with Client.connect(self.endpoint) as client:
            client.oneway("org.example.Work.Hold", {"secs": secs})
        wait_until(lambda: self.probe.noted("holding") is not None, 20, "it is stuck")

    def leave_stuck(self):
        wait_until(lambda: self.probe.noted("held") is not None, 60, "the loop is back")

    def enter_paused(self, _secs):
        assert self.probe.instance.command("PAUSE").kind == "ok"

    def leave_paused(self):
        assert self.probe.instance.command("RESUME").kind == "ok"

    def enter_draining(self, _secs):
        self.probe.tell("slow")
        assert self.probe.instance.command("STOP").kind == "ok"
        wait_until(lambda: self.probe.noted("ending") is not None, 20, "it drains")

    def leave_draining(self):
        self.probe.tell("end")
        self.probe.wait_gone(60)

    def leave_upgrading(self):
        upgraded = self.probe.cli("upgrade")
        assert upgraded.code == 0, upgraded.err

    def leave_restarted(self):
        restarted = self.probe.cli("restart")
        assert restarted.code == 0, restarted.err

    def enter_frozen(self, _secs):
        self.probe.signal(signal.SIGSTOP)

    def leave_frozen(self):
        self.probe.signal(signal.SIGCONT)

    def leave_killed(self):
        self.probe.signal(signal.SIGKILL)
        self.probe.wait_gone(60)

    def enter_unlinked(self, _secs):
        os.unlink(self.probe.place.socket_path)

    def leave_unlinked(self):
        wait_until(lambda: os.path.exists(self.probe.place.socket_path), 60, "the socket is back")

    def enter_without_descriptors(self, _secs):
        self._limit(resource.RLIMIT_NOFILE, 3)

    def leave_without_descriptors(self):
        self._limit(resource.RLIMIT_NOFILE, 256)

    def enter_without_disk(self, _secs):
        """No file can be made longer, as on a full disk; there is something to log."""
        self._limit(resource.RLIMIT_FSIZE, 0)
        with Client.connect(self.endpoint) as client, contextlib.suppress(DaemonryError):
            client.call("org.example.Work.Fail", timeout_s=CALL_TIMEOUT_S)

    def leave_without_disk(self):
        self._limit(resource.RLIMIT_FSIZE, resource.RLIM_INFINITY)
        with Client.connect(self.endpoint) as client, contextlib.suppress(DaemonryError):
            client.call("org.example.Work.Fail", timeout_s=CALL_TIMEOUT_S)
        wait_until(lambda: self.probe.logged("lines were lost here"), 20, "the count of lost lines")

    def _limit(self, which, soft):
        pid = self.probe.instance.record().pid
        _, hard = resource.prlimit(pid, which)
        resource.prlimit(pid, which, (soft, hard))


def play(probe, state, transport, secs, planned):
    """Play a scenario; return what the callers were told, and what the handler wrote."""
    for name in ("ran", "slow", "go", "end", "setup", "ending", "holding", "held"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(probe.sandbox.path / name)
    callers, soon, over = Callers(), threading.Event(), threading.Event()
    soon.set()
    nobody_serves = transport == "fd" and state in GONE

    def begin(when):
        told = [
            callers.begin(
                one,
                one.key(number),
                scene.endpoint,
                over if one.waits else soon,
                NOBODY_TIMEOUT_S if nobody_serves and (one.waits or when == "after") else CALL_TIMEOUT_S,
            )
            for number, one in enumerate(planned)
            if one.when == when
        ]
        if transport == "tcp" and state in ACCEPTS_NOBODY and when == "during":
            return
        for connected in told:  # a connection in a backlog is one
            assert connected.wait(CALL_TIMEOUT_S)

    with contextlib.ExitStack() as stack:
        scene = Scene(probe, transport, stack)
        if state == "starting":
            probe.tell("slow")
            if transport != "tcp":  # there is no port yet to know
                begin("before")
            scene.launch()
            wait_until(lambda: probe.noted("setup") is not None, 60, "its setup")
        else:
            scene.launch()
            scene.wait_running()
            begin("before")
            scene.enter(state, secs)
        begin("during")
        scene.leave(state)
        over.set()
        if not (state in GONE and transport == "tcp"):  # its port may be anybody's now
            begin("after")
        outcomes = callers.join()
    return outcomes, collections.Counter((probe.noted("ran") or "").split())


def is_slow_raw(key, state, outcome):
    """Whether it is a raw client that was quiet for too long: it does not connect anew, as the others do.

    The old process ends connections that are quiet as it hands over; any does so after five seconds.
    """
    return "-raw-" in key and key.endswith("-waits") and (state == "upgrading" or "timeout" in outcome.why)


def faults_of(state, outcomes, ran):
    """Return where what a caller was told is not what became of its call."""
    for key, outcome in outcomes.items():
        times = ran[key]
        if outcome.kind == "done":
            right = times == 1
        elif outcome.kind == "no":
            right = times == 0 and (state not in LIVING or is_slow_raw(key, state, outcome))
        else:
            right = outcome.kind == "maybe" and times <= 1 and state in ENDING
        if not right:
            yield f"{key}: told {outcome.kind} ({outcome.why}), ran {times} times"


@pytest.mark.slow
@pytest.mark.timeout(120 + 60 * EXAMPLES)
@pytest.mark.parametrize("transport", ["unix", "tcp", "fd"])
@pytest.mark.parametrize("state", STATES)
def test_what_a_caller_is_told_is_what_became_of_its_call(probe, state, transport):
    if transport != "unix" and (state in ON_UNIX_ONLY or (state, transport) == ("upgrading", "tcp")):
        pytest.skip("does not apply to this transport")
    if state.startswith("without ") and not hasattr(resource, "prlimit"):
        pytest.skip("the limits of another process cannot be set here")

    @settings(max_examples=EXAMPLES, phases=PHASES, suppress_health_check=list(HealthCheck), database=None)
    @given(seed=st.integers(0, 2**32 - 1))
    def plays(seed):
        secs, planned = scenario(f"{SEED} {state} {transport} {seed}")
        outcomes, ran = play(probe, state, transport, secs, planned)
        assert list(faults_of(state, outcomes, ran)) == [], f"DAEMONRY_SEED={SEED}"
        assert set(ran) <= set(outcomes)

    plays()

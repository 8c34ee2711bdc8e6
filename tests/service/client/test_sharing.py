"""One client in many hands: threads, forked and spawned processes, event loops, signals.

The daemon runs in the test's process; whatever forks is a process of its own, so that the test's
own threads are not copied.
"""

import asyncio
import contextlib
import gc
import os
import pickle
import signal
import socket
import sys
import textwrap
import threading
from collections.abc import AsyncIterator
from functools import partialmethod

import pytest

from daemonry import AsyncClient, Client, Interface, Pool, connect, errors
from daemonry.limits import MAX_CLIENT_CONNECTIONS
from daemonry.service.client import blocking, link, turns
from daemonry.service.client.proxy import proxy_class
from daemonry.testing import wait_until

NAME = "org.example.store"
THREADS, PROCESSES, PAIRS = 8, 16, 1600


class Store(Interface, name=NAME):
    """What is shared."""

    def __init__(self):
        self.values = {}
        self.hanging = threading.Semaphore(0)

    def put(self, key: str, value: str) -> None:
        self.values[key] = value

    def get(self, key: str) -> str:
        return self.values[key]

    async def hang(self) -> None:
        self.hanging.release()
        await asyncio.Event().wait()

    async def count(self) -> AsyncIterator[int]:
        for n in range(1_000_000):
            yield n


@pytest.fixture
def store(serving_once):
    store = Store()
    store.serving = serving_once(store)
    store.endpoint = store.serving.endpoint
    return store


@pytest.fixture
def proxy(store):
    with Client.connect(store.endpoint) as client:
        yield client.proxy(Store)


def put_and_get(proxy, who, pairs):
    """Write and read back values that nobody else writes; return what was wrong."""
    wrong = []
    for number in range(pairs):
        key = f"{who}-{number}"
        try:
            proxy.put(key, key * 3)
            found = proxy.get(key)
        except errors.DaemonryError as error:
            found = repr(error)
        if found != key * 3:
            wrong.append((key, found))
    return wrong


class ByName:
    """The untyped calls, in the shape of the proxy."""

    def __init__(self, client):
        self.client = client

    def put(self, key, value):
        self.client.call(f"{NAME}.Put", {"key": key, "value": value})

    def get(self, key):
        return self.client.call(f"{NAME}.Get", {"key": key})["result"]


def in_threads(count, work):
    """Run `work(number)` in so many threads, and return what they returned."""
    found = [None] * count

    def run(number):
        found[number] = work(number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    return found


# --- threads ------------------------------------------------------------------------------------

KNOWS_ITS_DAEMON = Client.connect


def one_connection(endpoint):
    return Client(connect(endpoint))


@pytest.mark.parametrize("way", [KNOWS_ITS_DAEMON, one_connection], ids=["connected", "one-connection"])
@pytest.mark.parametrize("calls", [ByName, lambda client: client.proxy(Store)], ids=["untyped", "typed"])
def test_threads_get_their_own_answers(store, way, calls):
    with way(store.endpoint) as client:
        shared = calls(client)
        found = in_threads(THREADS, lambda who: put_and_get(shared, who, PAIRS // THREADS))
        assert found == [[]] * THREADS


def test_more_threads_than_connections_wait_for_their_turn(store):
    most = 0
    with Client.connect(store.endpoint) as client:

        def work(who):
            nonlocal most
            wrong = put_and_get(client.proxy(Store), who, 5)
            most = max(most, len(client._turns.live()))
            return wrong

        count = 3 * MAX_CLIENT_CONNECTIONS
        held = [client._take(blocking.Deadline(10.0)) for _ in range(MAX_CLIENT_CONNECTIONS)]
        threads = threading.Thread(target=lambda: held.append(in_threads(count, work)))
        threads.start()
        wait_until(lambda: len(client._waiting) == count)
        for one in held[:MAX_CLIENT_CONNECTIONS]:
            client._put_back(one)
        threads.join(60)
        assert held[-1] == [[]] * count
        assert most <= MAX_CLIENT_CONNECTIONS
        assert client._waiting == []


def test_a_stream_in_one_thread_holds_up_no_other(store, proxy):
    streams = [proxy.count() for _ in range(MAX_CLIENT_CONNECTIONS + 1)]
    for stream in streams:
        assert next(stream) == 0
    found = in_threads(THREADS, lambda who: put_and_get(proxy, who, 5))
    assert found == [[]] * THREADS
    for stream in streams:
        assert next(stream) == 1
        stream.close()


def test_a_stream_on_the_only_connection_is_waited_for_until_the_deadline(store):
    with one_connection(store.endpoint) as client:
        stream = client.stream(f"{NAME}.Count")
        assert next(stream) == {"result": 0}

        def work(_who):
            with pytest.raises(errors.DeadlineExceeded) as caught:
                client.call(f"{NAME}.Get", {"key": "x"}, timeout_s=0.1)
            return caught.value.phase, caught.value.ran

        assert in_threads(2, work) == [("turn", "no")] * 2
        assert next(stream) == {"result": 1}
        stream.close()


@pytest.mark.parametrize("way", [KNOWS_ITS_DAEMON, one_connection], ids=["connected", "one-connection"])
@pytest.mark.parametrize("typed", [True, False])
def test_closing_ends_the_call_of_another_thread_and_says_so(store, way, typed):
    client = way(store.endpoint)
    proxy = client.proxy(Store)
    caught = []

    def call():
        try:
            proxy.hang() if typed else client.call(f"{NAME}.Hang")
        except errors.DaemonryError as error:
            caught.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    assert store.hanging.acquire(timeout=10)
    client.close()
    thread.join(10)
    assert not thread.is_alive()
    assert [(type(error), error.ran) for error in caught] == [(errors.ClientClosed, "maybe")]
    assert client.closed
    with pytest.raises(errors.ClientClosed, match="was closed: nothing was executed"):
        proxy.get("x")


# --- signals ------------------------------------------------------------------------------------

OURS = {module.__file__ for module in (blocking, link, turns)}


class CtrlC:
    """Raises KeyboardInterrupt at the n-th step of Python's own in the client's files."""

    def __init__(self, at):
        self.left = at

    def __call__(self, frame, event, _argument):
        if frame.f_code.co_filename not in OURS:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt
        return self


# A connection that was lost between two steps is collected, which Python warns of.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("calls", [ByName, lambda client: client.proxy(Store)], ids=["untyped", "typed"])
def test_ctrl_c_at_any_step_of_a_call_spoils_no_later_one(store, calls, monkeypatch):
    """Neither with the reply of the call that was left, nor by a connection that is never given back."""
    # Another function is not left out by the native part, which has no steps of Python's.
    monkeypatch.setattr(Client, "call_typed", partialmethod(Client.call_typed))
    store.values = {"first": "1", "second": "2"}
    usual = sys.gettrace()
    with Client.connect(store.endpoint) as client:
        shared = calls(client)
        sys.settrace(CtrlC(at=-1))  # never; Python 3.12 tells of a function's steps from its second call on
        assert shared.get("first") == "1"
        sys.settrace(usual)
        interrupted = at = 0
        while interrupted == at:
            at += 1
            sys.settrace(CtrlC(at))
            try:
                shared.get("first")
            except KeyboardInterrupt:
                interrupted += 1
            finally:
                sys.settrace(usual)
            assert shared.get("second") == "2", f"behind step {at}"
        assert interrupted > 50
        gc.collect()
        assert len(client._turns.live()) <= 2


def test_a_signal_handler_may_call_within_a_call(store, proxy):
    store.values["x"] = "there"
    found = []
    usual = signal.signal(signal.SIGUSR1, lambda *_: found.append(proxy.get("x")))
    main = threading.main_thread().ident

    def interrupt():
        store.hanging.acquire(timeout=10)
        signal.pthread_kill(main, signal.SIGUSR1)

    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        with pytest.raises(errors.DeadlineExceeded):
            proxy.__daemonry_client__.proxy(Store, timeout_s=1.0).hang()
    finally:
        thread.join(10)
        signal.signal(signal.SIGUSR1, usual)
    assert found == ["there"]


# --- processes ----------------------------------------------------------------------------------

PROGRAM = f"""
import asyncio, multiprocessing, os, signal, sys, threading, time
from collections.abc import AsyncIterator
from daemonry import AsyncClient, Client, Interface, Pool, connect, errors


class Store(Interface, name={NAME!r}):
    def put(self, key: str, value: str) -> None: ...
    def get(self, key: str) -> str: ...
    async def count(self) -> AsyncIterator[int]: ...


def put_and_get(proxy, who, pairs):
    for number in range(pairs):
        key = f"{{who}}-{{number}}"
        proxy.put(key, key * 3)
        found = proxy.get(key)
        assert found == key * 3, f"{{key}} and not {{found}}"


async def put_and_get_async(proxy, who, pairs):
    for number in range(pairs):
        key = f"{{who}}-{{number}}"
        await proxy.put(key, key * 3)
        found = await proxy.get(key)
        assert found == key * 3, f"{{key}} and not {{found}}"


def forked(work, *arguments):
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        signal.alarm(60)  # a child that hangs is ended, and seen
        work(*arguments)
        status = 0
    except BaseException as error:
        print(type(error).__name__, error, file=sys.stderr, flush=True)
    finally:
        os._exit(status)


def wait_for(pids):
    found = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    assert found == [0] * len(found), found


if __name__ == "__main__":
    endpoint = sys.argv[1]
"""


@pytest.fixture
def run_program(store, sandbox):
    """A function that runs a script behind `PROGRAM`, and checks that it ended well and said nothing."""

    def run(script):
        path = sandbox.write("sharing.py", PROGRAM + textwrap.indent(textwrap.dedent(script), "    "))
        done = sandbox.run(sys.executable, "-W", "ignore::DeprecationWarning", path, store.endpoint)
        assert (done.code, done.out, done.err) == (0, "", "")

    return run


@pytest.mark.parametrize("start_method", ["fork", "spawn", "forkserver"])
def test_processes_get_their_own_answers(run_program, start_method):
    """The client is connected, and used, before they start, and used by the parent meanwhile."""
    run_program(f"""
        client = Client.connect(endpoint)
        proxy = client.proxy(Store)
        put_and_get(proxy, "before", 2)
        context = multiprocessing.get_context({start_method!r})
        made = [context.Process(target=put_and_get, args=(proxy, n, {PAIRS // PROCESSES}))
                for n in range({PROCESSES})]
        for one in made:
            one.start()
        put_and_get(proxy, "parent", 200)
        for one in made:
            one.join()
        assert [one.exitcode for one in made] == [0] * {PROCESSES}
        put_and_get(proxy, "after", 2)
    """)


def test_a_pool_of_workers_may_hold_a_global_client(run_program):
    run_program("""
        proxy = Client.connect(endpoint).proxy(Store)
        put_and_get(proxy, "before", 2)
        with multiprocessing.get_context("fork").Pool(4) as pool:
            pool.starmap(put_and_get, [(proxy, n, 20) for n in range(20)])
    """)


def test_prefork_workers_have_threads_that_share_what_was_made_before(run_program):
    """As under gunicorn with preload and gthread: workers end and others take their places."""
    run_program("""
        from concurrent.futures import ThreadPoolExecutor

        client = Client.connect(endpoint)
        proxy = client.proxy(Store)

        def serve(who):
            with ThreadPoolExecutor(8) as threads:
                list(threads.map(lambda n: put_and_get(proxy, f"{who}/{n}", 20), range(8)))
            client.close()

        for generation in range(3):
            workers = [forked(serve, f"{generation}/{n}") for n in range(4)]
            put_and_get(proxy, f"master {generation}", 20)
            wait_for(workers)
        put_and_get(proxy, "master", 20)
    """)


def test_a_child_that_closes_or_ends_leaves_the_parents_calls_and_streams_alone(run_program):
    run_program("""
        client = Client.connect(endpoint)
        proxy = client.proxy(Store)
        stream = proxy.count()
        assert next(stream) == 0

        def leave():
            try:
                list(stream)
            except errors.InheritedConnection as error:
                assert error.ran == "maybe"
            else:
                raise AssertionError("the parent's stream was read")
            client.close()

        def go_on():
            put_and_get(proxy, "child", 5)
            other = proxy.count()
            assert next(other) == 0
            other.close()

        wait_for([forked(leave), forked(go_on)])
        assert [next(stream) for _ in range(1000)] == list(range(1, 1001))
        put_and_get(proxy, "parent", 5)
    """)


def test_the_only_connection_stays_the_parents(run_program):
    run_program("""
        client = Client(connect(endpoint))
        proxy = client.proxy(Store)
        put_and_get(proxy, "before", 2)

        def call():
            for _ in range(2):
                try:
                    proxy.get("before-0")
                except errors.InheritedConnection as error:
                    assert error.ran == "no"
                else:
                    raise AssertionError("the parent's connection was used")

        wait_for([forked(call)])
        put_and_get(proxy, "after", 2)
    """)


def test_a_fork_in_the_middle_of_other_threads_calls_locks_up_nobody(run_program):
    """In the child those threads are gone, and so is whatever they had."""
    run_program("""
        client = Client.connect(endpoint)
        alone = Client(connect(endpoint))
        proxy, only = client.proxy(Store), alone.proxy(Store)
        ended = threading.Event()

        def call(who):
            while not ended.is_set():
                put_and_get(proxy, who, 1)
                put_and_get(only, f"only {who}", 1)

        def child(n):
            for _ in range(20):
                put_and_get(proxy, f"child {n}", 1)
            try:
                only.get("x")
            except errors.InheritedConnection:
                return
            raise AssertionError("the parent's connection was used")

        threads = [threading.Thread(target=call, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for n in range(40):
            wait_for([forked(child, n)])
        ended.set()
        for thread in threads:
            thread.join()
    """)


def test_a_fork_waits_for_another_threads_first_proxy(run_program):
    """It imports modules, and a module whose import a fork cuts off can't be imported in the child."""
    run_program("""
        begun = threading.Event()

        class Slow:
            def find_spec(self, name, path=None, target=None):
                if name.startswith("daemonry."):
                    begun.set()
                    time.sleep(0.1)

        client = Client.connect(endpoint)
        sys.meta_path.insert(0, Slow())
        first = threading.Thread(target=client.proxy, args=(Store,))
        first.start()
        assert begun.wait(30)
        sys.meta_path.pop(0)
        wait_for([forked(lambda: put_and_get(client.proxy(Store), "child", 1))])
        first.join()
    """)


@pytest.mark.parametrize("hook", ["_finish_imports", "_tell_all"])
def test_a_fork_that_a_signals_handler_disturbs_leaves_no_lock_behind(run_program, hook):
    """Python drops what is raised in a hook, and the rest of the hook does not run."""
    run_program(f"""
        client = Client.connect(endpoint)

        def disturbed(frame, event, arg):
            if event == "call" and frame.f_code.co_name == {hook!r}:
                sys.setprofile(None)
                raise KeyboardInterrupt

        told = []
        sys.unraisablehook = told.append
        sys.setprofile(disturbed)
        wait_for([forked(lambda: None)])
        assert len(told) == 1, told
        first = threading.Thread(target=lambda: put_and_get(client.proxy(Store), "thread", 1), daemon=True)
        first.start()
        first.join(30)
        assert not first.is_alive()
    """)


def test_a_child_does_not_keep_the_parents_connection_open(sandbox, socket_path):
    """The daemon sees that the parent has closed, however long its children live."""
    program = """
import os, sys
from daemonry import Client
client = Client.connect(sys.argv[1])
if os.fork() == 0:
    sys.stdin.read()  # until the test has seen the end
    os._exit(0)
client.close()
os.wait()
"""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(socket_path))
        listener.listen()
        words = (sys.executable, "-W", "ignore", sandbox.write("keeps.py", program), f"unix:{socket_path}")
        with sandbox.popen(*words, stdin=-1) as process:
            peer, _ = listener.accept()
            with peer:
                peer.settimeout(20)
                assert peer.recv(1) == b""
            process.stdin.close()
            assert process.wait(20) == 0


@pytest.mark.parametrize("kind", ["AsyncClient.connect(endpoint)", "pool(endpoint)"])
def test_asyncio_clients_are_their_own_in_each_forked_process(run_program, kind):
    """The child neither reads the parent's connection nor takes it from the parent's loop."""
    run_program(f"""
        async def pool(endpoint):
            return Pool(endpoint)

        async def parent():
            client = await {kind}
            proxy = client.proxy(Store)
            await put_and_get_async(proxy, "before", 2)
            workers = [forked(child, proxy, n) for n in range(8)]
            await put_and_get_async(proxy, "parent", 200)
            await asyncio.to_thread(wait_for, workers)
            await put_and_get_async(proxy, "after", 2)
            client.close()

        def child(proxy, n):
            asyncio.events._set_running_loop(None)  # as multiprocessing does; 3.12 does so itself
            asyncio.run(put_and_get_async(proxy, n, 50))
            proxy.__daemonry_client__.close()

        asyncio.run(parent())
    """)


# --- pickling -----------------------------------------------------------------------------------


def test_a_client_is_pickled_as_where_its_daemon_is(store, proxy):
    store.values["x"] = "there"
    copied = pickle.loads(pickle.dumps(proxy.__daemonry_client__))
    assert copied.closed, "it connects with its first call"
    assert copied.call(f"{NAME}.Get", {"key": "x"}) == {"result": "there"}
    copied.close()


def test_a_proxy_is_pickled_with_its_timeout(store):
    store.values["x"] = "there"
    with Client.connect(store.endpoint) as client:
        copied = pickle.loads(pickle.dumps(client.proxy(Store, timeout_s=7.0)))
        assert copied.get("x") == "there"
        assert copied.__daemonry_timeout_s__ == 7.0
        assert [n for n, _ in zip(copied.count(), range(3), strict=False)] == [0, 1, 2]
        copied.__daemonry_client__.close()


def test_asyncio_clients_and_pools_are_pickled_too(store):
    store.values["x"] = "there"

    async def pickled():
        async with await AsyncClient.connect(store.endpoint) as client, Pool(store.endpoint, most=3) as pool:
            return pickle.dumps([client, client.proxy(Store), pool, pool.proxy(Store)])

    async def use(client, proxy, pool, pooled):
        assert await client.call(f"{NAME}.Get", {"key": "x"}) == {"result": "there"}
        assert await pool.call(f"{NAME}.Get", {"key": "x"}) == {"result": "there"}
        assert await proxy.get("x") == await pooled.get("x") == "there"
        for one in (client, proxy.__daemonry_client__, pool, pooled.__daemonry_client__):
            one.close()

    asyncio.run(use(*pickle.loads(asyncio.run(pickled()))))


def test_what_cannot_connect_anew_refuses_to_be_pickled(store):
    async def asynchronous():
        stream = connect(store.endpoint)
        async with AsyncClient(stream.take_socket(), stream.peer) as client:
            return pickle.dumps(client)

    with one_connection(store.endpoint) as client:
        for dump in (lambda: pickle.dumps(client.proxy(Store)), lambda: asyncio.run(asynchronous())):
            with pytest.raises(TypeError, match="this one connection and knows no endpoint"):
                dump()
    closed = Client.connect(store.endpoint)
    closed.close()
    with pytest.raises(TypeError, match="it is closed"):
        pickle.dumps(closed)


# --- event loops --------------------------------------------------------------------------------


@contextlib.contextmanager
def loop_in_a_thread():
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield lambda coroutine: asyncio.run_coroutine_threadsafe(coroutine, loop).result(20)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def a_pool(endpoint):
    pool = Pool(endpoint)
    await pool.call("org.varlink.service.GetInfo")
    return pool


KINDS = pytest.mark.parametrize("kind", [AsyncClient.connect, a_pool], ids=["client", "pool"])


@KINDS
def test_another_loop_than_its_own_is_refused_in_words(store, kind):
    with loop_in_a_thread() as on_loop:
        client = on_loop(kind(store.endpoint))
        proxy = client.proxy(Store)
        on_loop(proxy.put("x", "there"))

        async def drain():
            return [fields async for fields in client.stream(f"{NAME}.Count")]

        others = (
            lambda: client.call(f"{NAME}.Get", {"key": "x"}),
            lambda: proxy.get("x"),
            lambda: client.oneway(f"{NAME}.Get", {"key": "x"}),
            drain,
        )

        async def elsewhere(call):
            await call()

        for call in others:
            with pytest.raises(errors.WrongLoop, match="belongs to another event loop") as caught:
                asyncio.run(elsewhere(call))
            assert caught.value.ran == "no"
        assert on_loop(proxy.get("x")) == "there"
        client.close()
        with pytest.raises(errors.ClientClosed):
            on_loop(proxy.get("x"))


@KINDS
def test_a_client_goes_on_in_the_next_loop_when_its_own_is_closed(store, kind):
    """One `asyncio.run` after the other, as in a notebook."""
    made = asyncio.run(kind(store.endpoint)).proxy(Store)

    async def put_and_get(key):
        await made.put(key, key)
        return await made.get(key)

    for key in ("a", "b", "c"):
        assert asyncio.run(put_and_get(key)) == key

    async def leave():
        asyncio.get_running_loop().call_soon(asyncio.current_task().cancel)
        await made.hang()

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(leave())
    assert asyncio.run(put_and_get("d")) == "d"
    asyncio.run(close_on_loop(made.__daemonry_client__))


async def close_on_loop(client):
    client.close()


def test_closing_from_another_thread_ends_an_asyncio_call_and_says_so(store):
    with loop_in_a_thread() as on_loop:
        client = on_loop(AsyncClient.connect(store.endpoint))

        async def hang():
            with pytest.raises(errors.ClientClosed) as caught:
                await client.call(f"{NAME}.Hang")
            return caught.value.ran

        with contextlib.ExitStack() as stack:
            found = []
            thread = threading.Thread(target=lambda: found.append(on_loop(hang())))
            thread.start()
            stack.callback(thread.join, 10)
            assert store.hanging.acquire(timeout=10)
            client.close()
        assert found == ["maybe"]
        assert wait_until(lambda: client.closed)


# --- the first proxy ------------------------------------------------------------------------------


class Kept(Interface, name="org.example.Kept"):
    def Get(self) -> str:  # noqa: N802
        raise NotImplementedError


def test_one_thread_makes_a_proxys_class_and_another_waits_for_it():
    """Two that made decoders of the same Structs at a time were a segmentation fault in msgspec."""
    made, others, results = {}, [], []

    def wrap(converter, method):
        if not others:
            others.append(threading.Thread(target=lambda: results.append(of_kept())))
            others[0].start()
            others[0].join(0.3)  # without the lock it is through by then, with a class of its own
            assert others[0].is_alive()
        return lambda self: None

    def of_kept():
        return proxy_class(Kept, made, wrap, lambda method: None)

    mine = of_kept()
    others[0].join()
    assert results == [mine]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_no_process_is_forked_while_a_proxys_class_is_made():
    """The child would have Structs of which msgspec has learnt a half, for ever."""
    forks, tells = [], os.pipe()

    def fork():
        pid = os.fork()
        if not pid:
            os.write(tells[1], b"x")
            os._exit(0)
        forks.append(pid)

    def wrap(converter, method):
        thread.start()
        thread.join(0.3)
        assert not forks
        return lambda self: None

    thread = threading.Thread(target=fork)
    proxy_class(Kept, {}, wrap, lambda method: None)
    thread.join()
    assert os.read(tells[0], 1) == b"x"
    assert os.waitpid(forks[0], 0) == (forks[0], 0)
    for fd in tells:
        os.close(fd)

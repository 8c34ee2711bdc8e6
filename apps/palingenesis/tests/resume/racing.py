"""Daemons of one home with state directories of their own, as real processes, for the tests of `once`.

    racing.py HOME SESSION COUNT KILL_AT

Forks COUNT engines.  All of them take up SESSION, wait for each other, and find it due in the same moment.
The first is killed by SIGKILL at its KILL_AT-th act on a file or process (0: never), and a new one with its
state takes its place.  Ends when each of them has the session as done, and prints whether the first was
killed.
"""

import os
import signal
import sys
import time

import msgspec

from palingenesis.agents.known import profiles
from palingenesis.evidence.survey import Survey
from palingenesis.resume import turns
from palingenesis.resume.context import ResumeLimits
from palingenesis.resume.engine import ResumeEngine
from palingenesis.resume.ledger import Ledger
from palingenesis.resume.schedule import Delays
from palingenesis.resume.states import State

PATIENCE_S = 60.0
ACTS = {"open", "os.rename", "os.mkdir", "os.remove", "subprocess.Popen", "os.rmdir", "os.fork"}


def engine_of(home, number, *, enabled):
    state = os.path.join(home, f"state{number}")
    os.makedirs(state, mode=0o700, exist_ok=True)
    environment = {"HOME": home, "PATH": f"{home}/bin:{os.environ['PATH']}"}
    limits = ResumeLimits(enabled=enabled, delays=Delays(0.3, 0.3, spread=False))
    ledger = Ledger(state, 1.0)
    engine = ResumeEngine(Survey(profiles({}, "c"), environment), ledger, state, environment, limits)
    engine.recover()
    return engine


def until(what):
    deadline_s = time.monotonic() + PATIENCE_S
    while not what():
        if time.monotonic() > deadline_s:
            raise SystemExit("it takes too long")
        time.sleep(0.005)


def kill_at(number):
    """Kill this process at the `number`-th act from now on."""
    left = [number]

    def hook(event, _):
        if event in ACTS:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def daemon(home, key, number, is_new, ready, go, kill_number):
    engine = engine_of(home, number, enabled=not is_new)

    def state():
        entry = engine.ledger.entries.get(key)
        return None if entry is None else entry.state

    if is_new:
        until(lambda: engine.tick() and state() is State.SCHEDULED)
        engine.ledger.keep(msgspec.structs.replace(engine.ledger.entries[key], at_s=time.time() - 1))
        engine._context.limits = msgspec.structs.replace(engine._context.limits, enabled=True)
        os.write(ready, b".")
        os.read(go, 1)
        if kill_number:
            kill_at(kill_number)
    until(lambda: engine.tick() and state() is State.DONE)


def forked(*given):
    child = os.fork()
    if child == 0:
        code = 1
        try:
            daemon(*given)
            code = 0
        except BaseException as error:  # noqa: BLE001
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os.write(given[4], b"x")
        finally:
            os._exit(code)
    return child


def main(home, session, count, kill_number):
    turns.STAGGER_S = 0.0
    turns.ASK_AGAIN_S = 0.05
    key = f"claude:{session}"
    ready, told = os.pipe()
    wait, go = os.pipe()
    children = [
        forked(home, key, number, True, told, wait, 0 if number else kill_number) for number in range(count)
    ]
    arrived = b""
    while len(arrived) < count:
        arrived += os.read(ready, count)
    if b"x" in arrived:
        for child in children:
            os.kill(child, signal.SIGKILL)
        return 1
    os.write(go, b"." * count)
    status = os.waitpid(children[0], 0)[1]
    was_killed = os.WIFSIGNALED(status)
    if was_killed:
        children[0] = forked(home, key, 0, False, told, wait, 0)
        status = os.waitpid(children[0], 0)[1]
    others = [os.waitpid(one, 0)[1] for one in children[1:]]
    print("killed" if was_killed else "lived")
    return int(any((status, *others)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))

"""A forked daemon is as a spawned one: everything that a process can see of itself is compared.

The starter of both is unusual in all that execve(2) passes on.
"""

import json
import os
import sys

import pytest

from daemonry.testing import wait_until

# Runs in the daemon, at the import of the program and at its setup.
LOOK = """
import gc, io, json, locale, os, resource, signal, sys, threading

def _read(path):
    try:
        with open(path, "rb") as file:
            return file.read().decode("utf-8", "backslashreplace")
    except OSError as error:
        return str(error.errno)

# Of proc_pid_status(5), what is not another number in each process.
_STATUS = (
    "Name Umask TracerPid Uid Gid FDSize Groups CapInh CapPrm CapEff CapBnd CapAmb NoNewPrivs Seccomp "
    "Seccomp_filters Speculation_Store_Bypass SpeculationIndirectBranch Cpus_allowed Mems_allowed "
    "SigBlk SigIgn SigCgt SigPnd ShdPnd Threads THP_enabled untag_mask"
).split()
_FILES = (
    "limits cgroup oom_score_adj loginuid sessionid timerslack_ns personality coredump_filter comm "
    "attr/current"
).split()

def _stream(stream):
    return [stream.encoding, stream.errors, stream.line_buffering, stream.write_through, stream.isatty(),
            stream.name, stream.mode, type(stream.buffer).__name__, stream.newlines]

def look():
    own = {str(os.getpid()): "PID", str(os.getppid()): "PARENT"}
    status = dict(line.split(":", 1) for line in _read("/proc/self/status").splitlines())
    fds = {}
    for name in sorted(os.listdir("/proc/self/fd"), key=int):
        try:
            leads = os.readlink(f"/proc/self/fd/{name}")
            flags = _read(f"/proc/self/fdinfo/{name}").split("flags:", 1)[1].split()[0]
        except OSError:
            continue  # the directory itself
        fds[name] = [leads.split(":[")[0], flags, os.get_inheritable(int(name))]
    main = sys.modules["__main__"]
    return {
        "session": os.getsid(0) == os.getpid(),
        "group": os.getpgrp() == os.getpid(),
        "cwd": os.getcwd(),
        "status": {name: status.get(name, "").strip() for name in _STATUS},
        "files": {name: _read(f"/proc/self/{name}") for name in _FILES},
        "namespaces": {name: os.readlink(f"/proc/self/ns/{name}") for name in os.listdir("/proc/self/ns")},
        "root": os.readlink("/proc/self/root"),
        "exe": os.readlink("/proc/self/exe"),
        "cmdline": _read("/proc/self/cmdline").rstrip("\\0"),
        "environ": sorted(
            one for one in _read("/proc/self/environ").split("\\0") if not one.startswith("DAEMONRY_BOOT=")
        ),
        "os.environ": dict(os.environ),
        "fds": fds,
        "umask": os.umask(os.umask(0o077)),
        "nice": os.getpriority(os.PRIO_PROCESS, 0),
        "scheduler": [os.sched_getscheduler(0), os.sched_getparam(0).sched_priority],
        "cpus": sorted(os.sched_getaffinity(0)),
        "limits": [resource.getrlimit(one) for one in range(16)],
        "mask": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
        "handlers": {int(one): _handler(signal.getsignal(one)) for one in signal.valid_signals()},
        "timer": signal.getitimer(signal.ITIMER_REAL),
        "argv": sys.argv,
        "orig_argv": sys.orig_argv,
        "path": sys.path,
        "flags": list(sys.flags),
        "options": [sys.warnoptions, sys._xoptions, sys.dont_write_bytecode, sys.getrecursionlimit()],
        "hooks": [str(type(one)) + getattr(one, "__name__", "") for one in sys.meta_path],
        "main": [main.__name__, main.__file__, main.__package__, main.__spec__.name],
        "executable": [sys.executable, sys.prefix, sys.base_prefix],
        "streams": [_stream(sys.stdin), _stream(sys.stdout), _stream(sys.stderr)],
        "locale": [locale.setlocale(locale.LC_ALL), sys.getfilesystemencoding()],
        "encoding": locale.getpreferredencoding(),
        "threads": threading.active_count(),
        "main thread": [threading.main_thread().native_id == os.getpid(), threading.main_thread().name],
        "gc": [gc.isenabled(), gc.get_threshold(), gc.get_debug()],
        "terminal": _tty(),
    }

def _handler(found):
    return str(getattr(found, "__name__", found))

def _tty():
    try:
        os.close(os.open("/dev/tty", os.O_RDWR))
        return True
    except OSError as error:
        return error.errno

import random, ssl, uuid
_early = look() if "daemonry.cli.boot" in sys.modules else None  # not in the starter

@daemon.setup
async def setup(run):
    found = {
        "early": _early, "late": look(), "modules": sorted(sys.modules),
        "dice": [random.random(), ssl.RAND_bytes(8).hex(), uuid.uuid4().hex, os.urandom(8).hex()],
        "hash": hash("daemonry"),
    }
    with open(os.environ["PROBE_SEEN"] + os.environ["DAEMONRY_ZYGOTE"] + daemon.name, "w") as file:
        json.dump(found, file)
"""

STARTER = """
import os, resource, signal, sys
os.umask(0o027)
os.nice(3)
resource.setrlimit(resource.RLIMIT_NOFILE, (400, 500))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
with open("/proc/self/oom_score_adj", "w") as file:
    file.write("300")
os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
signal.signal(signal.SIGUSR1, signal.SIG_IGN)
signal.signal(signal.SIGHUP, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
os.chdir(sys.argv[1])
kept = os.open("/etc/passwd", os.O_RDONLY)
os.set_inheritable(kept, True)
sys.path.insert(0, sys.argv[1])
import importlib, daemonry
for name in sys.argv[2:]:
    daemonry.ensure(importlib.import_module(name).daemon, timeout=120).close()
"""


@pytest.fixture
def seen(starts):
    """A function that starts daemons, spawned ("0") or forked ("1"), and returns their facts."""
    starts.sandbox.env["PROBE_SEEN"] = str(starts.sandbox.path / "seen")

    def look(on, *names):
        starts.sandbox.env["DAEMONRY_ZYGOTE"] = on
        for name in names:
            body = LOOK
            program = starts.program(name, body)
            text = program.read_text().replace('version="1.0"', 'version="1.0", environment=("PROBE_*",)')
            program.write_text(text)
        done = starts.sandbox.run(sys.executable, "-c", STARTER, starts.sandbox.path, *names, timeout_s=240)
        assert done.code == 0, done.err
        found = []
        for name in names:
            path = starts.sandbox.path / f"seen{on}{name}"
            wait_until(path.exists, what="seen")
            found.append(json.loads(path.read_text()))
            assert starts.is_forked(starts.sandbox.instance(name).record()) is (on == "1")
        return found

    return look


def without_names(facts, *names):
    """The facts with the daemons' own names and the setting taken out."""
    text = json.dumps(facts, sort_keys=True)
    for name in names:
        text = text.replace(name, "NAME")
    for on in "01":
        text = text.replace(f"DAEMONRY_ZYGOTE={on}", "DAEMONRY_ZYGOTE=").replace(
            f'"DAEMONRY_ZYGOTE": "{on}"', '"DAEMONRY_ZYGOTE": ""'
        )
    return json.loads(text)


def differences(one, other, where=""):
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        for key in one:
            yield from differences(one[key], other[key], f"{where}/{key}")
    elif one != other:
        yield f"{where}: {one!r} and {other!r}"


def test_it_sees_itself_as_a_spawned_one_does(seen):
    (spawned,) = seen("0", "probea")
    (first, second) = seen("1", "probeb", "probec")
    for moment in ("early", "late"):
        expected = without_names(spawned[moment], "probea")
        for name, forked in (("probeb", first), ("probec", second)):
            found = without_names(forked[moment], name)
            differ = list(differences(expected, found))
            assert differ == []
    # What the starter had is there, or the comparison would show nothing.
    early = spawned["early"]
    nice = min(os.getpriority(os.PRIO_PROCESS, 0) + 3, 19)
    assert (early["nice"], early["limits"][7], early["files"]["oom_score_adj"]) == (nice, [400, 500], "300\n")
    assert (early["handlers"]["10"], early["handlers"]["1"], early["mask"]) == (
        "1",
        "1",
        [12],
    )


@pytest.mark.slow
def test_it_has_loaded_nothing_that_a_spawned_one_would_not_load(seen):
    """But for the zygote's own code, and what each loads with an interface or to watch files."""
    (spawned,) = seen("0", "probea")
    (forked,) = seen("1", "probeb")
    more = set(forked["modules"]) - set(spawned["modules"]) - {"probeb"}
    ours = {name for name in more if name.startswith("daemonry.launch")}
    assert {name.partition(".")[0] for name in more - ours} <= {"msgspec", "ctypes", "_ctypes"}


@pytest.mark.slow
def test_its_dice_are_its_own(seen):
    """All but the seed of hashes, which is in the interpreter from its start; the page on zygotes says so."""
    first, second = seen("1", "probea", "probeb")
    for one, other in zip(first["dice"], second["dice"], strict=True):
        assert one != other
    assert first["hash"] == second["hash"]

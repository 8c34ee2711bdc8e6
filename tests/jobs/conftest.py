"""A daemon with jobs, whose test and tasks talk through files in the sandbox."""

import json
import os
import signal

import pytest

import daemonry
from daemonry.testing import wait_until

PROGRAM = """\
import asyncio, os, time
from daemonry import Daemon
from daemonry.jobs import JobQueue, JobRun, RetryPolicy

BOX = os.environ["DAEMONRY_SANDBOX"]
daemon = Daemon("jobd", version="1"{daemon})
queue = JobQueue(daemon, {queue})

def told(name):
    return os.path.exists(f"{{BOX}}/{{name}}")

def note(name, text="x"):
    fd = os.open(f"{{BOX}}/{{name}}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(fd, text.encode())
    os.close(fd)

@queue.task()
async def add(job: JobRun, a: int, b: int = 0) -> int:
    job.log(f"adding {{a}}")
    job.progress(0.5, "half")
    return a + b

@queue.task()
async def hold(job: JobRun, name: str) -> str:
    note(f"ran-{{name}}")
    while not told("go"):
        await asyncio.sleep(0.01)
    return name

@queue.task(retry=RetryPolicy(times=3, delay_s=0.05, when_lost=True))
async def again(job: JobRun, name: str) -> int:
    note(f"ran-{{name}}")
    while not told("go"):
        await asyncio.sleep(0.01)
    return job.attempt

@queue.task(retry=RetryPolicy(times=2, delay_s=0.05))
async def fail(job: JobRun) -> None:
    raise ValueError(f"attempt {{job.attempt}}")

@queue.task(concurrency=1)
def plain(job: JobRun, name: str) -> str:
    note(f"ran-{{name}}")
    while not told("go") and not job.canceled:
        time.sleep(0.01)
    return name

@queue.task()
async def shell(job: JobRun, line: str) -> int:
    return await job.command(["sh", "-c", line])

@queue.task(timeout_s=0.05)
async def slow(job: JobRun) -> None:
    await asyncio.sleep(60)
"""
JOBS = "org.daemonry.Jobs"


class JobDaemon:
    """The daemon `jobd`, and calls of it."""

    def __init__(self, sandbox):
        self.sandbox = sandbox
        self.instance = sandbox.instance("jobd")

    def start(self, daemon="", queue="concurrency=3"):
        program = PROGRAM.format(daemon=daemon and f", {daemon}", queue=queue)
        self.sandbox.start(self.sandbox.write("jobd.py", program))
        return self

    def start_again(self):
        self.sandbox.start(self.sandbox.path / "jobd.py")

    def kill(self):
        pid = self.instance.pid()
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not self.instance.lock_held(), what="the life lock is free")

    def client(self):
        return daemonry.Client.connect(self.instance.endpoint())

    def submit(self, task, key="", **parameters):
        with self.client() as client:
            words = {"task": task, "parameters": parameters, "key": key}
            return client.call(f"{JOBS}.Submit", words)["result"]

    def ask(self, method, **parameters):
        with self.client() as client:
            fields = client.call(f"{JOBS}.{method}", parameters)
        return fields["result"] if set(fields) == {"result"} else fields

    def wait(self, job):
        with self.client() as client:
            return list(client.stream(f"{JOBS}.Wait", {"job": job}, idle_s=30))[-1]

    def show(self, job):
        return self.ask("Show", job=job)

    def log(self, job, follow=False):
        with self.client() as client:
            parameters = {"job": job, "follow": follow}
            return [one["result"] for one in client.stream(f"{JOBS}.Log", parameters, idle_s=30)]

    def tell(self, name):
        (self.sandbox.path / name).write_text("")

    def runs(self, name):
        """How often a job of that name has begun."""
        path = self.sandbox.path / f"ran-{name}"
        return path.stat().st_size if path.exists() else 0

    def wait_ran(self, name):
        wait_until(lambda: self.runs(name), what=f"{name} runs")

    def cli(self, *words, timeout_s=60):
        return self.sandbox.daemonry("jobs", "jobd", *words, timeout_s=timeout_s)

    def cli_json(self, *words):
        return json.loads(self.cli(*words, "--json").out)


@pytest.fixture
def jobd(sandbox, monkeypatch):
    monkeypatch.setenv("DAEMONRY_SANDBOX", str(sandbox.path))
    return JobDaemon(sandbox)

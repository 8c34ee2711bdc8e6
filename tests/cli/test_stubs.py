"""`daemonry stubs` and `daemonry compat`, as a shell has them: a program, its daemon and a file are one."""

from typing import NamedTuple

import pytest

from daemonry.cli import main

PROGRAM = '''
import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from daemonry import CallError, Daemon, Interface


@dataclass
class Job:
    """A job."""

    name: str
    size: int = 1


class Full(CallError):
    """No room."""

    limit: int


class Jobs(Interface, name="org.example.jobs", errors=(Full,)):
    """Runs jobs."""

    def start(self, job: Job) -> list[Job]:
        """Start one."""
        if job.size > 9:
            raise Full(limit=9)
        return [job, Job(job.name * 2)]

    async def watch(self, from_: int = 0) -> AsyncIterator[int]:
        """Count."""
        for number in range(from_, from_ + 2):
            yield number


daemon = Daemon("jobs")
daemon.serve(Jobs())

if __name__ == "__main__":
    daemon.main()
'''

USE = """
import asyncio

import daemonry
from clients.jobs_client import AsyncJobsClient, Full, Job, JobsClient

with daemonry.ensure("jobs", mode="require") as client:
    jobs = JobsClient(client)
    print(jobs.start(Job("a", 2)))
    try:
        jobs.start(Job("b", 10))
    except Full as error:
        print("full at", error.limit)
    print(list(jobs.watch(from_=3)))


async def main() -> None:
    async with await daemonry.ensure_async("jobs") as client:
        jobs = AsyncJobsClient(client)
        print(await jobs.start(Job("c", 1)))
        print([number async for number in jobs.watch()])


asyncio.run(main())
"""


@pytest.mark.slow
def test_a_program_its_daemon_and_its_description_give_the_same_working_client(shell, sandbox):
    sandbox.write("jobs.py", PROGRAM)
    sandbox.write("use.py", USE)
    done = shell(
        f"cd {sandbox.path}; python jobs.py start >/dev/null && "
        "daemonry stubs jobs.py -o clients && daemonry stubs jobs -o two && "
        "daemonry describe jobs org.example.jobs > jobs.varlink && daemonry stubs jobs.varlink -o three && "
        "diff -r clients two && diff -r two three && "
        "daemonry compat jobs.varlink jobs && daemonry compat jobs jobs.py && python use.py; "
        "code=$?; python jobs.py stop >/dev/null; exit $code"
    )
    assert done.out.splitlines() == [
        *("clients/jobs_client.py", "two/jobs_client.py", "three/jobs_client.py"),
        "[Job(name='a', size=2), Job(name='aa', size=1)]",
        "full at 9",
        "[3, 4]",
        "[Job(name='c', size=1), Job(name='cc', size=1)]",
        "[0, 1]",
    ]
    assert done.code == 0, done.err


class Done(NamedTuple):
    """What a command did."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(capsys, sandbox, monkeypatch):
    """A function that does what `daemonry WORDS` does, in this process."""
    for name in ("HOME", "XDG_RUNTIME_DIR", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        if name in sandbox.env:
            monkeypatch.setenv(name, sandbox.env[name])

    def done(*words):
        return Done(main.run([str(word) for word in words]), *capsys.readouterr())

    return done


@pytest.fixture
def jobs(sandbox):
    """A description."""
    return sandbox.write("jobs.varlink", "interface org.example.jobs\nmethod Start(name: string) -> ()\n")


def test_what_is_there_already_is_not_written_again(run, jobs, sandbox):
    assert run("stubs", jobs, "-o", sandbox.path / "out").out == f"{sandbox.path}/out/jobs_client.py\n"
    assert run("stubs", jobs, "-o", sandbox.path / "out").out == ""
    assert run("stubs", jobs, "-o", sandbox.path / "out", "--check").code == 0


def test_check_writes_nothing_and_names_what_is_old(run, jobs, sandbox):
    done = run("stubs", jobs, "-o", sandbox.path / "out", "--check")
    assert (done.code, done.err) == (
        1,
        f"{sandbox.path}/out/jobs_client.py: is not what `daemonry stubs` writes now\n",
    )
    assert not (sandbox.path / "out").exists()


def test_a_file_of_somebody_elses_is_left_alone(run, jobs, sandbox):
    mine = sandbox.write("out/jobs_client.py", "mine = 1\n")
    done = run("stubs", jobs, "-o", mine.parent)
    assert done.code == 2
    assert "was not written by `daemonry stubs`: move it, or choose another directory" in done.err
    assert mine.read_text() == "mine = 1\n"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("interface a.b method x", ":1:22: 'x' starts with a small letter: write 'X'"),
        (b"interface \xff", ": is not UTF-8: invalid start byte at byte 10"),
        ("", ":1:1:"),
    ],
)
def test_a_file_that_is_no_description_is_named_with_its_place(run, sandbox, text, reason):
    path = sandbox.path / "bad.varlink"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    done = run("stubs", path, "-o", sandbox.path / "out")
    assert done.code == 2
    assert f"{path}{reason}" in done.err
    assert done.err.count("\n") == 1


def test_compat_prints_a_line_for_each_break_and_fails(run, jobs, sandbox):
    new = sandbox.write("new.varlink", "interface org.example.jobs\nmethod Start(title: string) -> ()\n")
    done = run("compat", jobs, new)
    assert (done.code, done.out) == (
        1,
        "org.example.jobs.Start(name): was removed\norg.example.jobs.Start(title): is required now\n",
    )
    assert (run("compat", jobs, jobs).code, run("compat", jobs, jobs).out) == (0, "")


def test_a_daemon_that_does_not_run_and_an_interface_that_is_not_there(run, jobs, sandbox):
    assert run("stubs", "nobody-here", "-o", sandbox.path / "out").code == 3
    assert run("compat", jobs, sandbox.path / "gone.varlink").code == 2
    done = run("stubs", jobs, "--interface", "org.example.other", "-o", sandbox.path / "out")
    assert (done.code, "it has org.example.jobs" in done.err) == (2, True)

"""rhea as aether meets it: real jobs, real compilers, and everything that can go wrong with them."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import aclosing
from pathlib import Path

import msgspec
import pytest

from daemonry.errors import ConnectionLost, Draining
from daemonry.testing import wait_until
from vx import digests
from vx.cass import layout
from vx.interfaces import (
    Input,
    InputsMissing,
    Job,
    JobInvalid,
    OutputsMissing,
    RunnerLost,
    ScratchFull,
    StoreLost,
    ToolMissing,
)
from vx.rhea.commands import MAX_STREAM_BYTES

C_SOURCE = (
    '#include "a.h"\n#include <stddef.h>\nconst char *where(void) { return __FILE__; }\nsize_t n = A;\n'
)
BIN = Path(sys.executable).parent
# Three that outlive their parent: in its session, in one of their own, and a grandchild that was let go.
LEAVE_BEHIND = "sleep 600 & setsid sleep 600 & (setsid sh -c 'sleep 600 & sleep 600' &) ; "


def processes(home) -> list[int]:
    """The processes of this sandbox's jobs: what rhea runs inherits nothing but the mark."""
    mark = f"DAEMONRY_SANDBOX={home.sandbox.path}".encode()
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            environ = Path(f"/proc/{name}/environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if mark in environ and b"SOURCE_DATE_EPOCH=315532800" in environ:
            found.append(int(name))
    return found


def overwrite(path: str, data: bytes) -> None:
    os.chmod(path, 0o600)
    Path(path).write_bytes(data)


def children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def run_until_output(home, job: Job, then: Callable[[], object]) -> None:
    """Run a job, and do something once, when it has written anything."""
    written = 0
    async with aclosing(home.events(job)) as events:
        async for event in events:
            if event.output is not None:
                written += 1
                if written == 1:
                    then()


async def stats_with(rhea, **wanted: int) -> None:
    """Return when rhea's numbers are these."""
    async with asyncio.timeout(10):
        while True:
            stats = msgspec.structs.asdict(await rhea.stats())
            if wanted.items() <= stats.items():
                return
            await asyncio.sleep(0.01)


def gone_within_a_second(home) -> None:
    wait_until(lambda: not processes(home), timeout_s=1.0, what="all of a job's processes gone")


# --- compilers ------------------------------------------------------------------------------------


async def test_c_is_compiled_to_the_same_bytes_wherever_it_runs(running, cc) -> None:
    job = await running.job(
        cc, "-g", "-O1", "-Iinclude", "-MD", "-MF", "out/main.d", "-c", "src/main.c", "-o", "out/main.o",
        files={"src/main.c": C_SOURCE, "include/a.h": "#define A 3\n"},
        outputs=["out/main.o"],
        dep_files=["out/main.d"],
        tool="cc",
    )  # fmt: skip
    first, second = await running.done(job), await running.done(job)
    assert first.outputs == second.outputs
    (made,) = first.outputs
    content = await running.cass.read(made.digest)
    assert (made.name, made.size, digests.of_bytes(content)) == ("out/main.o", len(content), made.digest)
    assert str(running.path).encode() not in content
    assert {"src/main.c", "include/a.h"} <= set(first.reads)
    assert first.undeclared
    assert all(path.startswith("/usr/") for path in first.undeclared)


async def test_rust_is_compiled_to_the_same_bytes_wherever_it_runs(running, rustc) -> None:
    job = await running.job(
        rustc, "--crate-name", "hello", "--edition=2021", "-g", "src/main.rs",
        "--emit=dep-info=out/hello.d,link=out/hello", "--out-dir=out",
        files={
            "src/main.rs": 'mod other;\nfn main() { println!("{} {}", file!(), other::N); }\n',
            "src/other.rs": 'pub const N: &str = match option_env!("GIVEN") { Some(x) => x, None => "?" };\n',
        },
        outputs=["out/hello"],
        dep_files=["out/hello.d"],
        env={"GIVEN": "yes"},
        tool="rustc",
    )  # fmt: skip
    first, second = await running.done(job), await running.done(job)
    assert first.outputs == second.outputs
    assert first.outputs[0].executable
    assert (first.reads, first.undeclared) == (["src/main.rs", "src/other.rs"], [])
    assert first.env_reads == {"GIVEN": "yes"}
    content = await running.cass.read(first.outputs[0].digest)
    assert str(running.path).encode() not in content
    program = running.sandbox.path / "hello"
    program.write_bytes(content)
    program.chmod(0o755)
    assert running.sandbox.run(program).out == "src/main.rs yes\n"


async def test_a_header_that_was_not_declared_is_not_there(running, cc) -> None:
    job = await running.job(
        cc, "-Iinclude", "-c", "src/main.c", "-o", "main.o",
        files={"src/main.c": C_SOURCE}, outputs=["main.o"], tool="cc",
    )  # fmt: skip
    done, written = await running.run(job)
    assert done.exit_code == 1
    assert "a.h: No such file" in written
    assert done.outputs == []
    assert done.stderr is not None
    assert (await running.cass.read(done.stderr.digest)).decode() == written


async def test_sixteen_compilers_at_once_are_as_many_as_there_are_places(running, cc) -> None:
    at_once, most = 0, 0

    async def compile_one(number: int) -> str:
        nonlocal at_once, most
        job = await running.job(
            cc, "-c", "main.c", "-o", "main.o",
            files={"main.c": f"int f{number}(void) {{ return {number}; }}\n"}, outputs=["main.o"], tool="cc",
        )  # fmt: skip
        async with aclosing(running.events(job)) as events:
            async for event in events:
                if event.started is not None:
                    at_once += 1
                    most = max(most, at_once)
                if event.done is not None:
                    at_once -= 1
                    assert event.done.exit_code == 0
                    return str(event.done.outputs[0].digest)
        raise AssertionError("no end")

    made = await asyncio.gather(*(compile_one(number) for number in range(16)))
    assert len(set(made)) == 16
    assert 1 < most <= 4
    async with running.rhea() as rhea:
        await stats_with(rhea, limit=4, running=0, waiting=0, finished=16)


async def test_store_and_rhea_over_tcp(home, cc) -> None:
    """No descriptor passes: inputs and outputs go as bytes."""
    home.over_tcp("cass", "rhea")
    home.start()
    job = await home.job(
        cc, "-c", "main.c", "-o", "main.o",
        files={"main.c": '#include "large.h"\n', "large.h": "".join(f"int v{n};\n" for n in range(30_000))},
        outputs=["main.o"], tool="cc",
    )  # fmt: skip
    done = await home.done(job)
    assert digests.of_bytes(await home.cass.read(done.outputs[0].digest)) == done.outputs[0].digest


async def test_a_home_may_be_longer_than_a_sockets_path_and_have_any_name(home, cc) -> None:
    home.use(home.sandbox.path / "a home, über %{root} 'quoted'" / ("deep" * 30))
    home.start()
    job = await home.job(
        cc, "-g", "-I%{root}/include", "-c", "main.c", "-o", "main.o",
        files={"main.c": '#include "a.h"\n', "include/a.h": "int x;\n"}, outputs=["main.o"], tool="cc",
    )  # fmt: skip
    done = await home.done(job)
    content = await home.cass.read(done.outputs[0].digest)
    assert b"deepdeep" not in content
    assert b"/vx" in content


# --- what a job sees ------------------------------------------------------------------------------


async def test_a_job_sees_what_it_declared_and_nothing_else(running) -> None:
    job = await running.shell(
        "env | sort; find . -type f | sort; cat <&0; cd made && touch here && pwd",
        files={"a/b.txt": "b", "c": "c"},
        output_dirs=["made"],
        env={"DECLARED": "%{root}/made"},
    )
    done, written = await running.run(job)
    names = [line.partition("=")[0] for line in written.splitlines() if "=" in line]
    assert names == [
        "DAEMONRY_SANDBOX", "DECLARED", "HOME", "LC_ALL", "PATH", "PWD", "SOURCE_DATE_EPOCH", "TMPDIR", "TZ",
        "ZERO_AR_DATE",
    ]  # fmt: skip
    *_, file_1, file_2, made = written.splitlines()
    assert (file_1, file_2) == ("./a/b.txt", "./c")
    assert f"DECLARED={made}" in written
    assert [one.name for one in done.outputs] == ["made/here"]


async def test_a_step_that_writes_to_its_input_harms_no_other(running) -> None:
    """Root may write to a read-only file, and a file's owner may change its mode."""
    job = await running.shell("chmod 600 in; echo changed > in; cat in", files={"in": "as it was"})
    _, written = await running.run(job)
    assert written == "changed\n"
    assert await running.cass.read(job.inputs[0].digest) == b"as it was"
    *_, last = [step async for step in running.cass.verify()]
    assert last.done
    assert (await running.cass.missing([job.inputs[0].digest])).digests == []


@pytest.mark.parametrize(("tool", "links"), [("cc", 2), ("rustc", 2), ("step", 1)])
async def test_a_compilers_inputs_are_the_stores_own_files(running, tool: str, links: int) -> None:
    """A link costs a fraction of a copy, and a compiler does not write to what it reads; others may."""
    script = "#!/bin/sh\nstat -c '%h %a %Y' main.c\n"
    job = await running.job("tool", files={"tool": script, "main.c": "int x;\n"}, tool=tool)
    _, written = await running.run(job)
    assert written == f"{links} 444 315532800\n"


async def test_inputs_have_one_time_and_the_modes_that_were_declared(running) -> None:
    job = await running.shell(
        "stat -c '%n %a %Y' plain tool; ./tool", files={"plain": "x", "tool": "#!/bin/sh\necho it runs\n"}
    )
    _, written = await running.run(job)
    assert written == "plain 444 315532800\ntool 555 315532800\nit runs\n"


async def test_an_input_can_be_the_program(running) -> None:
    script = "#!/bin/sh\necho $1 > out\n"
    job = await running.job("tools/gen", "words", files={"tools/gen": script}, outputs=["out"])
    done = await running.done(job)
    assert await running.cass.read(done.outputs[0].digest) == b"words\n"


async def test_more_inputs_than_one_message_carries(running) -> None:
    files = {f"dir{number % 7}/{number}": f"content {number}" for number in range(150)}
    job = await running.shell("cat dir*/* | wc -c", files=files)
    _, written = await running.run(job)
    assert int(written) == sum(map(len, files.values()))


# --- what it writes -------------------------------------------------------------------------------


async def test_output_comes_while_the_job_runs(running) -> None:
    job = await running.shell('echo before; while ! [ -e "$TMPDIR/go" ]; do sleep 0.01; done; echo after')
    seen = []
    async with aclosing(running.events(job)) as events:
        async for event in events:
            if event.output is not None:
                seen.append(event.output.text)
                for scratch in running.scratch_path.glob("*/*/tmp"):
                    (scratch / "go").touch()
    assert seen == ["before\n", "after\n"]


async def test_output_is_bounded_and_what_was_cut_is_counted(running) -> None:
    total = MAX_STREAM_BYTES + 1_000_000
    done, written = await running.run(await running.shell(f"yes | head -c {total}"))
    assert done.exit_code == 0
    assert len(written) == MAX_STREAM_BYTES
    assert done.cut_bytes == 1_000_000
    assert done.stdout is not None
    assert done.stdout.size == MAX_STREAM_BYTES


async def test_output_that_is_no_text_is_passed_on_as_well_as_can_be(running) -> None:
    done, written = await running.run(await running.shell("printf 'a\\000b\\377c'; printf '\\303\\251' >&2"))
    assert sorted(written) == sorted("a\ufffdb\ufffdcé")
    assert done.stdout is not None
    assert await running.cass.read(done.stdout.digest) == b"a\0b\xffc"


# --- failures -------------------------------------------------------------------------------------


async def test_failures_are_typed_and_say_what_is_wrong(running) -> None:
    with pytest.raises(ToolMissing, match="No such file") as missing:
        await running.run(await running.job("/no/such/compiler"))
    assert missing.value.program == "/no/such/compiler"
    no_program = running.sandbox.write("no-program", "x")
    with pytest.raises(ToolMissing, match="denied"):
        await running.run(await running.job(str(no_program)))
    with pytest.raises(JobInvalid, match="not below the root"):
        await running.run(await running.shell("true", outputs=["../x"]))
    with pytest.raises(OutputsMissing) as absent:
        await running.run(await running.shell("touch a", outputs=["a", "b", "c"]))
    assert absent.value.names == ["b", "c"]
    with pytest.raises(JobInvalid, match="symbolic link"):
        await running.run(await running.shell("ln -s /etc/passwd a", outputs=["a"]))
    with pytest.raises(JobInvalid, match="is not a file"):
        await running.run(await running.shell("mkfifo a", outputs=["a"]))
    assert os.listdir(running.scratch_path) != []
    assert list(running.scratch_path.glob("*/*")) == []


async def test_inputs_that_the_store_does_not_have_are_named_all_of_them(running) -> None:
    absent = [f"{number:064x}" for number in range(100)]
    there = await running.job("/bin/true", files={"there": "x"})
    inputs = [*there.inputs, *(Input(f"f{number}", digest) for number, digest in enumerate(absent))]
    with pytest.raises(InputsMissing) as caught:
        await running.run(Job(["/bin/true"], inputs))
    assert caught.value.digests == absent


async def test_an_input_with_a_flipped_byte_is_missing_until_it_is_put_again(running) -> None:
    job = await running.shell("cat in", files={"in": "words"})
    overwrite(layout.path_of(str(running.path / "cass"), "blob", job.inputs[0].digest), b"Words")
    with pytest.raises(InputsMissing) as caught:
        await running.run(job)
    assert caught.value.digests == [job.inputs[0].digest]
    await running.cass.put_bytes(b"words")
    assert (await running.run(job))[1] == "words"


async def test_a_store_that_is_gone_is_told(running) -> None:
    job = await running.shell("cat in", files={"in": "words"})
    os.kill(running.pid("cass"), signal.SIGKILL)
    with pytest.raises(StoreLost, match=r"cass\.sock"):
        await running.run(job)
    running.start("cass")
    assert (await running.run(job))[1] == "words"


async def test_a_job_whose_time_is_over_is_killed(running) -> None:
    began_s = time.monotonic()
    done, written = await running.run(
        await running.shell(f"echo begun; {LEAVE_BEHIND} sleep 600", timeout_s=0.3)
    )
    assert (done.timed_out, done.exit_code, written) == (True, -9, "begun\n")
    assert time.monotonic() - began_s < 10
    gone_within_a_second(running)


@pytest.fixture
def tiny_scratch(home) -> Iterator[None]:
    """Scratch directories on a file system of 1 MiB."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("a file system of its own needs root and mount(8)")
    home.path.mkdir(mode=0o700)
    home.scratch_path.mkdir(mode=0o700)
    options = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "none", str(home.scratch_path)]
    mounted = subprocess.run(options, capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"mount is not allowed here: {mounted.stderr.decode().strip()}")
    yield
    home.vx("rhea", "stop")
    subprocess.run(["umount", str(home.scratch_path)], check=True)


async def test_a_full_disk_is_told_and_the_next_job_runs(home, tiny_scratch) -> None:
    home.start()
    with pytest.raises(ScratchFull, match="No space left"):
        await home.run(await home.shell("true", files={"large": b"x" * 2_000_000}))
    assert (await home.run(await home.shell("cat small", files={"small": "words"})))[1] == "words"


# --- ends -----------------------------------------------------------------------------------------


async def test_what_a_job_leaves_behind_ends_with_it(running) -> None:
    done, written = await running.run(await running.shell(f"{LEAVE_BEHIND} echo done"))
    assert (done.exit_code, written) == (0, "done\n")
    assert processes(running) == []


async def test_a_caller_that_leaves_takes_its_job_and_no_other(running) -> None:
    other = asyncio.ensure_future(running.run(await running.shell("sleep 1; echo unharmed")))
    async with aclosing(running.events(await running.shell(f"{LEAVE_BEHIND} echo on; sleep 600"))) as events:
        async for event in events:
            if event.output is not None:
                break
    await asyncio.to_thread(
        wait_until, lambda: len(processes(running)) <= 2, timeout_s=1.0, what="one job's processes gone"
    )
    assert (await other)[1] == "unharmed\n"
    async with running.rhea() as rhea:
        await stats_with(rhea, cancelled=1, finished=1, running=0)
    assert list(running.scratch_path.glob("*/*")) == []


async def test_a_cancelled_compiler_takes_its_children_along(running, cc) -> None:
    """A C compiler starts cc1; sixty thousand functions keep it busy."""
    source = "int x;\n" + "".join(
        f"int f{n}(int a) {{ return a * {n} + f{n - 1}(a); }}\n" for n in range(1, 60_000)
    )
    job = await running.job(
        cc, "-O2", "-w", "-c", "main.c", "-o", "main.o",
        files={"main.c": "int f0(int a);\n" + source}, outputs=["main.o"], tool="cc",
    )  # fmt: skip
    async with aclosing(running.events(job)) as events:
        async for event in events:
            assert event.started is not None
            await asyncio.to_thread(wait_until, lambda: len(processes(running)) >= 2, what="cc1")
            break
    await asyncio.to_thread(gone_within_a_second, running)


async def test_a_waiting_job_can_be_left(running) -> None:
    holding = [asyncio.ensure_future(running.run(await running.shell("sleep 600"))) for _ in range(4)]
    async with running.rhea() as rhea:
        await stats_with(rhea, running=4)
        waiting = asyncio.ensure_future(running.run(await running.shell("echo never")))
        await stats_with(rhea, running=4, waiting=1)
        waiting.cancel()
        await stats_with(rhea, waiting=0, cancelled=1)
        for one in holding:
            one.cancel()
        await stats_with(rhea, running=0, cancelled=5, finished=0, failed=0)
    gone_within_a_second(running)


async def test_when_the_runner_is_killed_the_job_fails_and_the_next_one_runs(running) -> None:
    job = await running.shell(f"{LEAVE_BEHIND} echo on; sleep 600")
    (runner,) = children(running.pid("rhea"))
    with pytest.raises(RunnerLost):
        await run_until_output(running, job, lambda: os.kill(runner, signal.SIGKILL))
    assert (await running.run(await running.shell("echo again")))[1] == "again\n"
    gone_within_a_second(running)


async def test_when_rhea_is_killed_nothing_of_its_jobs_lives_a_second_longer(running) -> None:
    job = await running.shell(f"{LEAVE_BEHIND} echo on; sleep 600")
    rhea = running.pid("rhea")
    with pytest.raises(ConnectionLost):
        await run_until_output(running, job, lambda: os.kill(rhea, signal.SIGKILL))
    await asyncio.to_thread(gone_within_a_second, running)
    assert list(running.scratch_path.glob("*/*")) != []
    running.start("rhea")
    assert list(running.scratch_path.glob("*/*")) == []
    assert (await running.run(await running.shell("echo again")))[1] == "again\n"


async def test_a_stop_ends_jobs_and_tells_their_callers(running) -> None:
    job = await running.shell(f"{LEAVE_BEHIND} echo on; sleep 600")
    stopping = []
    with pytest.raises(Draining):
        await run_until_output(
            running, job, lambda: stopping.append(running.sandbox.popen(BIN / "vx-rhea", "stop"))
        )
    assert await asyncio.to_thread(stopping[0].wait, 20) == 0
    stopping[0].communicate()
    assert processes(running) == []
    assert os.listdir(running.scratch_path) == []


async def test_status_tells_what_runs(running) -> None:
    async with aclosing(running.events(await running.shell("sleep 600", title="compile x"))) as events:
        async for _ in events:
            status = running.vx("rhea", "status", "--json").json()
            break
    assert (status["jobs_running"], status["jobs_limit"], status["jobs"]) == (1, 4, ["compile x"])


def test_a_number_of_jobs_that_is_none_is_told_at_the_start(home) -> None:
    home.sandbox.env["VX_RHEA_JOBS"] = "many"
    started = home.vx("rhea", "start")
    assert started.code == 1
    assert "VX_RHEA_JOBS='many' is not a number from 1 to 1024" in started.err

"""What goes wrong around a build: services that die, homes that cannot be one, callers that go away."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemonry.testing import wait_until
from vx.aether.services import READY_TIMEOUT_S

BIN = Path(sys.executable).parent

# Compiles for long enough to be caught at it: each function costs the optimiser some work.
LONG = (
    'fn main() {{ println!("{}", f0(1)); }}\n'
    + "".join(
        f"#[inline(never)] fn f{n}(x: u64) -> u64 {{ let v: Vec<u64> = (0..x).map(|y| y * {n}).collect();"
        f" v.iter().filter(|y| *y % 3 == 0).sum::<u64>() + f{n + 1}(x + 1) }}\n"
        for n in range(400)
    )
    + "fn f400(x: u64) -> u64 { x }\n"
)
LONG = LONG.replace("{{", "{").replace("}}", "}")


def compilers(app) -> list[int]:
    """Return the compilers that run below this home."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            here = process.name.isdigit() and os.readlink(process / "cwd").startswith(f"{app.home}/rhea/")
            if here and b"--crate-name" in (process / "cmdline").read_bytes().split(b"\0"):
                found.append(int(process.name))
        except OSError:
            continue  # ended meanwhile
    return found


def long_crate(app, name: str = "long"):
    return app.crate(name, main=LONG)


@pytest.mark.parametrize("service", ["rhea", "cass"])
@pytest.mark.slow
def test_a_service_that_dies_is_named_and_comes_back(rust, service: str) -> None:
    rust.crate("warm").build()
    project = long_crate(rust)
    building = rust.begin("build", cwd=project.path)
    wait_until(lambda: compilers(rust), 20, "a compiler runs")
    pid = rust.pid(service)
    os.kill(pid, signal.SIGKILL)
    out, err = building.communicate(timeout=60)
    if building.returncode:  # cass may come back before it is asked again
        told = [line for line in err.splitlines() if line.startswith("vx: ") and "died" in line]
        assert told == [
            f"vx: {service} died: pid {pid} was killed by SIGKILL; its log is {rust.home}/{service}.log"
        ]
    else:
        assert service == "cass", (out, err)
    assert project.build()["ok"]
    assert rust.vx("verify").code == 0


@pytest.mark.slow
def test_aether_that_dies_is_named_and_takes_all_with_it(rust, gone) -> None:
    rust.crate("warm").build()
    project = long_crate(rust)
    building = rust.begin("build", cwd=project.path)
    wait_until(lambda: compilers(rust), 20, "a compiler runs")
    left = [rust.pid("cass"), rust.pid("rhea"), *compilers(rust)]
    os.kill(rust.pid("aether"), signal.SIGKILL)
    out, err = building.communicate(timeout=60)
    assert building.returncode == 6, (out, err)
    told = [line for line in err.splitlines() if "died" in line]
    assert len(told) == 1
    assert told[0].startswith("vx: aether died")
    assert f"its log is {rust.home}/aether.log" in told[0]
    wait_until(lambda: all(gone(pid) for pid in left), 2.0, "nothing outlives aether")
    assert project.build()["ok"]


def test_ctrl_c_cancels_the_compilers_of_this_build(rust) -> None:
    rust.crate("warm").build()
    project = long_crate(rust)
    building = rust.begin("build", cwd=project.path)
    wait_until(lambda: compilers(rust), 20, "a compiler runs")
    building.send_signal(signal.SIGINT)
    _, err = building.communicate(timeout=20)
    assert building.returncode == 130
    assert "Traceback" not in err
    wait_until(lambda: not compilers(rust), 5, "the compiler ended")
    wait_until(lambda: not rust.state()["building"], 5, "aether has let go of the build")
    assert [one["outcome"] for one in project.report()["actions"]] == ["cancelled"]
    assert rust.state()["services"][1]["restarts"] == 0


@pytest.mark.parametrize("ended", ["killed", "upgraded"])
@pytest.mark.slow
def test_aether_is_ended_in_the_middle_of_a_build(rust, ended: str) -> None:
    """Who ends it does not get it back from those who were building; who exchanges it harms nobody."""
    project = long_crate(rust)
    building = rust.begin("build", "--release", "--quiet", cwd=project.path)
    wait_until(lambda: compilers(rust), 30, "the compiler runs")
    if ended == "killed":
        rust.kill()
        assert building.communicate(timeout=60)[1] == "vx: aether was stopped in the middle of this build\n"
        assert building.returncode == 6
        assert rust.vx("status").code == 3
    else:
        before = rust.pid("aether")
        subprocess.run([BIN / "vx-aether", "upgrade"], env=rust.env, check=True, capture_output=True)
        assert rust.pid("aether") != before
        assert building.communicate(timeout=60)[1] == ""
        assert building.returncode == 0


def test_what_waits_for_a_place_is_not_said_to_run(rust) -> None:
    """One compiler runs, of two that are asked for; the other is told when its turn comes."""
    project = rust.project()
    project.write("Cargo.toml", '[workspace]\nmembers = ["one", "other"]\n')
    for name in ("one", "other"):
        project.write(f"{name}/Cargo.toml", f'[package]\nname = "{name}"\nversion = "0.1.0"\n')
        project.write(f"{name}/src/main.rs", LONG)
    building = rust.begin("build", "--workspace", cwd=project.path, env={**rust.env, "VX_RHEA_JOBS": "1"})
    assert building.stderr is not None
    assert "compiling o" in building.stderr.readline()
    wait_until(lambda: rust.instance("rhea").status()["jobs_waiting"] == 1, 20, "the other one waits")
    building.send_signal(signal.SIGINT)
    _, err = building.communicate(timeout=20)
    assert "compiling" not in err


@pytest.mark.slow
def test_a_shared_compiler_goes_on_while_another_build_wants_it(rust) -> None:
    rust.crate("warm").build()
    project = long_crate(rust)
    twin = rust.project("twin")
    shutil.copytree(project.path, twin.path, dirs_exist_ok=True)
    first = rust.begin("build", cwd=project.path)
    wait_until(lambda: compilers(rust), 20, "a compiler runs")
    (pid,) = compilers(rust)
    second = rust.begin("build", "--json", cwd=twin.path)
    wait_until(lambda: len(rust.state()["building"]) == 2, 20, "both build")
    time_of_both = time.monotonic()
    wait_until(lambda: time.monotonic() - time_of_both > 0.3, 5, "the second one waits for the compiler")
    assert compilers(rust) == [pid]
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=20)
    out, err = second.communicate(timeout=100)
    assert second.returncode == 0, err
    assert '"ok":true' in out.replace(" ", "")
    assert twin.report()["actions"][0]["outcome"] == "shared"


def race(app, count: int) -> None:
    """Start many builds at once on a home that is not there."""
    project = app.crate("race")
    copies = [app.project(f"copy{number}") for number in range(count)]
    for copy in copies:
        shutil.copytree(project.path, copy.path, dirs_exist_ok=True)
    building = [app.begin("build", cwd=copy.path) for copy in copies]
    ended = [(one.communicate(timeout=110), one.returncode) for one in building]
    assert [code for _, code in ended] == [0] * count, ended
    for service in ("aether", "cass", "rhea"):
        assert app.log(service).count('"message":"ready at ') == 1, service
    assert app.state()["compilations"] == 1
    for copy in copies:
        assert copy.run("hello") == "hello\n"


@pytest.mark.slow
def test_twenty_builds_at_once_start_each_service_once(rust) -> None:
    race(rust, 20)


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_a_hundred_rounds_of_twenty_builds_at_once(rust) -> None:
    for number in range(int(os.environ.get("VX_ROUNDS", "100"))):
        rust.home = rust.sandbox.path / f"vx{number}"
        rust.env["VX_HOME"] = str(rust.home)
        race(rust, 20)
        rust.kill()
        shutil.rmtree(rust.home)
        shutil.rmtree(rust.sandbox.path / "work")


def storm(app, rounds: int) -> None:
    """Kill a service at a random moment of each build."""
    dice = random.Random(rounds)
    for number in range(rounds):
        project = app.crate(f"storm{number}", main=f'fn main() {{ println!("{{}}", {number}); }}\n')
        app.crate(f"warm{number}", main=f'fn main() {{ println!("w{number}"); }}\n').build()
        service = dice.choice(("aether", "cass", "rhea"))
        pids = {name: app.pid(name) for name in ("aether", "cass", "rhea")}
        building = app.begin("build", cwd=project.path)
        moment_s = time.monotonic() + dice.uniform(0, 0.4)
        wait_until(lambda moment_s=moment_s: time.monotonic() >= moment_s, 5, "the moment")
        try:
            os.kill(pids[service], signal.SIGKILL)
        except ProcessLookupError:
            pass
        _, err = building.communicate(timeout=100)
        if building.returncode:
            told = [line for line in err.splitlines() if "died" in line]
            assert len(told) == 1, (service, building.returncode, err)
            assert "its log is" in told[0]
            assert f"{app.home}/" in told[0]
        done = project.vx("build")
        assert done.code == 0, (service, done)
        assert project.run("hello") == f"{number}\n"
    assert app.vx("verify").code == 0


@pytest.mark.slow
def test_a_storm_of_kills_harms_no_store(rust) -> None:
    storm(rust, 5)


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_a_long_storm_of_kills_harms_no_store(rust) -> None:
    storm(rust, 100)


# --- homes ------------------------------------------------------------------------------------------


def one_line(done) -> str:
    assert done.code in (1, 2, 4), done
    assert len(done.err.splitlines()) == 1, done
    assert "Traceback" not in done.err
    return done.err


def test_a_home_that_is_a_file(rust) -> None:
    project = rust.crate()
    file = rust.sandbox.write("file", "")
    assert "VX_HOME is not a directory" in one_line(project.vx("build", VX_HOME=str(file)))


def test_a_home_below_a_file(rust) -> None:
    project = rust.crate()
    file = rust.sandbox.write("file", "")
    assert str(file) in one_line(project.vx("build", VX_HOME=str(file / "home")))


def test_a_home_of_another_user(rust) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a directory away")
    project = rust.crate()
    theirs = rust.sandbox.path / "theirs"
    theirs.mkdir(mode=0o700)
    os.chown(theirs, 12345, 12345)
    assert "belongs to user 12345" in one_line(project.vx("build", VX_HOME=str(theirs)))


def test_a_home_that_is_read_only(rust) -> None:
    """/proc is one for everybody, root as well."""
    project = rust.crate()
    assert "/proc/vx" in one_line(project.vx("build", VX_HOME="/proc/vx"))


@pytest.fixture
def small_disk(rust) -> Iterator[Path]:
    """A file system of 1 MiB."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount a small file system")
    disk = rust.sandbox.path / "disk"
    disk.mkdir(mode=0o700)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "none", disk], check=False)
    if mounted.returncode:
        pytest.skip("this system lets nobody mount")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def test_a_home_on_a_full_disk(rust, small_disk: Path) -> None:
    project = rust.crate()
    home = str(small_disk / "vx")
    try:
        # It starts, and a program does not fit into the store.
        line = one_line_of(project.vx("build", VX_HOME=home))
        assert f"the disk of {home} is full" in line or "No space left" in line
    finally:
        project.vx("kill", VX_HOME=home)


def test_a_project_on_a_full_disk(rust, small_disk: Path) -> None:
    project = rust.crate()
    shutil.copytree(project.path, small_disk / "hello")
    with open(small_disk / "fill", "wb") as file, pytest.raises(OSError, match="No space"):
        file.write(bytes(1 << 20))
    done = rust.vx("build", "--quiet", cwd=small_disk / "hello")
    assert done.code == 1
    assert done.err.splitlines() == [
        f"vx: no report was written in {small_disk}/hello/.vx/runs: No space left on device",
        f"vx: {small_disk}/hello: No space left on device",
    ]


@pytest.mark.parametrize("built_before", [False, True])
def test_a_project_that_is_read_only_is_refused_before_anything_is_compiled(
    rust, small_disk: Path, built_before: bool
) -> None:
    shutil.copytree(rust.crate().path, small_disk / "hello")
    if built_before:
        (small_disk / "hello/.vx").mkdir()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    done = rust.vx("build", cwd=small_disk / "hello")
    assert done.code == 1
    assert "compiling" not in done.err
    assert f"vx: {small_disk}/hello/.vx: Read-only file system" in done.err.splitlines()


def one_line_of(done) -> str:
    assert done.code == 1, done
    lines = [line for line in done.err.splitlines() if not line.startswith("vx: compiling") and line]
    told = [line for line in lines if line.startswith("vx: ") and not line.endswith(" failed")]
    assert len(told) == 1, done
    return told[0]


def test_a_home_longer_than_a_socket_path(rust) -> None:
    project = rust.crate()
    long = rust.sandbox.path / ("x" * 100) / ("y" * 100)
    assert project.executed(VX_HOME=str(long)) == 1
    assert project.executed(VX_HOME=str(long)) == 0
    assert project.vx("kill", VX_HOME=str(long)).code == 0


@pytest.mark.slow
def test_another_version_on_one_home_is_told_or_replaced(rust) -> None:
    """A newer vx takes over; an older one says which is there."""
    project = rust.crate()
    project.build()
    before = rust.pid("aether")
    for version in ("0.0.1", "9.0.0"):
        rust.sandbox.write(f"{version}/sitecustomize.py", f"import vx\nvx.__version__ = '{version}'\n")
    older = project.vx("build", PYTHONPATH=str(rust.sandbox.path / "0.0.1"))
    assert "and this is vx 0.0.1" in one_line(older)
    assert rust.pid("aether") == before
    newer = project.vx("build", PYTHONPATH=str(rust.sandbox.path / "9.0.0"))
    assert newer.code == 0, newer
    assert rust.pid("aether") != before
    assert rust.vx("status", PYTHONPATH=str(rust.sandbox.path / "9.0.0")).out.startswith(
        "aether: running, vx 9.0.0"
    )
    assert "aether of" in one_line(project.vx("build"))


def test_kill_and_status_of_what_does_not_run(app) -> None:
    assert (app.vx("kill").code, app.vx("kill").out) == (0, "vx: not running\n")
    told = app.vx("status")
    assert told.code == 3
    assert "not running" in told.out


@pytest.mark.slow
def test_aether_ends_after_a_time_of_quiet(rust, gone) -> None:
    project = rust.crate()
    project.build(VX_IDLE_S="1")
    pids = [rust.pid(service) for service in ("aether", "cass", "rhea")]
    wait_until(lambda: all(gone(pid) for pid in pids), 15, "aether ended by itself")
    assert not list(Path(rust.home).glob("*.sock"))
    assert project.executed() == 0


def test_a_time_of_quiet_that_is_none_is_told_at_the_start(rust) -> None:
    assert "VX_IDLE_S is 'lots'" in one_line(rust.crate().vx("build", VX_IDLE_S="lots"))


@pytest.mark.parametrize(
    ("service", "variable", "reason"),
    [
        ("cass", "VX_CASS_MAX_SIZE", "VX_CASS_MAX_SIZE='much' is not a size"),
        ("rhea", "VX_RHEA_JOBS", "VX_RHEA_JOBS='much' is not a number"),
    ],
)
@pytest.mark.slow
def test_a_service_that_refuses_is_not_waited_for(rust, service: str, variable: str, reason: str) -> None:
    project = rust.crate()
    begun_s = time.monotonic()
    line = one_line(project.vx("build", **{variable: "much"}))
    assert time.monotonic() - begun_s < READY_TIMEOUT_S
    assert f"{service} died: pid " in line
    assert reason in line
    assert project.executed() == 1


def test_the_status_of_a_service_of_another_home(rust) -> None:
    project = rust.crate()
    other = {"VX_HOME": str(rust.sandbox.path / "other")}
    cass = f"{other['VX_HOME']}/cass.sock"
    subprocess.run([BIN / "vx-cass", "start"], env={**rust.env, **other}, check=True, capture_output=True)
    try:
        project.build(VX_CASS=cass)
        assert f"cass: elsewhere at unix:{cass}" in project.vx("status").out.splitlines()
    finally:
        subprocess.run([BIN / "vx-cass", "stop"], env={**rust.env, **other}, check=True, capture_output=True)


def test_a_home_with_a_line_break_is_told_without_it(rust) -> None:
    project = rust.crate()
    home = str(rust.sandbox.path / "a\nb")
    project.build(VX_HOME=home)
    try:
        assert len(project.vx("status", VX_HOME=home).out.splitlines()) == 4
    finally:
        project.vx("kill", VX_HOME=home)


@pytest.mark.slow
def test_an_aether_that_dies_with_its_parent(rust, gone) -> None:
    project = rust.crate()
    done = project.vx("build", "--die-with-parent")
    assert done.code == 0, done
    wait_until(lambda: rust.vx("status").code == 3, 5, "aether ended with the command")
    wait_until(lambda: not rust.sandbox.leftovers().processes, 5, "and so did the services")
    assert project.executed() == 0  # in a new one, which stays
    assert rust.vx("status").code == 0


def test_services_over_tcp(rust) -> None:
    """Where a Unix socket cannot serve, blobs pass as bytes."""
    ports = []
    for _ in range(2):
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            ports.append(one.getsockname()[1])
    env = {"VX_CASS": f"tcp:127.0.0.1:{ports[0]}", "VX_RHEA": f"tcp:127.0.0.1:{ports[1]}"}
    project = rust.crate()
    assert project.executed(**env) == 1
    assert project.run("hello") == "hello\n"
    assert project.vx("clean").code == 0
    assert project.executed(**env) == 0
    assert not (rust.home / "cass.sock").exists()


def test_a_directory_that_is_gone(rust) -> None:
    done = rust.sandbox.run("sh", "-c", f"mkdir gone && cd gone && rmdir ../gone && {BIN}/vx build")
    assert one_line(done) == "vx: the present directory: is gone\n"


def test_a_directory_that_is_not_there_is_not_the_project_above(rust) -> None:
    project = rust.crate()
    for command in ("build", "test", "install", "explain"):
        assert one_line(project.vx(command, "-C", "srk")) == f"vx: {project.path}/srk: is not a directory\n"
    assert not (project.path / ".vx").exists()

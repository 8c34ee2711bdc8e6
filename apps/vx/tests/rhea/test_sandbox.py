"""What a job opens is seen, whether it says so or not, and it writes below its own directories only."""

from __future__ import annotations

import os
import sys

import pytest

from vx.rhea import sandbox

PYTHON = os.path.realpath(sys.executable)

pytestmark = pytest.mark.skipif(bool(sandbox.why_not()), reason=f"no sandbox here: {sandbox.why_not()}")


async def test_each_file_that_a_job_opens_elsewhere_is_told(running, tmp_path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    job = await running.shell(
        f"read line < {secret}; cat inside > made; : < /dev/null",
        outputs=["made"],
        files={"inside": "y"},
    )
    done = await running.done(job)
    assert done.opened is not None
    assert str(secret) in done.opened
    assert "/bin/sh" in done.opened
    assert not [one for one in done.opened if one.endswith(("/inside", "/made", "/null"))]


async def test_what_a_job_starts_is_watched_too(running, tmp_path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    job = await running.shell(f"(cd {tmp_path} && setsid sh -c 'cat secret') > out; wait", outputs=["out"])
    done = await running.done(job)
    assert str(secret) in (done.opened or [])


async def test_a_file_that_a_job_may_not_write_is_told(running, tmp_path) -> None:
    elsewhere = f"(: > {tmp_path}/new); (: >> {tmp_path}/more); cat {tmp_path}/none"
    words = f"{elsewhere}; : > /dev/null; : > $TMPDIR/own; : > out"
    done = await running.done(await running.shell(words, outputs=["out"]))
    assert done.refused == [f"{tmp_path}/more", f"{tmp_path}/new"]


@pytest.mark.skipif(sandbox.landlock_version() < 1, reason="the kernel has no Landlock")
async def test_a_link_out_of_the_jobs_directory_hides_nothing(running, tmp_path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    done = await running.done(
        await running.shell(f"ln -s {tmp_path} away; cat away/secret > out", outputs=["out"])
    )
    assert str(secret) in (done.opened or [])


@pytest.mark.parametrize("how", ["ln -s {} way", "ln -s {} other; mv other way"])
async def test_a_link_that_comes_in_the_place_of_a_directory_hides_nothing(running, tmp_path, how) -> None:
    """The directory was looked into before: what is known of it counts no longer."""
    secret = tmp_path / "secret"
    secret.write_text("x")
    words = f"mkdir way; cat way/secret; mv way gone; {how.format(tmp_path)}; cat way/secret > out"
    done = await running.done(await running.shell(words, outputs=["out"]))
    assert str(secret) in (done.opened or [])


async def test_a_directory_that_a_job_goes_to_counts(running, tmp_path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    words = f"cat none; cd {tmp_path}; cat secret > $OLDPWD/out"
    done = await running.done(await running.shell(words, outputs=["out"]))
    assert str(secret) in (done.opened or [])


async def test_what_a_job_opens_of_its_own_and_in_vain_is_told(running, tmp_path) -> None:
    (tmp_path / "folder").mkdir()
    tried = f"cat inside none {tmp_path}/none {tmp_path}/folder $TMPDIR/none; test -e {tmp_path}/looked-at"
    done = await running.done(
        await running.shell(f"{tried}; : > out", outputs=["out"], files={"inside": "y"})
    )
    assert "inside" in done.opened_inside
    assert str(tmp_path / "folder") in done.opened_folders
    assert {"none", f"{tmp_path}/none"} <= set(done.sought)
    assert not [one for one in done.sought if "looked-at" in one or "/rhea/" in one]


async def test_a_look_in_vain_is_told_where_it_is_asked_for(running, tmp_path) -> None:
    """That a file is there, and nothing opens it, is not: README says so."""
    (tmp_path / "there").write_text("x")
    tried = f"test -e {tmp_path}/there; test -e {tmp_path}/none; command -v no-such-program; : > out"
    done = await running.done(await running.shell(tried, outputs=["out"], watch_looks=True))
    assert {f"{tmp_path}/none", "/usr/bin/no-such-program"} <= set(done.sought)
    assert not [one for one in [*done.sought, *(done.opened or [])] if one.endswith("/there")]


async def test_a_job_cannot_write_elsewhere(running, tmp_path) -> None:
    kept = tmp_path / "kept"
    kept.write_text("as it was")
    tried = f"echo > {kept}; rm {kept}; mv {kept} {kept}.2; mkdir {tmp_path}/made; ln -s x {tmp_path}/link"
    done, _ = await running.run(await running.shell(f"{tried}; echo > $TMPDIR/mine && echo > mine && exit 7"))
    assert done.exit_code == 7
    assert kept.read_text() == "as it was"
    assert [one.name for one in tmp_path.iterdir()] == ["kept"]


async def test_a_job_cannot_change_modes_times_and_attributes_elsewhere(running, tmp_path) -> None:
    """Landlock leaves those alone."""
    kept = tmp_path / "kept"
    kept.write_text("as it was")
    kept.chmod(0o640)
    before = kept.stat()
    program = (
        "import os\n"
        f"kept = {str(kept)!r}\n"
        "def refused(call, *words):\n"
        "    try: call(*words)\n"
        "    except PermissionError: return True\n"
        "fd = os.open(kept, os.O_RDONLY)\n"
        "os.symlink(kept, 'link')\n"
        "assert refused(os.chmod, kept, 0o777) and refused(os.chmod, 'link', 0o777)\n"
        "assert refused(os.chmod, f'/proc/self/fd/{fd}', 0o777) and refused(os.fchmod, fd, 0o777)\n"
        "assert refused(os.utime, kept, (1, 1)) and refused(os.utime, fd, (1, 1))\n"
        "assert refused(os.chown, kept, os.getuid(), os.getgid())\n"
        "assert refused(os.setxattr, kept, 'user.a', b'1')\n"
        "open('mine', 'w').close()\n"
        "os.chmod('mine', 0o600); os.utime('mine', (1, 1)); os.chown('mine', os.getuid(), os.getgid())\n"
    )
    await running.done(await running.job(PYTHON, "-I", "-S", "-c", program))
    after = kept.stat()
    assert (after.st_mode, after.st_mtime_ns) == (before.st_mode, before.st_mtime_ns)
    assert os.listxattr(kept) == []


async def test_a_job_reaches_no_socket_and_no_process_of_the_user(running, tmp_path) -> None:
    """The store's, an agent's, a bus: by those it could write and run whatever it likes."""
    cass = str(running.endpoint("cass")).removeprefix("unix:")
    program = (
        "import os, socket, sys\n"
        "def refused(call, *words):\n"
        "    try: call(*words)\n"
        "    except PermissionError: return True\n"
        f"assert refused(socket.socket(socket.AF_UNIX).connect, {cass!r})\n"
        "own = socket.socket(socket.AF_UNIX); own.bind('own.sock'); own.listen()\n"
        "socket.socket(socket.AF_UNIX).connect('own.sock')\n"
        f"assert {sandbox.landlock_version() < 6} or refused(os.kill, {os.getpid()}, 0)\n"
    )
    await running.done(await running.job(PYTHON, "-I", "-S", "-c", program))


async def test_it_is_off_where_the_user_says_so(home, tmp_path) -> None:
    home.sandbox.env["VX_RHEA_SANDBOX"] = "off"
    home.start()
    done = await home.done(await home.shell("true"))
    assert done.opened is None
    assert home.vx("rhea", "status", "--json").json()["sandbox"] == "off: VX_RHEA_SANDBOX is off"


def test_a_word_that_is_neither_on_nor_off_is_refused(home) -> None:
    home.sandbox.env["VX_RHEA_SANDBOX"] = "maybe"
    started = home.vx("rhea", "start")
    assert started.code == 1
    assert "VX_RHEA_SANDBOX='maybe' is neither on nor off" in started.err

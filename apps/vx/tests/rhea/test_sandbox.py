"""What a job opens is seen, whether it says so or not, and it writes below its own directories only."""

from __future__ import annotations

import pytest

from vx.rhea import sandbox

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


async def test_a_link_out_of_the_jobs_directory_hides_nothing(running, tmp_path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    done = await running.done(
        await running.shell(f"ln -s {tmp_path} away; cat away/secret > out", outputs=["out"])
    )
    assert str(secret) in (done.opened or [])


async def test_a_look_without_opening_is_not_seen(running, tmp_path) -> None:
    """README says so; where this fails, the page promises too little."""
    looked_at = tmp_path / "looked-at"
    looked_at.write_text("x")
    job = await running.shell(f"test -e {looked_at} && echo there > out", outputs=["out"])
    done = await running.done(job)
    assert "/bin/sh" in (done.opened or [])
    assert str(looked_at) not in (done.opened or [])


async def test_a_job_cannot_write_elsewhere(running, tmp_path) -> None:
    kept = tmp_path / "kept"
    kept.write_text("as it was")
    tried = f"echo > {kept}; rm {kept}; mv {kept} {kept}.2; mkdir {tmp_path}/made; ln -s x {tmp_path}/link"
    done, _ = await running.run(await running.shell(f"{tried}; echo > $TMPDIR/mine && echo > mine && exit 7"))
    assert done.exit_code == 7
    assert kept.read_text() == "as it was"
    assert [one.name for one in tmp_path.iterdir()] == ["kept"]


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

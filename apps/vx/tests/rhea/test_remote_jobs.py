"""What tells this machine's compiler from the workers': asked once, also by many jobs, also in vain."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("grpc", reason="gRPC is not installed: the extra vx[remote]")

from daemonry.testing import wait_until
from vx.interfaces import Job
from vx.remote.settings import RemoteSettings
from vx.rhea import remote_jobs
from vx.rhea.remote_jobs import NotThere, RemoteJobs


def compiler(tmp_path: Path, script: str) -> Job:
    path = tmp_path / "cc"
    path.write_text(f"#!/bin/sh\n[ $1 = --version ] && echo >> {tmp_path}/asked\n{script}\n")
    path.chmod(0o755)
    return Job([str(path), "-c", "a.c"], [], tool="cc")


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(remote_jobs, "_IDENTITY_S", 0.5)
    cass: Any = None
    one = RemoteJobs(RemoteSettings(execute="grpc://127.0.0.1:1"), cass)
    yield one
    one._executor.rpc.close()
    one._threads.shutdown()


def test_many_jobs_ask_a_compiler_once(jobs: RemoteJobs, tmp_path: Path) -> None:
    job = compiler(tmp_path, "echo version 1")
    with ThreadPoolExecutor(16) as pool:
        assert len(set(pool.map(lambda _: jobs._compiler(job), range(16)))) == 1
    assert (tmp_path / "asked").read_text() == "\n"


def test_a_compiler_that_hangs_has_its_jobs_run_here_and_is_asked_once(
    jobs: RemoteJobs, tmp_path: Path
) -> None:
    job = compiler(tmp_path, f"echo $$ > {tmp_path}/pid; exec sleep 600")
    for _ in range(3):
        with pytest.raises(NotThere, match="did not say which compiler it is"):
            jobs._compiler(job)
    assert (tmp_path / "asked").read_text() == "\n"
    pid = int((tmp_path / "pid").read_text())
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), 10, "it ends")


def test_a_compiler_that_is_gone_has_its_jobs_run_here(jobs: RemoteJobs, tmp_path: Path) -> None:
    with pytest.raises(NotThere, match="No such file"):
        jobs._compiler(Job([f"{tmp_path}/gone"], [], tool="cc"))

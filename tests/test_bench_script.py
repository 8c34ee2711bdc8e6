"""`scripts/bench`: what measures this checkout runs in its environment, without a word about it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.skipif(
    not Path(sys.prefix, ".daemonry-setup").exists(), reason="this environment is not of scripts/setup"
)
@pytest.mark.parametrize(
    ("name", "python"),
    [(name, "own") for name in ("homes", "logs", "remote", "daemons")] + [("hook", "usual")],
)
def test_what_measures_this_checkout_runs_in_its_environment(tmp_path, name, python):
    usual = tmp_path / "python3"
    usual.write_text("#!/bin/sh\necho the usual python\n")
    usual.chmod(0o755)
    environment = {"PATH": f"{tmp_path}{os.pathsep}{os.defpath}", "VENV": sys.prefix, "HOME": str(tmp_path)}
    done = subprocess.run(
        [ROOT / "scripts/bench", name, "--help"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (done.stdout == "the usual python\n") == (python == "usual")

"""Ten crates of the field (scripts/vx-field) are built alike by vx and by cargo."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[4] / "bench/vx_field.py"
# Among them: build scripts, a procedural macro, features, a program, dependencies of one platform; none that
# needs many others.
SAMPLE = (
    *("arg-enum-proc-macro", "getrandom", "sha2", "doc-comment", "crc32fast"),
    *("lru", "simplecss", "rustdoc-stripper", "crossbeam-channel", "gethostname"),
)


@pytest.mark.timeout(900)
def test_ten_crates_of_debian_are_the_same_as_cargos(rust, tmp_path: Path) -> None:
    for tool in ("cargo", "apt-get", "apt-cache", "dpkg", "nm"):
        if shutil.which(tool) is None:
            pytest.skip(f"no {tool} on the PATH, with which crates of Debian are had and compared")
    (tmp_path / "one").mkdir()
    one = ["apt-get", "-q", "download", "librust-either-dev"]
    had = subprocess.run(one, cwd=tmp_path / "one", capture_output=True, text=True, check=False)
    if had.returncode:
        reason = had.stderr.strip().rpartition("\n")[2]
        pytest.skip(f"apt has no crates here (`apt-get update` on Debian, and its archive): {reason}")
    kept = os.environ.get("VX_FIELD_CACHE") or str(tmp_path / "field")
    env = {**rust.env, "CARGO_NET_OFFLINE": "true"}
    words = ["--cache", kept, "--crates", ",".join(SAMPLE), "--again"]
    done = subprocess.run(
        [sys.executable, SCRIPT, *words], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done
    results = json.loads((Path(kept) / "results.json").read_text())
    assert {name: results[name]["verdict"] for name in SAMPLE} == dict.fromkeys(SAMPLE, "same")

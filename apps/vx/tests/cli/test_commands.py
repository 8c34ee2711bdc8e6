"""The command line: wrong usage, and an output that nobody takes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from vx.cli import commands
from vx.reports.report import FORMAT, RunReport

RUN = "01M7X8F4VZ1C117845Q79WZXZD"


def of_shell(line: str, home: Path) -> tuple[str, str]:
    """Return what a line of shell says on standard output and standard error."""
    env = {"PATH": "/usr/bin:/bin", "HOME": str(home), "PYTHONUNBUFFERED": "1"}
    vx = f'vx() {{ "{sys.executable}" -m vx "$@"; }}; {line}'
    done = subprocess.run(["bash", "-c", vx], cwd=home, env=env, capture_output=True, text=True, check=False)
    return done.stdout, done.stderr


def test_a_reader_that_has_seen_enough_is_no_failure(tmp_path: Path) -> None:
    line = "mkfifo p; exec 3<>p; exec 4>p 3<&-; vx explain >&4; echo $?"
    assert of_shell(line, tmp_path) == ("141\n", "")


def test_a_full_disk_behind_the_output_is_not_taken_for_the_homes(tmp_path: Path) -> None:
    out = of_shell("vx explain > /dev/full; echo $?", tmp_path)
    assert out == ("1\n", "cannot write the output: No space left on device\n")


def test_no_miss_is_json_too(tmp_path: Path) -> None:
    runs = tmp_path / ".vx/runs"
    runs.mkdir(parents=True)
    report = RunReport(FORMAT, RUN, True, "", "p", str(tmp_path), "dev", "any", 1.0, 2, "0.1.0")
    (runs / f"{report.id}.json").write_bytes(msgspec.json.encode(report))
    out, err = of_shell("vx explain --last-miss --json", tmp_path)
    assert (out, err) == ('{"run":null,"changes":[]}\n', "")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense\x1b[2J"],
        ["build", "--nonsense\n"],
        ["explain", "a", "b\x1b]0;t\x07"],
        ["gc", "--max-size"],
    ],
)
def test_wrong_usage_is_one_line_that_leads_to_the_help(arguments: list[str], capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        commands.run(arguments)
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith("vx")
    assert "--help)\n" in told
    assert told.count("\n") == 1
    assert "\x1b" not in told


def test_a_store_that_is_not_there_is_told(tmp_path: Path) -> None:
    assert of_shell("vx clean --store; echo $?", tmp_path)[0] == f"vx: no store in {tmp_path}/.vx\n0\n"
    (tmp_path / "file").touch()
    out, err = of_shell("VX_HOME=file vx clean --store; echo $?", tmp_path)
    assert (out, err) == ("2\n", f"vx: {tmp_path}/file: VX_HOME is not a directory\n")

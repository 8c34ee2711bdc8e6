"""Our own loggers: whatever a program configures, each of their records is in its log, once."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import daemonry
from daemonry.process.log import own_loggers

SCRIPT = """
import logging, logging.config, sys
from daemonry.process import logs
from daemonry.process.log import own_loggers
file = logs.set_up(sys.argv[1])
ours, theirs = logging.getLogger("daemonry.calls"), logging.getLogger("theirs")
{configured}
ours.warning("ours")
theirs.warning("theirs")
own_loggers.detach(file)
ours.warning("after")
"""


@pytest.mark.parametrize(
    ("configured", "written"),
    [
        ("", ["ours", "theirs"]),
        ("logging.config.dictConfig({'version': 1, 'disable_existing_loggers': False})", ["ours", "theirs"]),
        ("logging.config.dictConfig({'version': 1})", ["ours"]),
        ("logging.basicConfig(force=True)", ["ours"]),
        (
            "logging.config.dictConfig({'version': 1, 'loggers': {'x': {}}, 'root': {'handlers': []}})",
            ["ours"],
        ),
        ("logging.disable(logging.INFO)", ["ours", "theirs"]),
        ("logging.getLogger().handlers.clear()", ["ours"]),
    ],
)
def test_each_record_of_ours_is_written_once(tmp_path, configured, written):
    path = tmp_path / "x.log"
    script = SCRIPT.format(configured=configured)
    subprocess.run([sys.executable, "-c", script, path], capture_output=True, check=True)
    assert [json.loads(line)["message"] for line in path.read_text().splitlines()] == written


def test_a_handler_of_the_program_gets_ours_too(tmp_path):
    """Such as one that sends errors elsewhere."""
    script = SCRIPT.format(configured="logging.basicConfig(force=True, format='to the program: %(message)s')")
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "x.log"], capture_output=True, check=True, text=True
    )
    assert done.stderr.splitlines() == [f"to the program: {one}" for one in ("ours", "theirs", "after")]


def test_every_logger_of_ours_is_one_that_lasts():
    sources = Path(daemonry.__file__).parent.rglob("*.py")
    found = {
        name for path in sources for name in re.findall(r'getLogger\("daemonry\.(\w+)"\)', path.read_text())
    }
    assert found == set(own_loggers.NAMES)

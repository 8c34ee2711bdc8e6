"""The beginning of a daemon's process."""

import subprocess
import sys

import pytest

# The runner's import is looked at, and fails; what the program has set is as before.
LOOK = """
import gc, sys
from daemonry.cli import boot
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "daemonry.runtime.runner":
            print(gc.isenabled())
            raise ImportError(name)
sys.meta_path.insert(0, Finder())
{before}
try:
    boot.be(None, lambda path: None, None, None)
except ImportError:
    print(gc.isenabled())
"""


@pytest.mark.parametrize(("before", "told"), [("", "False True"), ("gc.disable()", "False False")])
def test_no_cycles_are_looked_for_while_a_daemon_imports_itself(before, told):
    done = subprocess.run(
        [sys.executable, "-c", LOOK.format(before=before)], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == told.split()

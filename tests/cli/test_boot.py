"""The beginning of a daemon's process."""

import gc
import subprocess
import sys
from fnmatch import fnmatch

import pytest

# Loads what a daemon needs, and prints what the collector would do with it.
LOADS = """\
import gc, sys
from daemonry.cli import boot
BEFORE
frozen = gc.get_freeze_count() > 0
boot._load_runner()
young = len(gc.get_objects(generation=0))
print(gc.isenabled(), young < 2000, (gc.get_freeze_count() > 0) == frozen)
"""


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="its collector has other generations")
@pytest.mark.parametrize(
    ("before", "said"),
    [
        ("", "True True True"),
        ("gc.disable()", "False False True"),  # a program's collector is its own
        ("gc.freeze()", "True * True"),  # and so is what it has frozen
    ],
)
def test_a_daemons_modules_are_not_looked_through_at_its_next_object(before, said):
    """The collector rests while they are loaded, and would look at all of them afterwards."""
    assert gc.get_threshold()[0] <= 2000
    words = [sys.executable, "-c", LOADS.replace("BEFORE", before)]
    assert fnmatch(subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip(), said)

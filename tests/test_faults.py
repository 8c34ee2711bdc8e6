"""The errors as modules on the quick path name them: the same classes, loaded by the first that is named."""

import subprocess
import sys

import pytest

from daemonry import errors, faults


def test_a_fault_is_the_error_of_that_name():
    classes = {name: one for name, one in vars(errors).items() if isinstance(one, type)}
    assert len(classes) > 40
    for name, one in classes.items():
        assert getattr(faults, name) is one


def test_a_fault_is_looked_up_once():
    first = faults.NotRunning
    assert vars(faults)["NotRunning"] is first


def test_what_is_no_error_is_no_fault():
    with pytest.raises(AttributeError, match=r"module 'daemonry\.faults' has no attribute 'NoSuchError'"):
        _ = faults.NoSuchError


def test_the_errors_are_loaded_by_the_first_that_is_named():
    script = (
        "import sys; from daemonry import faults\n"
        "print('daemonry.errors' in sys.modules)\n"
        "faults.NotRunning\n"
        "print('daemonry.errors' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]

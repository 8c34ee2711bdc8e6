"""What several directories of tests need: another user, a disk that fills up, both event loops.

As root on Linux everything here works; where it cannot, the test is skipped and says why.
"""

import os
import subprocess
import sys

import pytest
from hypothesis import settings

NOBODY = 65534

# No deadline for one example: on a busy machine it measures the machine.
settings.register_profile("daemonry", deadline=None)
settings.load_profile("daemonry")

# Modules are imported before the user is changed: the interpreter may live where only root can read.
_AS_NOBODY = f"""
import encodings.ascii, errno, os, select, signal, socket, stat, sys, time
{{imports}}
os.setgroups([])
os.setresgid({NOBODY}, {NOBODY}, {NOBODY})
os.setresuid({NOBODY}, {NOBODY}, {NOBODY})
{{script}}
"""


@pytest.fixture
def as_nobody():
    """A function that returns the command which runs a script as another user."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")

    def command(script, *arguments, imports=""):
        words = [sys.executable, "-c", _AS_NOBODY.format(imports=imports, script=script)]
        return [*words, *map(str, arguments)]

    return command


@pytest.fixture
def root():
    """Skips unless the test runs as root."""
    if os.geteuid() != 0:
        pytest.skip("needs root")


@pytest.fixture
def on_tiny_disk(tmp_path):
    """A function that runs a script with `disk`, a directory on a file system of its own.

    It has room for a few pages and a few files and is seen by nobody else; the script may call
    `make_read_only()`.  What the script prints is returned.
    """
    probe = subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False)
    if probe.returncode != 0:
        pytest.skip("needs the right to mount: unshare -m")

    def run(script, size="64k", files=32):
        mount = (
            f'mount -t tmpfs -o size={size},nr_inodes={files},mode=700 tmpfs "$1" && exec "$2" -c "$3" "$1"'
        )
        done = subprocess.run(
            ["unshare", "-m", "sh", "-c", mount, "sh", tmp_path, sys.executable, _ON_TINY_DISK + script],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


_ON_TINY_DISK = """
import os, subprocess, sys
disk = sys.argv[1]

def make_read_only():
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)

def fill():
    with open(disk + "/filler", "wb", buffering=0) as filler:
        try:
            while True:
                filler.write(bytes(4096))
        except OSError:
            return

"""

"""What a program without daemonry has to write: a server that is started once, whoever needs it first."""

import fcntl
import os
import subprocess
import sys
import time


def get_or_spawn(program, path):
    """Return once something accepts connections at `path`."""
    if _answers(path):
        return
    with open(f"{path}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _answers(path):
            return
        if os.path.exists(path):
            os.unlink(path)
        with open(f"{path}.log", "ab") as log:
            subprocess.Popen(
                [sys.executable, program, "serve", path],
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        until_s = time.monotonic() + 20
        while not _answers(path):
            if time.monotonic() > until_s:
                raise TimeoutError(path)
            time.sleep(0.01)


def _answers(path):
    import socket

    with socket.socket(socket.AF_UNIX) as sock:
        try:
            sock.connect(path)
        except OSError:
            return False
    return True

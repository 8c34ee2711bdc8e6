"""A job runner by huey with SQLite: `jobs_huey.py submit`, and `huey_consumer jobs_huey.huey`."""

import os
import subprocess
import sys
import time

from huey import SqliteHuey

huey = SqliteHuey(filename=os.environ["JOBS_HUEY"])


@huey.task()
def shell(line):
    return subprocess.run(["/bin/sh", "-c", line], check=True).returncode


def main():
    """Submit a job, or wait until none is left."""
    if sys.argv[1] == "submit":
        # The worker knows a task by its module's name, which is not `__main__`.
        from jobs_huey import shell as task

        task(sys.argv[2])
    while sys.argv[1] == "wait" and huey.result_count() < int(sys.argv[2]):
        time.sleep(0.01)


if __name__ == "__main__":
    main()

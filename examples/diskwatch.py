"""A daemon with settings and a thread of its own: it warns in its log when a disk gets full."""

import os
import shutil
from dataclasses import dataclass

from daemonry import Daemon, Refused


@dataclass
class Settings:
    """What `~/.config/diskwatch/config.toml` may say; each field has a default."""

    path: str = "/"
    every_secs: float = 1.0
    warn_percent: float = 90.0

    def __post_init__(self):
        if not 0 < self.warn_percent <= 100:
            raise ValueError("warn_percent must be above 0 and at most 100")


daemon = Daemon("diskwatch", version="1.0", config=Settings)
seen = {"used_percent": None, "full": False}


@daemon.setup
def prepare(run):
    check(run.config)


@daemon.work
def watch(run):  # not `async`: it has a thread of its own, and may block there
    while run.wait_running_in_thread():
        usage = shutil.disk_usage(run.config.path)
        used_percent = round(100 * usage.used / usage.total, 1)
        full = used_percent >= run.config.warn_percent
        if full and not seen["full"]:
            run.log.warning("%s is %g %% full", run.config.path, used_percent)
        seen.update(used_percent=used_percent, full=full)
        run.sleep_in_thread(run.config.every_secs)


@daemon.status
def fields():
    return seen


@daemon.on_pause
def forget():
    seen["used_percent"] = None  # an old number would look like a new one


@daemon.on_resume
def begin_again():
    seen["full"] = False  # so that a disk that is still full is told once more


@daemon.on_reload
def check(new):
    if not os.path.isdir(new.path):
        raise Refused(f"path: there is no directory {new.path}")


if __name__ == "__main__":
    daemon.main()

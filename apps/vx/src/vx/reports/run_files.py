"""The reports on the disk: `.vx/runs/ID.json`, and `latest`, which holds the id of the newest.

Owns writing them whole or not at all, reading them in spite of what may be there, and keeping not
too many.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import Final

import msgspec

from daemonry import open_regular
from vx import directories
from vx.reports.report import FORMAT, RunReport
from vx.reports.ulid import is_ulid

KEPT: Final = 50
# Of a project with thousands of sources a report has megabytes; the newest is kept in any case.
KEPT_BYTES: Final = 64 << 20
LATEST: Final = "latest"
_VX: Final = ".vx"
_RUNS: Final = f"{_VX}/runs"

_encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(RunReport)


def runs_dir(project_dir: str) -> str:
    """Return where a project's reports are."""
    return f"{project_dir}/{_RUNS}"


def write(project_dir: str, report: RunReport, umask: int = 0o022) -> str:
    """Write a report, make it the latest, remove those that are too old, and return its path.

    Raises:
        OSError: it cannot be written.
    """
    make_vx_dir(project_dir, umask)
    with directories.opened(project_dir, _RUNS, umask) as folder:
        try:
            _write(folder, f"{report.id}.json", _encode(report) + b"\n", umask)
            _write(folder, LATEST, f"{report.id}\n".encode(), umask)
            _prune(folder, report.same_as)
        except OSError as error:  # names the file as the open folder has it, and one of a name of its own
            raise OSError(error.errno, error.strerror, runs_dir(project_dir)) from None
    return f"{runs_dir(project_dir)}/{report.id}.json"


def is_there(project_dir: str, run_id: str) -> bool:
    """Whether a run's report is there."""
    return os.path.isfile(f"{runs_dir(project_dir)}/{run_id}.json")


def make_vx_dir(project_dir: str, umask: int = 0o022) -> None:
    """Make a project's `.vx`, with a file that has version control leave it out.

    Raises:
        OSError: it cannot be made, is a symbolic link, or nothing can be put into it.
    """
    is_new = not os.path.lexists(f"{project_dir}/{_VX}")
    with directories.opened(project_dir, _VX, umask) as folder:
        if is_new:
            try:
                _write(folder, ".gitignore", b"*\n", umask)
            except OSError:
                with suppress(OSError):  # or the next run would take it for one that has the file
                    os.rmdir(f"{project_dir}/{_VX}")
                raise
        elif not os.access(".", os.W_OK | os.X_OK, dir_fd=folder):
            reason = errno.EROFS if os.fstatvfs(folder).f_flag & os.ST_RDONLY else errno.EACCES
            raise OSError(reason, os.strerror(reason), f"{project_dir}/{_VX}")


def ids(project_dir: str) -> list[str]:
    """Return the ids of a project's runs, the newest first."""
    return _ids(runs_dir(project_dir))


def read(project_dir: str, run_id: str) -> RunReport | None:
    """Return a report, or None if it is gone, damaged, or of another version's form.

    The actions of one that is the same as an earlier one are the earlier one's.
    """
    report = _read(project_dir, run_id)
    if report is None or not report.same_as:
        return report
    first = _read(project_dir, report.same_as) if is_ulid(report.same_as) else None
    return msgspec.structs.replace(report, actions=first.actions) if first is not None else None


def _read(project_dir: str, run_id: str) -> RunReport | None:
    try:
        with open(open_regular(f"{runs_dir(project_dir)}/{run_id}.json"), "rb") as file:
            report = _decoder.decode(file.read())
    except (OSError, msgspec.DecodeError, msgspec.ValidationError):
        return None
    return report if report.format == FORMAT else None


def read_all(project_dir: str) -> list[RunReport]:
    """Return the reports that can be read, the newest first."""
    return [report for one in ids(project_dir) if (report := read(project_dir, one)) is not None]


def _write(folder: int, name: str, data: bytes, umask: int) -> None:
    """Replace a file, with the permissions that the caller's own umask gives, whatever ours is.

    Not durable: a report that a power cut took is one run of which nobody asks any more.
    """

    def fill(fd: int) -> None:
        with open(fd, "wb", closefd=False) as file:
            file.write(data)

    directories.replace(folder, name, 0o666 & ~umask, fill)


def _ids(folder: str | int) -> list[str]:
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    return sorted(
        (name[:-5] for name in names if name.endswith(".json") and is_ulid(name[:-5])), reverse=True
    )


def _prune(folder: int, needed: str) -> None:
    total_bytes = 0
    for number, run_id in enumerate(_ids(folder)):
        name = f"{run_id}.json"
        try:
            total_bytes += os.stat(name, dir_fd=folder, follow_symlinks=False).st_size
            if run_id != needed and (number >= KEPT or (number and total_bytes > KEPT_BYTES)):
                os.unlink(name, dir_fd=folder)
        except OSError:
            pass  # another build removes them, too

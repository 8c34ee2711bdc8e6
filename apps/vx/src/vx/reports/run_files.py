"""The reports on the disk: `.vx/runs/ID.json`, and `latest`, which holds the id of the newest.

Owns writing them whole or not at all, reading them in spite of what may be there, and keeping not
too many.
"""

from __future__ import annotations

import os
import secrets
from typing import Final

import msgspec

from daemonry import open_regular
from vx.directories import make_dirs
from vx.reports.report import FORMAT, RunReport
from vx.reports.ulid import is_ulid

KEPT: Final = 50
# Of a project with thousands of sources a report has megabytes; the newest is kept in any case.
KEPT_BYTES: Final = 64 << 20
LATEST: Final = "latest"

_encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(RunReport)


def runs_dir(project_dir: str) -> str:
    """Return where a project's reports are."""
    return f"{project_dir}/.vx/runs"


def write(project_dir: str, report: RunReport, umask: int = 0o022) -> str:
    """Write a report, make it the latest, remove what is too old, and return its path.

    Raises:
        OSError: it cannot be written.
    """
    folder = runs_dir(project_dir)
    if not os.path.isdir(folder):
        make_vx_dir(project_dir, umask)
        make_dirs(folder, umask)
    path = f"{folder}/{report.id}.json"
    _write(path, _encode(report) + b"\n", umask)
    _write(f"{folder}/{LATEST}", f"{report.id}\n".encode(), umask)
    _prune(folder)
    return path


def make_vx_dir(project_dir: str, umask: int = 0o022) -> None:
    """Make a project's `.vx`, which version control is told to leave out.

    Raises:
        OSError: it cannot be made.
    """
    folder = f"{project_dir}/.vx"
    if not os.path.isdir(folder):
        make_dirs(folder, umask)
        _write(f"{folder}/.gitignore", b"*\n", umask)


def ids(project_dir: str) -> list[str]:
    """Return the ids of a project's runs, the newest first."""
    return _ids(runs_dir(project_dir))


def read(project_dir: str, run_id: str) -> RunReport | None:
    """Return a report, or None if it is gone, damaged, or of another version's form."""
    try:
        with open(open_regular(f"{runs_dir(project_dir)}/{run_id}.json"), "rb") as file:
            report = _decoder.decode(file.read())
    except (OSError, msgspec.DecodeError, msgspec.ValidationError):
        return None
    return report if report.format == FORMAT else None


def read_all(project_dir: str) -> list[RunReport]:
    """Return the reports that can be read, the newest first."""
    return [report for one in ids(project_dir) if (report := read(project_dir, one)) is not None]


def _write(path: str, data: bytes, umask: int) -> None:
    """Replace a file, with the permissions that the caller's own umask gives, whatever ours is.

    Not durable: a report that a power cut took is one run of which nobody asks any more.
    """
    aside = f"{path}.{secrets.token_hex(6)}.tmp"
    fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(fd, "wb") as file:
            file.write(data)
            os.fchmod(fd, 0o666 & ~umask)
        os.rename(aside, path)
    except BaseException:
        os.unlink(aside)
        raise


def _ids(folder: str) -> list[str]:
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    return sorted(
        (name[:-5] for name in names if name.endswith(".json") and is_ulid(name[:-5])), reverse=True
    )


def _prune(folder: str) -> None:
    total_bytes = 0
    for number, run_id in enumerate(_ids(folder)):
        path = f"{folder}/{run_id}.json"
        try:
            total_bytes += os.stat(path).st_size
            if number >= KEPT or (number and total_bytes > KEPT_BYTES):
                os.unlink(path)
        except OSError:
            pass  # another build removes them, too

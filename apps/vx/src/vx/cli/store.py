"""`vx clean`, `vx verify`, `vx gc`: the commands that remove and check.

Owns the rule that only `clean --store` removes the store, and only of a home that is at rest.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import shutil

import daemonry
from daemonry import Instance, stop
from daemonry.cli import kit
from vx import home
from vx.cli.bring_up import reach
from vx.cli.failures import home_trouble

_DAMAGED = 1
_FAILED = 1
_USAGE = 2
_STOP_TIMEOUT_S = 20.0
# Reading a whole store takes as long as its disk does.
_GC_TIMEOUT_S = 600.0
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def clean(options: argparse.Namespace) -> int:
    """Do `vx clean`."""
    trouble = home_trouble() if options.store else None
    if trouble is not None:
        raise home.HomeInvalid(trouble)
    project = _project_here()
    if project is not None:
        _remove(f"{project}/.vx")
        kit.say(f"vx: removed {kit.printable(project)}/.vx")
    elif not options.store:
        kit.say("vx: nothing to clean here")
    return _clean_store() if options.store else 0


def _clean_store() -> int:
    try:
        stop(Instance(home.place(home.AETHER)), timeout_s=_STOP_TIMEOUT_S)
    except daemonry.errors.NotRunning:
        pass
    if Instance(home.place(home.CASS)).lock_held():
        kit.complain(f"vx: a cass that aether does not own uses the store {home.store_dir()}: end it first")
        return _FAILED
    removed = False
    with contextlib.suppress(FileNotFoundError):
        os.unlink(home.known_path())
    for folder in (home.store_dir(), home.scratch_dir()):
        if os.path.isdir(folder):
            _remove(folder)
            kit.say(f"vx: removed {kit.printable(folder)}")
            removed = True
    if not removed:
        kit.say(f"vx: no store in {kit.printable(home.home_dir())}")
    return 0


def _remove(folder: str) -> None:
    if os.path.islink(folder):
        raise OSError(errno.ELOOP, "is a symbolic link, which is not followed: remove it", folder)
    try:
        shutil.rmtree(folder)
    except OSError as error:  # names the innermost file alone, as it was seen from its directory
        raise OSError(error.errno, f"cannot be removed: {error.strerror}", folder) from error


def _project_here() -> str | None:
    above = os.getcwd()
    while not os.path.isdir(f"{above}/.vx/runs"):
        parent = os.path.dirname(above)
        if parent == above:
            return None
        above = parent
    return above


def verify(options: argparse.Namespace) -> int:
    """Do `vx verify`."""
    if options.rebuild is not None:
        from vx.cli.rebuilding import rebuild

        return rebuild(options)
    damaged = 0
    with reach(spawn=not options.no_spawn) as client:
        for step in client.stream("org.daemonry.vx.Aether.Verify", idle_s=_GC_TIMEOUT_S):
            found = step.get("damaged")
            if found:
                damaged += 1
                if options.json:
                    kit.say_json(found)
                else:
                    kit.say(
                        f"damaged {found['kind']} {found['name']}: {kit.printable(found['reason'])}"
                        f"; kept at {kit.printable(found['kept_at'])}"
                    )
            last = step
    if options.json:
        kit.say_json(
            {"ok": not damaged, "damaged": damaged, **{k: last[k] for k in ("blobs", "manifests", "size")}}
        )
    else:
        kit.say(
            f"vx: {last['blobs']} blobs and {last['manifests']} manifests, {last['size']} bytes: "
            + (f"{damaged} damaged, set aside; the next build makes them again" if damaged else "all whole")
        )
    return _DAMAGED if damaged else 0


def collect(options: argparse.Namespace) -> int:
    """Do `vx gc`."""
    parameters: dict[str, object] = {"dry_run": options.dry_run}
    if options.max_size is not None:
        limit = size_of(options.max_size)
        if limit is None:
            kit.complain(f"vx: --max-size is {options.max_size!r}, and not a size such as 500M or 2G")
            return _USAGE
        parameters["max_bytes"] = limit
    with reach(spawn=not options.no_spawn) as client:
        told = client.call("org.daemonry.vx.Aether.Gc", parameters, timeout_s=_GC_TIMEOUT_S)
    if options.json:
        kit.say_json(told)
        return 0
    would = "would remove" if options.dry_run else "removed"
    kit.say(
        f"vx: {would} {told['removed']} blobs and manifests, {told['removed_bytes']} bytes;"
        f" {told['kept_bytes']} bytes are left"
    )
    if told["held"]:
        kit.say(f"  held by builds: {told['held']}")
    return 0


def size_of(text: str) -> int | None:
    """Return how many bytes a text such as 500M says; None where it says none."""
    text = text.strip().upper().removesuffix("B").removesuffix("I")
    digits, unit = (text[:-1], text[-1]) if text and text[-1] in _UNITS else (text, "")
    try:
        number = float(digits)
    except ValueError:
        return None
    return int(number * _UNITS[unit]) if 0 <= number < 1e15 else None

"""`vx install`: builds, and puts what was made below a prefix.

Owns what goes where: what `[install]` in vx.toml says, or else programs in `bin` and libraries in `lib`.
Each file appears whole, in place of an earlier one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, NamedTuple

from daemonry.cli import kit
from vx import digests
from vx.aether.placing import place
from vx.cli import build

_FAILED = 1
_USAGE = 2
_LIBRARIES = (".a", ".so", ".rlib", ".dylib", ".lib")
# Outputs that are programs for this build's own sake.
_OWN_PROGRAMS = ("tests/", "examples/", "benches/")


class _Put(NamedTuple):
    """A file to put.

    Attributes:
        source: where it is.
        folder: below the prefix.
        executable: whether it may be run.
    """

    source: str
    folder: str
    executable: bool


def install(asked: build.BuildArguments, prefix: str) -> int:
    """Do `vx install`; return the exit code."""
    if not prefix.startswith("/"):
        kit.complain(f"vx: --prefix {kit.printable(prefix)!r} is not an absolute path")
        return _USAGE
    ended: list[dict[str, Any]] = []

    def end(_: build.BuildArguments, event: dict[str, Any]) -> int:
        ended.append(event)
        return 0

    build.built(asked, build.parameters_of(asked), end)
    (event,) = ended
    if not event.get("success", False):
        kit.complain(f"vx: {kit.printable(event.get('text', ''))}")
        return int(event.get("code", 0)) or _FAILED
    umask = os.umask(0o022)
    os.umask(umask)
    base = os.environ.get("DESTDIR", "") + prefix
    from vx.project.errors import ProjectInvalid

    try:
        paths = [_put(one, base, umask) for one in _wanted(event.get("outputs", []))]
    except ProjectInvalid as error:
        kit.complain(f"vx: {kit.printable(str(error))}")
        return _FAILED
    if asked.json:
        kit.say_json({"ok": True, "paths": paths})
    elif not asked.quiet:
        for path in paths:
            kit.say(f"installed: {kit.printable(path)}")
    return 0


def _wanted(outputs: list[str]) -> Iterator[_Put]:
    """Return the files to put.

    Raises:
        OSError: what `[install]` names is not there.
    """
    if not outputs:
        return
    project, _, inside = outputs[0].partition("/.vx/build/")
    folder = f"{project}/.vx/build/{'/'.join(inside.split('/')[:2])}"
    made = {path.removeprefix(f"{folder}/"): path for path in outputs}
    if os.path.exists(f"{project}/vx.toml"):
        from vx.project import c_files

        stated = c_files.installed(project, made)
        if stated is not None:
            for below, paths in stated.items():
                for path in paths:
                    yield _Put(path, below, os.access(path, os.X_OK) and not path.endswith(_LIBRARIES))
            return
    for name, path in made.items():
        if name.endswith(_LIBRARIES):
            yield _Put(path, "lib", executable=False)
        elif not name.startswith(_OWN_PROGRAMS) and os.access(path, os.X_OK):
            yield _Put(path, "bin", executable=True)


def _put(one: _Put, base: str, umask: int) -> str:
    folder, name = f"{base}/{one.folder}", os.path.basename(one.source)
    os.makedirs(folder, exist_ok=True)
    # Links are followed: the prefix is the caller's own, and `man` may be one to `share/man`.
    above, last = os.path.split(os.path.realpath(folder))
    fd = digests.open_file(one.source)
    try:
        place(fd, above, f"{last}/{name}", executable=one.executable, umask=umask)
    finally:
        os.close(fd)
    return f"{folder}/{name}"

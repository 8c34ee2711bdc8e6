"""Restarting services when files change that they are made of.

Owns which files are meant and waiting for their changes, by watchfiles of the extra `watch`.  The restart
is `fleet`'s.
"""

from __future__ import annotations

import fnmatch
import logging
import os
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

logger: logging.Logger = logging.getLogger("daemonry.home")

# Files that editors, interpreters and tools write beside those that are meant, and folders of such files.
_NEVER: Final = ("*.pyc", "*~", ".*.sw?", "*.tmp", "4913")
_FOLDERS_NEVER: Final = frozenset((".git", ".hg", "__pycache__", "node_modules", ".venv", ".mypy_cache"))
# Many changes that belong together, such as a checkout's, are one.
_STEP_MS: Final = 100
_QUIET_MS: Final = 300


def is_installed() -> bool:
    """Whether changes can be waited for."""
    try:
        import watchfiles  # noqa: F401  # the question
    except ImportError:
        return False
    return True


def is_meant(path: str, directory: str, patterns: Iterable[str]) -> bool:
    """Whether a path below a directory is one of `patterns`, relative to it; `*` stands for folders too."""
    relative = os.path.relpath(path, directory)
    *folders, name = relative.split(os.sep)
    if _FOLDERS_NEVER & {*folders} or any(fnmatch.fnmatchcase(name, one) for one in _NEVER):
        return False
    return any(_matches(relative, one) for one in patterns)


def _matches(relative: str, pattern: str) -> bool:
    pattern = os.path.normpath(pattern)
    if fnmatch.fnmatchcase(relative, pattern) or relative.startswith(f"{pattern}/"):
        return True
    return "**/" in pattern and fnmatch.fnmatchcase(relative, pattern.replace("**/", ""))


async def restart_at_changes(
    name: str, directory: str, patterns: tuple[str, ...], restart: Callable[[str], Awaitable[None]]
) -> None:
    """Call `restart` with what changed, after each change of the files that are meant; never returns.

    Args:
        name: the service, for the log.
        directory: where the patterns begin.
        patterns: files, folders and patterns of them.
        restart: given the names of some of them.
    """
    import asyncio

    from watchfiles import awatch

    def chosen(_: object, path: str) -> bool:
        return is_meant(path, directory, patterns)

    while True:
        try:
            async for changes in awatch(
                directory,
                watch_filter=chosen,
                debounce=1600,
                step=_STEP_MS,
                recursive=True,
                stop_event=None,
                rust_timeout=0,
                yield_on_timeout=False,
            ):
                paths = sorted({path.removeprefix(f"{directory}/") for _, path in changes})
                await asyncio.sleep(_QUIET_MS / 1000)
                await restart(", ".join(paths[:3]) + (" ..." if len(paths) > 3 else ""))
        except (OSError, RuntimeError) as error:  # the folder went, or there are no watches left
            logger.error("%s: changes of its files are not seen: %s", name, error)
            await asyncio.sleep(60.0)

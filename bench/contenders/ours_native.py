"""The daemon and the clients of `ours`, in processes that have the native part."""

from __future__ import annotations

from typing import Any

import ours

from daemonry.native_calls import calls

if calls is None:
    raise ImportError("daemonry_native is not installed")


def serve(path: str) -> None:
    """Be a daemon beside that of `ours` until it is ended."""
    ours.serve(path, "bench-native")


def __getattr__(name: str) -> Any:
    return getattr(ours, name)

"""Names of files in a home that its commands need, also those that start fast."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

FILE_NAME: Final = "home.toml"
# The supervisor's own files have this name; no service may.
RESERVED: Final = "home"

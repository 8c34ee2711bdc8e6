"""The version of daemonry: apart from the package's public names, so that our own modules can read it."""

from __future__ import annotations

__version__ = "0.1.0"

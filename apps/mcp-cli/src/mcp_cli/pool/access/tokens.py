"""OAuth tokens on the disk: one file for each server, mode 0600.

Owns the files.  Their content is the SDK's, and two things that it does not keep: when the access token
expires, and where the authorization server has its endpoints.  Without them a token is
never refreshed after a restart.
"""

from __future__ import annotations

import contextlib
import hashlib
import os

import msgspec

from daemonry import read_regular, write_atomically

# Tokens and what a server says of itself; real ones have a few KiB.
MAX_FILE_BYTES = 1 << 20


class StoredTokens(msgspec.Struct, omit_defaults=True):
    """The content of one server's file.

    Attributes:
        url: the server's.
        tokens, client, metadata: as the SDK writes them, JSON.
        expires_at: of the access token, on the wall clock; 0 for unknown.
        redirect_uri: which the client was registered with.
    """

    url: str
    tokens: str = ""
    client: str = ""
    metadata: str = ""
    expires_at: float = 0.0
    redirect_uri: str = ""


def directory() -> str:
    """Return where the files are."""
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return os.path.join(state, "mcp-cli", "tokens")


def _path(url: str) -> str:
    return os.path.join(directory(), hashlib.sha256(url.encode()).hexdigest()[:32] + ".json")


def load(url: str) -> StoredTokens:
    """Return the tokens of a server; nothing where there is no file, or where it cannot be understood."""
    try:
        return msgspec.json.decode(read_regular(_path(url), MAX_FILE_BYTES), type=StoredTokens)
    except (OSError, msgspec.MsgspecError):
        return StoredTokens(url)


def save(kept: StoredTokens) -> None:
    """Keep it.

    Raises:
        OSError: it cannot be written.
    """
    os.makedirs(directory(), mode=0o700, exist_ok=True)
    write_atomically(_path(kept.url), msgspec.json.encode(kept), mode=0o600)


def forget(url: str) -> bool:
    """Delete the tokens of a server; whether there was anything."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_path(url))
        return True
    return False


def port_of(uri: str) -> int:
    """Return the port of a redirect URI; 0 for none."""
    from urllib.parse import urlsplit

    with contextlib.suppress(ValueError):
        return urlsplit(uri).port or 0
    return 0

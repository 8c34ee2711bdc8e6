"""OAuth tokens of servers, in one file each, mode 0600, or in the desktop's keyring.

Owns where they are, and the lock under which they are renewed.  Their content is the SDK's, and three
things that it does not keep: when the access token expires, where the authorization server has its endpoints,
and which resource the token is for.  Without them a token is never refreshed after a restart, or for another
resource.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import os
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Final

import msgspec

from daemonry import open_regular, read_regular, write_atomically
from mcp_cli.names import CODE, FILES, KEYRING

if TYPE_CHECKING:
    from mcp_cli.protocol.interfaces import Server

# Tokens and what a server says of itself; real ones have a few KiB.
MAX_FILE_BYTES = 1 << 20

_KEYRING_SERVICE: Final = "mcp-cli"

# A renewal asks one server three things at most, each bounded; a longer wait ends without the lock.
LOCK_S: Final = 45.0
_LOCK_TRY_S: Final = 0.05


class StoreFailed(Exception):
    """The tokens' place cannot be used; its text says why."""


class StoredTokens(msgspec.Struct, omit_defaults=True):
    """The stored tokens of one access.

    Attributes:
        url: what they are stored by, as `key_of` has it: the server's URL, where no client is configured.
        tokens, client, metadata, resource: as the SDK writes them, JSON.
        expires_at: of the access token, on the wall clock; 0 for unknown.
        redirect_uri: which the client was registered with.
    """

    url: str
    tokens: str = ""
    client: str = ""
    metadata: str = ""
    expires_at: float = 0.0
    redirect_uri: str = ""
    resource: str = ""


def directory() -> str:
    """Return where the files are."""
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return os.path.join(state, "mcp-cli", "tokens")


def key_of(server: Server) -> str:
    """Return what a server's tokens are stored by: a machine's are not a person's at the same URL."""
    if not server.oauth_client_id:
        return server.url
    return f"{server.url} {server.oauth_grant or CODE} {server.oauth_client_id}"


def _path(url: str) -> str:
    return os.path.join(directory(), hashlib.sha256(url.encode()).hexdigest()[:32] + ".json")


def load(url: str, place: str = FILES) -> StoredTokens:
    """Return the tokens of a server; nothing where there are none, or where they cannot be understood.

    Raises:
        StoreFailed: the keyring cannot be used.
    """
    try:
        text = _ring_get(url) if place == KEYRING else read_regular(_path(url), MAX_FILE_BYTES)
        return msgspec.json.decode(text, type=StoredTokens)
    except (OSError, msgspec.MsgspecError):
        return StoredTokens(url)


def save(kept: StoredTokens, place: str = FILES) -> None:
    """Keep it.

    Raises:
        OSError: the file cannot be written.
        StoreFailed: the keyring cannot be used.
    """
    if place == KEYRING:
        _ring_set(kept.url, msgspec.json.encode(kept).decode())
        return
    os.makedirs(directory(), mode=0o700, exist_ok=True)
    write_atomically(_path(kept.url), msgspec.json.encode(kept), mode=0o600)


def forget(url: str, place: str = FILES) -> bool:
    """Delete the tokens of a server; whether there was anything.

    Raises:
        StoreFailed: the keyring cannot be used.
    """
    if place == KEYRING:
        if not _ring_get(url):
            return False
        _asked(lambda ring: ring.delete_password(_KEYRING_SERVICE, url))
        return True
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_path(url))
        return True
    return False


@contextlib.asynccontextmanager
async def renewing(url: str) -> AsyncIterator[None]:
    """Hold the lock under which one process at a time renews a server's tokens.

    An authorization server that rotates refresh tokens takes a second use of one for theft, and ends
    the access.  A process that hangs with the lock holds nobody up for longer than `LOCK_S`.
    """
    try:
        os.makedirs(directory(), mode=0o700, exist_ok=True)
        descriptor = open_regular(_path(url) + ".lock", os.O_CREAT | os.O_RDWR)
    except OSError:  # where nothing can be stored, nobody else's tokens can be found either
        yield
        return
    try:
        until = time.monotonic() + LOCK_S
        while time.monotonic() < until:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                await asyncio.sleep(_LOCK_TRY_S)
        yield
    finally:
        os.close(descriptor)


def port_of(uri: str) -> int:
    """Return the port of a redirect URI; 0 for none."""
    from urllib.parse import urlsplit

    with contextlib.suppress(ValueError):
        return urlsplit(uri).port or 0
    return 0


# --- the keyring --------------------------------------------------------------------------------


def _ring_get(url: str) -> str:
    return str(_asked(lambda ring: ring.get_password(_KEYRING_SERVICE, url)) or "")


def _ring_set(url: str, text: str) -> None:
    _asked(lambda ring: ring.set_password(_KEYRING_SERVICE, url, text))


def _asked(question: Any) -> Any:
    """Ask the keyring.

    Raises:
        StoreFailed: it is not installed, there is none here, or it is locked.
    """
    try:
        import keyring
    except ImportError:
        raise StoreFailed("the keyring needs the extra: pip install 'mcp-cli[keyring]'") from None
    try:
        return question(keyring)
    except Exception as error:  # noqa: BLE001  # a backend's own errors, of whatever library it uses
        raise StoreFailed(f"the keyring cannot be used: {str(error) or type(error).__name__}") from None

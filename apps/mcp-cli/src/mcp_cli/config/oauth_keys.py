"""The key `oauth` of a configuration, read: how a server over HTTP is given tokens.

    oauth = false
    oauth = { client_id = "...", client_secret = "${SECRET}", scopes = ["read"], issuer = "https://..." }
    oauth = { grant = "client_credentials", client_id = "...", key_file = "~/k.pem", issuer = "https://..." }

Owns its keys, and which of them go together.  Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from daemonry.typed_toml import ConfigText, KeyPath
from mcp_cli.names import ASSERTION, CODE, CREDENTIALS, FILES, GRANTS, KEYRING

_TEXTS: Final = ("grant", "client_id", "client_secret", "client_metadata_url", "issuer", "key_file", "store")
_LISTS: Final = ("scopes", "assertion_command")
OAUTH_KEYS: Final = (*_TEXTS, *_LISTS)
# How a machine proves itself; it has one of them.
_PROOFS: Final = ("client_secret", "key_file", "assertion_command")


def oauth_fields(source: ConfigText, table: Mapping[str, Any], where: KeyPath) -> dict[str, Any]:
    """Return the fields of a `ServerConfig` that the key `oauth` of a transport stands for.

    Raises:
        ConfigError: it is neither true, false nor a table, or its keys do not go together.
    """
    said = table.get("oauth", True)
    if isinstance(said, bool):
        return {"oauth": said}
    inside = (*where, "oauth")
    if not isinstance(said, dict):
        raise source.error(inside, "is not true, false or a table")
    source.refuse_unknown(said, OAUTH_KEYS, inside)
    for key in (*_TEXTS, *_LISTS):
        if key in said and not _fits(said[key], is_list=key in _LISTS):
            kind = "a list of strings" if key in _LISTS else "a string"
            raise source.error((*inside, key), f"is not {kind}")
    _check_words(source, said, inside)
    _check_grant(source, said, inside)
    return {
        f"oauth_{key}": tuple(said[key]) if key in _LISTS else said[key]
        for key in OAUTH_KEYS
        if said.get(key)
    }


def _fits(value: Any, *, is_list: bool) -> bool:
    if not is_list:
        return isinstance(value, str)
    return isinstance(value, list) and all(isinstance(one, str) and "\0" not in one for one in value)


def _check_words(source: ConfigText, said: Mapping[str, Any], inside: KeyPath) -> None:
    grant, store = said.get("grant", CODE), said.get("store", FILES)
    if grant not in GRANTS:
        raise source.error((*inside, "grant"), f"{grant!r} is not one of {', '.join(GRANTS)}")
    if store not in (FILES, KEYRING):
        raise source.error((*inside, "store"), f"{store!r} is neither {FILES!r} nor {KEYRING!r}")
    issuer = said.get("issuer", "")
    if issuer and not issuer.startswith(("https://", "http://", "${")):
        raise source.error((*inside, "issuer"), "is not a URL")
    document = said.get("client_metadata_url", "")
    # A client metadata document's URL is the client's name, and one host may have several.
    if document and (not document.startswith("https://") or urlsplit(document).path in ("", "/")):
        raise source.error((*inside, "client_metadata_url"), "is not an https URL with a path")


def _check_grant(source: ConfigText, said: Mapping[str, Any], inside: KeyPath) -> None:
    grant = said.get("grant", CODE)
    if grant == CODE:
        misplaced = next((key for key in ("key_file", "assertion_command") if said.get(key)), None)
        if misplaced:
            raise source.error((*inside, misplaced), f'goes with grant = "{CREDENTIALS}" or "{ASSERTION}"')
        return
    # Without the issuer the server itself would choose who gets to see the secret.
    needed = ["client_id", "issuer"]
    if grant == ASSERTION:
        needed += ["client_secret", "assertion_command"]
    missing = [key for key in needed if not said.get(key)]
    if missing:
        raise source.error((*inside, "grant"), f"{grant!r} needs {' and '.join(missing)}")
    if grant == CREDENTIALS and sum(bool(said.get(key)) for key in _PROOFS) != 1:
        raise source.error((*inside, "grant"), f"{grant!r} needs one of {', '.join(_PROOFS)}")

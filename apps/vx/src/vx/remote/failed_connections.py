"""Why a connection could not be made, in words that name the setting to change.

gRPC reports TLS in the words of its library ("error:1000007d:SSL routines:...").  Owns the table from those
to ours.  Pure.
"""

from __future__ import annotations

import re
from typing import Final

_NO_CONNECTION: Final = "failed to connect to all addresses"
# Before the library's own words: an address, and gRPC's name of an error.
_LAST: Final = re.compile(
    rf"{_NO_CONNECTION}; last error: [A-Z_]+: (?:ipv[46]:[^ ]*|unix:[^ ]*): (.*)", re.DOTALL
)
_UNTRUSTED: Final = re.compile(r"CERTIFICATE_VERIFY_FAILED: ([a-z ]+)")
# How a server of OpenSSL refuses our certificate, or none: an alert behind the handshake (TLS 1.3), or in it.
_REFUSED: Final = re.compile(
    r"Unwrap failed|_ALERT_(?:HANDSHAKE_FAILURE|CERTIFICATE_REQUIRED|BAD_CERTIFICATE|UNKNOWN_CA)"
)
_WANTS_ANOTHER: Final = (
    "it closes the connection: it may want another client certificate (tls-certificate, tls-key)"
)
_EXPIRED: Final = ("certificate has expired", "certificate is not yet valid")


def in_words(details: str, *, tls: bool) -> str:
    """Return gRPC's details of a failed call, in other words where they are about the connection.

    Args:
        details: of the call.
        tls: whether TLS is spoken.
    """
    if not details.startswith(_NO_CONNECTION):
        return details
    untrusted = _UNTRUSTED.search(details)
    if untrusted is not None and untrusted[1].strip() in _EXPIRED:
        return f"its {untrusted[1].strip()}"
    if untrusted is not None:
        return f"its certificate is not trusted ({untrusted[1].strip()}): tls-ca names whom to trust"
    if "Hostname Verification Check failed" in details:
        return "its certificate is for another host"
    if "Failed to create security handshaker" in details:
        return "tls-ca, tls-certificate or tls-key is not a PEM file of that kind, or the key is another's"
    if "WRONG_VERSION_NUMBER" in details:
        return "it does not speak TLS: grpc:// in place of grpcs://"
    if "Failed parsing HTTP/2" in details:
        return "what answers there does not speak gRPC: a proxy, or another server"
    if details.rstrip().endswith("Socket closed") or "Connection reset by peer" in details:
        return _WANTS_ANOTHER if tls else "it closes the connection: it may speak TLS (grpcs://)"
    if _REFUSED.search(details):
        return _WANTS_ANOTHER
    last = _LAST.match(details)
    return last[1] if last is not None else details

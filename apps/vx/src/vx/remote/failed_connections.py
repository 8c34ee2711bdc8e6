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
    if details.rstrip().endswith("Socket closed"):
        if tls:
            return (
                "it closes the connection: it may want another client certificate (tls-certificate, tls-key)"
            )
        return "it closes the connection: it may speak TLS (grpcs://)"
    last = _LAST.match(details)
    return last[1] if last is not None else details

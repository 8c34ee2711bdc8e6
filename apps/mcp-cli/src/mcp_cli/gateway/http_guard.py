"""Who may send a request to `mcp-cli serve --http`: decided from its headers alone.

Owns the rules and no I/O.  On loopback every user of the machine can connect, and every page that a browser
shows can have it send requests.  So a request carries the token; one that a page could have sent, or that
came by a name which was made to point here (DNS rebinding), is refused even with it.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from typing import Final

_LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")
_BEARER: Final = "bearer "


class HttpRefusal(Exception):  # an answer, not an error
    """An answer instead of a result.

    Attributes:
        status: of HTTP.
        why: one sentence.
        wrong_token: whether a token was presented that is not the right one.
    """

    def __init__(self, status: int, why: str, *, wrong_token: bool = False) -> None:
        super().__init__(why)
        self.status = status
        self.why = why
        self.wrong_token = wrong_token


def check_origin(headers: Iterable[tuple[str, str]], port: int) -> None:
    """Raise Refusal for a request that is not addressed to us, or may come from a foreign page.

    Args:
        headers: names in lower case, and values.
        port: where we listen.
    """
    fields = list(headers)
    hosts = [value for name, value in fields if name == "host"]
    if len(hosts) != 1 or not _is_ours(hosts[0], port):
        raise HttpRefusal(421, "this host is not served here")
    for name, value in fields:
        if name == "origin" and not (value.startswith("http://") and _is_ours(value[7:], port)):
            raise HttpRefusal(403, "pages of other sites are not served")


def _is_ours(authority: str, port: int) -> bool:
    """Whether it is exactly a name of loopback with our port."""
    names = {f"{host}:{port}" for host in _LOOPBACK} | (set(_LOOPBACK) if port == 80 else set())
    return authority.lower() in names


def check_token(headers: Iterable[tuple[str, str]], token: str, where: str) -> None:
    """Raise Refusal for a request without the token.

    Args:
        headers: names in lower case, and values.
        token: the token that it has to carry.
        where: the file that the token is in, for who may read it.
    """
    given = [value for name, value in headers if name == "authorization"]
    if len(given) == 1 and given[0][: len(_BEARER)].lower() == _BEARER:
        presented = given[0][len(_BEARER) :].strip()
        if hmac.compare_digest(presented.encode("utf-8", "replace"), token.encode("ascii")):
            return
    why = f"a request carries the header `Authorization: Bearer TOKEN`; the token is in {where}"
    raise HttpRefusal(401, why, wrong_token=bool(given))


def check_request(path: str, method: str, content_type: str) -> None:
    """Raise Refusal for a request that carries no message, or goes to another path."""
    if path.rstrip("/") not in ("", "/mcp"):
        raise HttpRefusal(404, "POST to /mcp")
    if method != "POST":
        raise HttpRefusal(405, "the only streams are those of requests")
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise HttpRefusal(415, "messages are application/json")

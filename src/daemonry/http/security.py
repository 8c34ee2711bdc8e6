"""Who may ask over TCP: by `Host`, by where a page comes from, and by token.

Owns the decisions; acting on them is `guard`'s.  Pure.

A browser sends requests for any page to any address, loopback too.  Three things keep a foreign page out,
each of which would do: its requests carry another `Origin` (or `Sec-Fetch-Site`); a name that was made to
lead to 127.0.0.1 (DNS rebinding) stands in `Host`; and it has no token.  There is no cookie: a browser
sends cookies to every port of a host, other users' ports too.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping
from typing import Final

_PUBLIC_PREFIXES: Final = ("/ui/", "/parts/")
# What the page is made of, and where its one-time code becomes a token.
_PUBLIC: Final = frozenset({("GET", "/"), ("HEAD", "/"), ("POST", "/v1/session")})

_OWN_FETCHES: Final = frozenset({"same-origin", "none"})


def allowed_hosts(bind: str, port: int, further: Iterable[str]) -> frozenset[str]:
    """Return what `Host` may say on a port, in small letters."""
    names = {"127.0.0.1", "localhost", "[::1]", *further}
    if bind not in ("0.0.0.0", "::"):  # noqa: S104  # looked for, not bound
        names.add(f"[{bind}]" if ":" in bind else bind)
    return frozenset(f"{name.lower()}:{port}" for name in names) | (
        frozenset(name.lower() for name in names) if port == 80 else frozenset()
    )


def wrong_host(hosts: list[str], allowed: frozenset[str]) -> str:
    """Return why a request for these `Host`s is refused; "" where it is not."""
    if len(hosts) != 1:
        return "the request needs one Host"
    if hosts[0].strip().lower() not in allowed:
        return "the Host is not this daemon's address"
    return ""


def wrong_origin(headers: Mapping[str, str], allowed: frozenset[str]) -> str:
    """Return why a request of a page is refused; "" where it is not, or no page sent it."""
    origin = headers.get("origin")
    if origin is not None:
        scheme, _, host = origin.strip().lower().partition("://")
        if scheme != "http" or host not in allowed:
            return "the request comes from a page of another origin"
    fetched = headers.get("sec-fetch-site")
    if fetched is not None and fetched.strip().lower() not in _OWN_FETCHES:
        return "the request comes from a page of another site"
    return ""


def is_public(method: str, path: str) -> bool:
    """Whether a request needs no token: the page's own files, which say nothing of the daemon."""
    if (method, path) in _PUBLIC:
        return True
    return method in ("GET", "HEAD") and path.startswith(_PUBLIC_PREFIXES)


def presented(headers: Mapping[str, str]) -> str | None:
    """Return the token that a request carries; None for none."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def is_token(presented_token: str, known: Iterable[str]) -> bool:
    """Whether a token is one of those known; takes as long for a wrong one whatever it has in common."""
    given = presented_token.encode("utf-8", "surrogateescape")
    found = False
    for one in known:
        found |= hmac.compare_digest(given, one.encode("utf-8"))
    return found

"""The access to a server over HTTP, as the daemon tells it.  No token is in it."""

from __future__ import annotations

from typing import Literal

import msgspec

AccessState = Literal["none", "granted", "renewable", "expired", "header", "off", "unknown"]


class Access(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The access to a server over HTTP, as far as it is known here.

    Attributes:
        server: its name.
        state: `none` has no tokens; `granted` has; `renewable` has expired ones that the next call renews;
            `expired` has others; `header` sends an `Authorization` of its own; `off` has `oauth = false`;
            `unknown` has its tokens where they cannot be read, with the `reason`.
        grant, store: as configured.
        expires_in_s: of the access token; null where it does not say.
        renews: whether it is renewed without a person.
        scopes, issuer, client_id: of the tokens; "" for unknown.
        reason: for people.
    """

    server: str
    state: AccessState
    grant: str
    store: str
    expires_in_s: float | None = None
    renews: bool = False
    scopes: str = ""
    issuer: str = ""
    client_id: str = ""
    reason: str = ""

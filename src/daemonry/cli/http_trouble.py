"""What a start says of an HTTP port that cannot be had: the daemon or home runs all the same.

Owns the question and the line.  Binding, and trying again, are `daemonry.http.port`'s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemonry.cli import output
from daemonry.errors import DaemonryError
from daemonry.limits import HTTP_TROUBLE_ASKED_S
from daemonry.service.client.text import request
from daemonry.terminal_text import printable

if TYPE_CHECKING:
    from daemonry.transport.endpoint import Endpoint


def complain_of_http(name: str, endpoint: Endpoint | str) -> None:
    """Say in one line on standard error why a daemon or home that has just started has no HTTP port.

    Says nothing where it has one, wants none, or does not answer at once.
    """
    try:
        fields = request(endpoint, "STATUS", HTTP_TROUBLE_ASKED_S).fields or {}
    except (DaemonryError, OSError):
        return
    if "http_error" in fields:
        output.complain(printable(f"{name}: {fields['http_error']}; it runs without, and tries again"))

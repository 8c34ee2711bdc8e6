"""Windows named pipes: a seam, not yet filled.

Owns saying so.  The endpoint parses everywhere, so that one configuration serves all systems.
"""

from __future__ import annotations

import sys

from daemonry.errors import EndpointInvalid
from daemonry.transport.endpoint import Endpoint


def unsupported(endpoint: Endpoint) -> EndpointInvalid:
    """Return the error that says why `endpoint` cannot be used here."""
    if sys.platform == "win32":
        return EndpointInvalid(str(endpoint), "named pipes are not supported yet: use tcp:127.0.0.1:port")
    return EndpointInvalid(str(endpoint), "named pipes exist on Windows only: use unix:/path")

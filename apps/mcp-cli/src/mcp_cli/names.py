"""The names that commands and daemon share, and what a warm call needs to know of them.

Owns constants and imports nothing: it is on the path of every warm call.  The typed calls behind the names
are `protocol.interfaces`'s.
"""

from __future__ import annotations

__version__ = "0.1.0"
# What the native launcher knows of this package: see `daemonry.cli.native`.
LAUNCHER = 1

NAME = "mcp-cli"
INTERFACE = "org.daemonry.mcp"
CALL = f"{INTERFACE}.Call"
NOT_CONFIGURED = f"{INTERFACE}.NotConfigured"
NEEDS_AUTHORIZATION = f"{INTERFACE}.NeedsAuthorization"

# The questions of servers.
ELICITATION = "elicitation/create"
SAMPLING = "sampling/createMessage"

# How an HTTP server is given tokens: by a person, or by one of two ways without one.
CODE = "authorization_code"
CREDENTIALS = "client_credentials"
ASSERTION = "identity_assertion"
GRANTS = (CODE, CREDENTIALS, ASSERTION)

# Where tokens are stored: a file of each server, or the keyring of the user's desktop.
FILES = "file"
KEYRING = "keyring"

# The revisions of the protocol that a server can be held to; all but the last begin with a handshake.
PROTOCOLS = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28")

# The server's silence is measured by the daemon, which then answers; this is for the daemon's own.
# A server that has to be started first may take its time for that besides.
GRACE_S = 90.0

"""Where things are in a home of vx: one rule for the services and everyone who looks for them.

    $VX_HOME (default ~/.vx)
      aether.sock cass.sock rhea.sock    the services' sockets
      aether.log  cass.log  rhea.log     their logs
      cass/                              the store
      cass.digests                       other names of blobs, where a remote is set
      config.toml                        the user's settings: `vx.remote.settings`
      aether.known                       what aether knows, over restarts
      aether.builds/                     builds that found everything, over restarts
      rhea/                              where compilers run

$VX_AETHER, $VX_CASS and $VX_RHEA name endpoints (Unix or TCP) in the sockets' place.  Owns these
paths and makes none of them.  On the quick path of the command `vx`: imports next to nothing.
"""

from __future__ import annotations

import os

from daemonry import Endpoint, Place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final

AETHER: Final = "aether"
CASS: Final = "cass"
RHEA: Final = "rhea"
SERVICES: Final = (AETHER, CASS, RHEA)


class HomeInvalid(ValueError):
    """VX_HOME cannot be used; says why in one line.  Not one of daemonry's: those cost an import."""


def home_dir(environ: Mapping[str, str] | None = None) -> str:
    """Return the home: $VX_HOME, made absolute, or ~/.vx.

    Raises:
        HomeInvalid: neither VX_HOME nor HOME says where it is.
    """
    environ = os.environ if environ is None else environ
    given = environ.get("VX_HOME", "")
    if given:
        return os.path.abspath(given)
    user_home = environ.get("HOME", "")
    if not user_home.startswith("/"):
        raise HomeInvalid("no home directory is known: set VX_HOME or HOME")
    return f"{user_home.rstrip('/')}/.vx"


def endpoint_text(service: str, environ: Mapping[str, str] | None = None) -> str:
    """Return where a service is reached, as text: what its variable says, else its socket's path."""
    environ = os.environ if environ is None else environ
    given = environ.get(f"VX_{service.upper()}", "").strip()
    return given or f"{home_dir(environ)}/{service}.sock"


def endpoint(service: str, environ: Mapping[str, str] | None = None) -> Endpoint:
    """Return where a service is reached.

    Raises:
        daemonry.errors.EndpointInvalid: its variable names no endpoint.
    """
    return Endpoint.parse(endpoint_text(service, environ))


def place(service: str, environ: Mapping[str, str] | None = None) -> Place:
    """Return the place of a service's files: all directly in the home, under the service's name."""
    home = home_dir(environ)
    return Place(home, service, home)


def log_path(service: str, environ: Mapping[str, str] | None = None) -> str:
    """Return the path of a service's log."""
    return f"{home_dir(environ)}/{service}.log"


def known_path(environ: Mapping[str, str] | None = None) -> str:
    """Return the path of what aether keeps over restarts."""
    return f"{home_dir(environ)}/aether.known"


def finished_builds_dir(environ: Mapping[str, str] | None = None) -> str:
    """Return the directory of the finished builds that aether keeps over restarts."""
    return f"{home_dir(environ)}/aether.builds"


def store_dir(environ: Mapping[str, str] | None = None) -> str:
    """Return the directory of the store."""
    return f"{home_dir(environ)}/cass"


def digests_path(environ: Mapping[str, str] | None = None) -> str:
    """Return the path of the index of digests that a remote server names blobs by."""
    return f"{home_dir(environ)}/cass.digests"


def config_path(environ: Mapping[str, str] | None = None) -> str:
    """Return the path of the user's settings."""
    return f"{home_dir(environ)}/config.toml"


def scratch_dir(environ: Mapping[str, str] | None = None) -> str:
    """Return the directory in which compilers run."""
    return f"{home_dir(environ)}/rhea"

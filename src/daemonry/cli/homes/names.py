"""Names of services and groups on a command line: those of home.toml, or an error that says the nearest.

Owns that error, which a supervisor's answer and a reading of the file lead to.
"""

from __future__ import annotations

from daemonry.errors import ArgumentInvalid
from daemonry.spelling import did_you_mean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from daemonry.home.service import HomeFile


def no_service(name: str, known: list[str]) -> str:
    """Return the error of an unknown name."""
    return f"there is no service {name!r}: {did_you_mean(name, known, 'there are')}"


def check_names(file: HomeFile, names: list[str]) -> None:
    """Raise the error of the first name that a home.toml does not have, as a service or a group.

    Raises:
        ArgumentInvalid: there is one.
    """
    for name in names:
        if name not in file.services and name not in file.groups:
            raise ArgumentInvalid("SERVICE", no_service(name, [*file.services, *file.groups]))

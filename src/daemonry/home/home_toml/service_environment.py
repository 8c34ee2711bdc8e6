"""The variables of a service: inherited ones, those of `home.toml` and of its files, and daemonry's own.

Owns which ones a service gets, and which of two values wins: the service's own over the home's, a variable
over a file, and daemonry's own over all.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Final

from daemonry.home.home_toml import environment_file
from daemonry.home.home_toml.form import FileForm, ServiceForm
from daemonry.home.home_toml.instance import NamedService, socket_path
from daemonry.limits import MAX_CONFIG_BYTES
from daemonry.process.regular_file import read_regular
from daemonry.typed_toml.positions import KeyPath
from daemonry.typed_toml.source import ConfigText

# A program needs these to find programs, files, the user and the language.  All else of the
# supervisor's environment may be a secret, and goes only where the file names it.
_INHERITED: Final = (
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR"),
    # The user's directories, or a daemon would have its files elsewhere than the `up` that started it.
    *("XDG_CACHE_HOME", "XDG_CONFIG_DIRS", "XDG_CONFIG_HOME", "XDG_DATA_DIRS", "XDG_DATA_HOME"),
    *("XDG_RUNTIME_DIR", "XDG_STATE_HOME"),
)


class EnvironmentReader:
    """Makes the environments of the services of one file.

    Args:
        source: the file, for the places of errors.
        directory: the home's directory.
        form: the file's form.
        inherited: the variables that services may inherit.
    """

    def __init__(
        self, source: ConfigText, directory: str, form: FileForm, inherited: Mapping[str, str]
    ) -> None:
        self._source = source
        self._directory = directory
        self._form = form
        self._inherited = inherited
        self._usual = self._of(_INHERITED) | self._of(form.inherit)

    def read(self, instance: NamedService, form: ServiceForm, above: KeyPath) -> dict[str, str]:
        """Return a service's variables.

        Raises:
            ConfigError: a variable cannot be set, or a file cannot be read.
        """
        found = self._usual | self._of(form.inherit)
        for at, name in enumerate(form.environment_files):
            found |= self._file(name, (*above, "environment_files", at))
        for key, given in (
            (("environment",), self._form.environment),
            ((*above, "environment"), form.environment),
        ):
            for variable, value in given.items():
                if not variable or "=" in variable or "\0" in variable + value:
                    raise self._source.error((*key, variable), "the system allows no such variable")
                found[variable] = value
        return found | self._own(instance)

    def _of(self, names: Iterable[str]) -> dict[str, str]:
        return {one: self._inherited[one] for one in names if one in self._inherited}

    def _own(self, instance: NamedService) -> dict[str, str]:
        own = {
            f"DAEMONRY_SOCKET_{as_variable(one)}": socket_path(self._directory, one) for one in instance.needs
        }
        if instance.replica:
            # Not how many there are: another number would restart all of them.
            own["DAEMONRY_REPLICA"] = str(instance.replica)
        return own | {
            "DAEMONRY_HOME": self._directory,
            "DAEMONRY_SERVICE": instance.name,
            "DAEMONRY_SOCKET": socket_path(self._directory, instance.name),
        }

    def _file(self, name: str, key: KeyPath) -> dict[str, str]:
        is_optional = name.startswith("-")  # as in systemd
        path = os.path.join(self._directory, os.path.expanduser(name.removeprefix("-")))
        try:
            return environment_file.parse(read_regular(path, MAX_CONFIG_BYTES).decode())
        except FileNotFoundError:
            if is_optional:
                return {}
            reason = f"there is no {path}; a - before it makes it optional"
            raise self._source.error(key, reason) from None
        except (OSError, ValueError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
            raise self._source.error(key, f"{path}: {reason}") from None


def as_variable(name: str) -> str:
    """Return a service's name as it stands in the name of a variable."""
    return name.upper().replace("-", "_")

"""A home's files, and the home as others see it.

    home.toml        its services
    home.lock        held by its supervisor, for its life
    home.sock        where the supervisor is reached
    home.json        the supervisor's record
    home.log         what the supervisor did
    home.crash       its standard output and error in the background
    NAME.sock        a service's socket, if it makes one
    NAME.log         what the service wrote
    NAME.json        its record: which process it is
    NAME.out         its output on the way to the log, where it may outlive its supervisor

Owns these paths, and asking a home whether it is up.
"""

from __future__ import annotations

import os

from daemonry.errors import AccessDenied, ConfigError, NotRunning
from daemonry.home.names import FILE_NAME, RESERVED
from daemonry.process import lock, record
from daemonry.process.lock import Lock
from daemonry.process.record import DaemonRecord
from daemonry.transport.endpoint import Endpoint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from daemonry.service.client.blocking import Client

HOME_VARIABLE: Final = "DAEMONRY_HOME"


class Home:
    """The files of one home.

    Attributes:
        directory: its directory, as an absolute path.
    """

    def __init__(self, directory: str) -> None:
        self.directory: str = os.path.abspath(os.path.expanduser(directory))

    @classmethod
    def find(cls, directory: str | None, *, needs_file: bool = True) -> Home:
        """Return the home that is meant: as given, as `DAEMONRY_HOME` says, or the present directory.

        Args:
            directory: its directory; None where none was given.
            needs_file: whether home.toml has to be there also while a supervisor runs.

        Raises:
            ConfigError: it has no home.toml.
        """
        home = cls(directory or os.environ.get(HOME_VARIABLE) or ".")
        if not os.path.exists(home.file_path) and (needs_file or not home.is_up()):
            raise ConfigError(home.file_path, "", "there is no such file: name a home with --home DIR")
        return home

    @property
    def name(self) -> str:
        """What people call it: its directory's name."""
        return os.path.basename(self.directory) or self.directory

    @property
    def file_path(self) -> str:
        """Its home.toml."""
        return os.path.join(self.directory, FILE_NAME)

    def path(self, name: str, suffix: str) -> str:
        """Return the file `NAME.SUFFIX`; the supervisor's own for the name "home"."""
        return os.path.join(self.directory, f"{name}.{suffix}")

    @property
    def lock_path(self) -> str:
        """The lock that its supervisor holds."""
        return self.path(RESERVED, "lock")

    @property
    def endpoint(self) -> Endpoint:
        """Where its supervisor is reached."""
        return Endpoint.unix(self.path(RESERVED, "sock"))

    def take_lock(self) -> Lock | None:
        """Take the supervisor's lock, or return None when there is a supervisor.

        Raises:
            UnsafePath: the file cannot be opened or locked.
        """
        return Lock.try_take(self.lock_path)

    def is_up(self) -> bool:
        """Whether there is a supervisor, also one that starts or ends."""
        return bool(lock.is_held(self.lock_path))

    def record(self) -> DaemonRecord | None:
        """Return the supervisor's record, or None."""
        return record.read(self.path(RESERVED, "json"))

    def connect(self, timeout_s: float) -> Client:
        """Return a client that is connected to the supervisor.

        Raises:
            NotRunning: there is none.
            AccessDenied: the home is another user's, who alone knows whether it is up.
            ConnectError, DeadlineExceeded: it cannot be reached.
        """
        from daemonry.service.client.blocking import Client

        try:
            return Client.connect(self.endpoint, timeout_s)
        except AccessDenied:
            raise
        except OSError:
            if self.is_up():
                raise
            raise NotRunning(self.name) from None

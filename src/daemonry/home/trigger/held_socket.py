"""The socket of a service that starts on demand: held by the supervisor, given to the service when it starts.

Owns binding, waiting for the first connection, counting those that are open, and closing.  The service
gets it as systemd's services do (sd_listen_fds(3)): descriptor 3, LISTEN_FDS=1 and LISTEN_PID.  Connections
that come while no process is there wait in the kernel's queue, and the next process accepts them.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from typing import Final

from daemonry.errors import DaemonryError
from daemonry.limits import LISTEN_BACKLOG
from daemonry.transport.endpoint import Endpoint
from daemonry.transport.unix import UnixListener

# The descriptor comes as standard input and becomes number 3, where sd_listen_fds(3) looks for it; only a
# process itself knows the number that LISTEN_PID has to be.
_ACTIVATE: Final = 'export LISTEN_PID=$$; exec "$@" 3<&0 </dev/null'
VARIABLES: Final = {"LISTEN_FDS": "1", "LISTEN_FDNAMES": "home"}
# st of /proc/net/tcp and of /proc/net/unix: established, and connected.
_TCP_ESTABLISHED: Final = "01"
_UNIX_CONNECTED: Final = "03"


def words_with_socket(words: tuple[str, ...]) -> tuple[str, ...]:
    """Return the command that runs `words` with its standard input as the socket that it listens at."""
    return ("/bin/sh", "-c", _ACTIVATE, "daemonry-activate", *words)


class HeldSocket:
    """A socket that listens on behalf of a service.

    Args:
        target: `unix:PATH`, or `tcp:HOST:PORT`.

    Raises:
        OSError: it cannot listen there.
    """

    def __init__(self, target: str) -> None:
        endpoint = Endpoint.parse(target)
        self._watched = False
        self._listener: UnixListener | None = None
        self._path = endpoint.path
        self._port = 0
        if endpoint.path is not None:
            try:
                self._listener = UnixListener.bind(endpoint)
            except DaemonryError as error:
                raise OSError(str(error)) from error
            self._fd = self._listener.fileno()
        else:
            host, _, port = target.removeprefix("tcp:").rpartition(":")
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            sock = socket.create_server((host.strip("[]"), int(port)), family=family, backlog=LISTEN_BACKLOG)
            self._port = int(port)
            self._fd = sock.detach()

    def for_service(self) -> int:
        """Return the descriptor for the service's next process: a blocking one, as systemd hands it over.

        The mode belongs to the socket and not to the descriptor, so the process before may have changed it.
        """
        os.set_blocking(self._fd, True)
        return self._fd

    def on_connection(self, call: Callable[[], object]) -> None:
        """Call once when somebody has connected, or is waiting already."""
        loop = asyncio.get_running_loop()

        def connected() -> None:
            self.leave_alone()
            call()

        loop.add_reader(self._fd, connected)
        self._watched = True

    def leave_alone(self) -> None:
        """Watch for connections no more.  Twice is not an error."""
        if self._watched:
            asyncio.get_running_loop().remove_reader(self._fd)
            self._watched = False

    def connections(self) -> int:
        """Return how many connections are open there, or wait to be accepted."""
        if self._path is not None:
            return _unix_connections(os.path.abspath(self._path))
        return _tcp_connections(self._port)

    def close(self) -> None:
        """Stop listening, and remove the socket's file.  Twice is not an error."""
        self.leave_alone()
        if self._listener is not None:
            self._listener.close()
        elif self._fd >= 0:
            os.close(self._fd)
        self._fd = -1


def _unix_connections(path: str) -> int:
    count = 0
    for line in _lines("/proc/net/unix"):
        # Num RefCount Protocol Flags Type St Inode Path
        fields = line.split(None, 7)
        count += len(fields) == 8 and fields[7] == path and fields[5] == _UNIX_CONNECTED
    return count


def _tcp_connections(port: int) -> int:
    count = 0
    for name in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in _lines(name):
            # sl local_address rem_address st
            fields = line.split(None, 4)
            count += len(fields) > 3 and fields[3] == _TCP_ESTABLISHED and _port_of(fields[1]) == port
    return count


def _port_of(address: str) -> int:
    return int(address.rpartition(":")[2], 16)


def _lines(name: str) -> list[str]:
    try:
        with open(name, encoding="utf-8", errors="surrogateescape") as file:
            return file.read().splitlines()[1:]
    except OSError:
        return []

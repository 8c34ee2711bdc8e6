"""The list of this user's daemons, whatever directories they live in.

Owns the pointers that `daemonry ps` follows: one small file per daemon, named by its directory.
A pointer is a hint; the life lock of the place that it names is the truth.
"""

from __future__ import annotations

import os

from daemonry import strict_json
from daemonry.errors import BadFrame, DaemonryError, TargetInvalid
from daemonry.limits import MAX_STATE_FILE_BYTES
from daemonry.process import homes, lock
from daemonry.process.atomic_file import write_atomically
from daemonry.process.place import Place, registry_dir
from daemonry.process.private_dir import ensure_private
from daemonry.process.regular_file import read_regular

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any


def _pointer_path(place: Place) -> str:
    import zlib  # which would cost whoever only looks here

    directory_sum = zlib.crc32(os.fsencode(place.host_dir))
    return f"{registry_dir()}/{place.name}-{directory_sum:08x}.json"


def add(place: Place) -> None:
    """Make `place` known.

    Raises:
        OSError, UnsafePath: it could not be written.
    """
    ensure_private(registry_dir())
    fields: dict[str, Any] = {
        "name": place.name,
        "host_dir": place.host_dir,
        "runtime_dir": place.runtime_dir,
    }
    if place.own is not None:
        fields["own"] = dict(place.own)
    write_atomically(_pointer_path(place), strict_json.encode_names(fields).encode(), durable=False)


def remove(place: Place) -> None:
    """Forget `place`; nothing happens when it is not known."""
    try:
        os.unlink(_pointer_path(place))
    except (OSError, DaemonryError):
        pass


def places() -> Iterator[Place]:
    """Yield every place that is known, by name."""
    directory = registry_dir()
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        return
    for name in names:
        if name.endswith(".json"):
            place = _read(f"{directory}/{name}")
            if place is not None:
                yield place


def locate(usual: Place) -> Place:
    """Return where the daemon of a name is, given the name's usual place: in a home, or where it was put.

    Raises:
        TargetInvalid: as `find`.
    """
    owner = homes.owner_of(usual)
    return owner.place if owner is not None else find(usual.name) or usual


def find(name: str) -> Place | None:
    """Return the place, not the usual one, of the daemon called `name`; None when none is known.

    A daemon is there whose program chose its place, or which runs beside other versions of itself.

    Raises:
        TargetInvalid: several of that name run; which is meant, an endpoint says.
    """
    known = [place for place in places() if place.name == name]
    if len(known) > 1:
        running = [place for place in known if lock.is_held(place.life_lock_path) is not False]
        if len(running) > 1:
            sockets = ", ".join(place.socket_path for place in running)
            raise TargetInvalid(name, f"several of that name run; give the endpoint of one: {sockets}")
        known = running or known
    return known[0] if known else None


def _read(path: str) -> Place | None:
    try:
        fields = strict_json.decode_object(read_regular(path, MAX_STATE_FILE_BYTES).decode(), with_names=True)
        own = fields.get("own")
        paths = [(str(kind), str(path)) for kind, path in own.items()] if own is not None else None
        return Place(str(fields["host_dir"]), str(fields["name"]), str(fields["runtime_dir"]), paths)
    except (OSError, KeyError, AttributeError, BadFrame, UnicodeDecodeError):
        return None

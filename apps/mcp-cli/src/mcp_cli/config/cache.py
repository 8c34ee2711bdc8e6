"""A memory of each configuration, so that a warm call need not parse it.

Owns one small file per configuration in ~/.cache/mcp-cli, which says for a certain state of the
file (device, inode, size, both times) the fingerprint of each server, the names of the variables
that its settings depend on, and its time limit.  No value of a variable and no setting is in it.
It is information only: where it is missing, old or not ours, the configuration is parsed.

On the path of every warm call: the standard library's C modules only.
"""

from __future__ import annotations

import os
import time

from daemonry import open_regular
from mcp_cli.config import passed
from mcp_cli.config.search import ConfigFile, home_dir
from mcp_cli.names import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# A file that changed this recently may change again within one tick of the file system's clock,
# and look the same: ext4's tick is 4 ms, FAT's two seconds are the longest that is in use.
SETTLED_NS = 2_000_000_000
MAX_CACHE_BYTES = 1 << 18
_HEAD = f"mcp-cli configuration 3 {__version__}"


class CachedServer:
    """What a call needs of a server's configuration.

    Attributes:
        fingerprint: of its settings, the caller's environment included.
        timeout_s: how long a call may be silent.
    """

    __slots__ = ("fingerprint", "timeout_s")

    def __init__(self, fingerprint: str, timeout_s: float) -> None:
        self.fingerprint = fingerprint
        self.timeout_s = timeout_s


def lookup(found: ConfigFile, server: str, environment: Mapping[str, str]) -> CachedServer | None:
    """Return the remembered fingerprint of a server, or None where the configuration has to be parsed."""
    start = f"{server}\t"
    for line in _lines(found, environment):
        if line.startswith(start):
            return _cached(line, environment)
    return None


def every(found: ConfigFile, environment: Mapping[str, str]) -> dict[str, CachedServer] | None:
    """Return all servers by name, in the file's order; None where the configuration has to be parsed.

    So it has to be where only some may be asked at a time.
    """
    lines = _lines(found, environment)
    if not lines or lines[0] != _limit(0):
        return None
    return {line.partition("\t")[0]: _cached(line, environment) for line in lines[1:]}


def _cached(line: str, environment: Mapping[str, str]) -> CachedServer:
    _, digits, seconds, names = line.split("\t")
    needed = names.split(",") if names else ()
    return CachedServer(with_environment(digits, needed, environment), float(seconds))


def _lines(found: ConfigFile, environment: Mapping[str, str]) -> list[str]:
    path = _path(found, environment)
    text = _read(path) if path else None
    if text is None:
        return []
    head, *lines = text.split("\n")
    return lines if head == _stamp(found) else []


def _limit(concurrency_limit: int) -> str:
    return f"\t{concurrency_limit}"  # which no server's line begins with


def remember(
    found: ConfigFile,
    concurrency_limit: int,
    servers: Iterable[tuple[str, str, float, Iterable[str]]],
    environment: Mapping[str, str],
) -> None:
    """Write down a parsed configuration; never raises, for nothing depends on it.

    Args:
        found: the file, as it was before it was read.
        concurrency_limit: how many servers a list asks at once; 0 for all.
        servers: of each the name, its fingerprint as written, its time limit, and its variables.
        environment: the caller's.
    """
    path = _path(found, environment)
    if path is None or time.time_ns() - max(found.stat.st_mtime_ns, found.stat.st_ctime_ns) < SETTLED_NS:
        return
    lines = [_stamp(found), _limit(concurrency_limit)]
    lines += [f"{name}\t{digits}\t{limit_s}\t{','.join(names)}" for name, digits, limit_s, names in servers]
    beside = f"{path}.{os.getpid()}"
    try:
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, "\n".join(lines).encode())
        finally:
            os.close(fd)
        os.rename(beside, path)
    except (OSError, ValueError):
        return


def with_environment(digits: str, needed: Iterable[str], environment: Mapping[str, str]) -> str:
    """Return a server's fingerprint with the caller's variables in it.

    Args:
        digits: the fingerprint of the settings as written.
        needed: the names of the variables that they depend on, sorted; see `passed` for those with a `*`.
        environment: the caller's.
    """
    values = []
    for name in needed:
        if name.endswith("*"):
            found = (
                passed.default(environment) if name == passed.DEFAULT else passed.named((name,), environment)
            )
            values += [f"{one}={found[one]}" for one in sorted(found)]
        else:
            values.append(f"{name}={environment[name]}" if name in environment else name)
    if not values:
        return digits
    text = "\0".join((digits, *values)).encode("utf-8", "surrogateescape")
    return _sha256(text)


def held_to(protocol: str, fingerprint: str) -> str:
    """Return the fingerprint of a server that a caller holds to a revision of the protocol; "" to none."""
    return _sha256(f"{fingerprint} {protocol}".encode()) if protocol else fingerprint


def _sha256(data: bytes) -> str:
    # Importing hashlib costs ten times as much as the module that it wraps.
    for name in ("_sha2", "_sha256", "hashlib"):  # Python 3.12, Python 3.11, any
        try:
            made = __import__(name).sha256(data)
        except ImportError:
            continue
        digits: str = made.hexdigest()
        return digits
    raise ImportError("hashlib")


def _stamp(found: ConfigFile) -> str:
    stat = found.stat
    times = f"{stat.st_mtime_ns} {stat.st_ctime_ns}"
    return f"{_HEAD} {stat.st_dev} {stat.st_ino} {stat.st_size} {times} {found.folder}"


def cache_dir(environment: Mapping[str, str]) -> str:
    """Return the directory of mcp-cli's caches, or ""."""
    base = environment.get("XDG_CACHE_HOME", "")
    home = home_dir(environment)
    base = base.rstrip("/") if base.startswith("/") else f"{home}/.cache" if home else ""
    return f"{base}/mcp-cli" if base else ""


def _path(found: ConfigFile, environment: Mapping[str, str]) -> str | None:
    above = cache_dir(environment)
    name = found.path.replace("%", "%%").replace("/", "%-")
    # A name has at most 255 bytes; a longer one is parsed each time.
    return f"{above}/config/{name}" if above and len(name.encode("utf-8", "replace")) < 240 else None


def _read(path: str) -> str | None:
    try:
        fd = open_regular(path)
    except OSError:
        return None
    try:
        stat = os.fstat(fd)
        if stat.st_uid != os.geteuid() or stat.st_mode & 0o022 or stat.st_size > MAX_CACHE_BYTES:
            return None
        return os.read(fd, MAX_CACHE_BYTES).decode()
    except (OSError, ValueError):
        return None
    finally:
        os.close(fd)

"""Where a daemon's files are: one rule for the daemon and everyone who looks for it.

    state directory     $NAME_STATE, else $XDG_STATE_HOME/NAME, else ~/.local/state/NAME
      HOST/NAME.lock          the life lock: held, never removed, while the daemon lives
      HOST/NAME.start.lock    the start lock: held while one is being started
      HOST/NAME.json          the record: who runs, and where it is reached
      HOST/NAME.token         where that is a TCP port: what a client has to know
      HOST/NAME.http.token    where it has a port for HTTP: the same
      HOST/NAME.start.json    how it was started last, so that it can be started by its name
      HOST/NAME.log           the log, and NAME.log.1 ... older parts
      HOST/NAME.crash         its standard output and error
    runtime directory   $NAME_RUNTIME, else $XDG_RUNTIME_DIR/NAME, else /run/user/UID/NAME,
                        else /tmp/NAME-UID
      NAME.sock               the socket, mode 0600
    configuration       $NAME_CONFIG, else $XDG_CONFIG_HOME/NAME/config.toml,
                        else ~/.config/NAME/config.toml

NAME in a variable is in upper case, with `_` for each other character than a letter or digit.
HOST tells machines apart that share a home.  The state directory is the same from a desktop,
cron, ssh and sudo -i; the runtime directory is not, which is why the record names the socket.

Owns these paths and makes none of them.
"""

from __future__ import annotations

import os

from daemonry import faults
from daemonry.limits import MAX_NAME_CHARS
from daemonry.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_NAME_CHARS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")


def check_name(name: str) -> str:
    """Return `name` if it can be a daemon's: letters, digits, `-`, `_` and `.`, a letter or digit first.

    Raises:
        TargetInvalid: it cannot.
    """
    if not name:
        raise faults.TargetInvalid(name, "a name cannot be empty")
    if "/" in name or "\\" in name:
        raise faults.TargetInvalid(name, "a name cannot have a slash in it")
    bad = sorted(set(name) - _NAME_CHARS)
    if bad:
        raise faults.TargetInvalid(
            name, f"a name cannot have {bad[0]!r} in it (letters, digits, '-', '_', '.')"
        )
    if not name[0].isalnum():
        raise faults.TargetInvalid(name, "a name starts with a letter or a digit")
    if len(name) > MAX_NAME_CHARS:
        raise faults.TargetInvalid(name[:20] + "...", f"a name has at most {MAX_NAME_CHARS} characters")
    return name


def host_id() -> str:
    """Return twelve digits of the machine id, or the host's name where there is none.

    Not the whole id: systemd asks that it stay on its machine, and homes are shared.  Machines of
    one image may have no id, or all the same; where they share a home, the life lock still decides.
    """
    try:
        fd = os.open("/etc/machine-id", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return _node_name()
    try:
        digits = os.read(fd, 32).strip()
    finally:
        os.close(fd)
    return digits[:12].decode() if digits.isalnum() else _node_name()


def _node_name() -> str:
    return os.uname().nodename.replace("/", "_") or "localhost"


class Place(Value):
    """The files of one daemon.

    Attributes:
        name: the daemon's name.
        host_dir: the directory of lock, record and log; ours alone.
        runtime_dir: the directory of the socket; ours alone.
        own: for a place that the program chose (`in_directory`), the paths that are not NAME.ENDING
            in those directories, as pairs of an ending ("sock", "log", "lock", "json" ...) and a
            path; None for the usual place of a name.
    """

    __slots__ = ("host_dir", "name", "own", "runtime_dir")
    host_dir: str
    name: str
    own: tuple[tuple[str, str], ...] | None
    runtime_dir: str

    def __init__(
        self, host_dir: str, name: str, runtime_dir: str, own: Iterable[tuple[str, str]] | None = None
    ) -> None:
        pairs = None if own is None else tuple(sorted((ending, path) for ending, path in own))
        self._set(host_dir=host_dir, name=name, own=pairs, runtime_dir=runtime_dir)

    def __reduce__(self) -> tuple[object, ...]:
        return Place, (self.host_dir, self.name, self.runtime_dir, self.own)

    @classmethod
    def in_directory(cls, directory: str, name: str, **paths: str) -> Place:
        """Return a place that the program chooses: NAME.sock, NAME.log and all others in `directory`.

        For a program that keeps everything under one directory of its own.  The directory is made,
        0700, when the daemon starts; one that exists must be this user's, and nobody else may be
        able to write there.  On a home that several machines share, put the machine's name
        (`daemonry.host_id()`) into the path: a lock over a network file system would hold there,
        and a socket would not answer.

        Args:
            directory: an absolute path.
            name: the daemon's name.
            paths: single files that are elsewhere, absolute, by their endings: `sock`, `log`,
                `crash`, `lock`, `json` (the record), `token`; `start_lock`, `start_json` and `crash_note`
                are the endings with a dot.  The directory of each is checked in the same way.

        Raises:
            TargetInvalid: the name cannot be one.
            UnsafePath: a path is not absolute.
            ValueError: there is no such file.
        """
        check_name(name)
        unknown = sorted(set(paths) - _ENDINGS.keys())
        if unknown:
            raise ValueError(f"a place has no file {unknown[0]!r}, only {', '.join(_ENDINGS)}")
        for path in (directory, *paths.values()):
            if not path.startswith("/"):
                raise faults.UnsafePath(path, f"the place of {name} must be an absolute path")
        directory = directory.rstrip("/") or "/"
        return cls(directory, name, directory, [(_ENDINGS[key], path) for key, path in paths.items()])

    def beside(self, version: str) -> Place:
        """Return the place of one version of this daemon, in the same directories: NAME-VERSION.

        Raises:
            TargetInvalid: the version has characters that a name cannot have.
        """
        return Place(self.host_dir, check_name(f"{self.name}-{version}"), self.runtime_dir, self.own)

    def directories(self) -> list[str]:
        """Return the directories that it has files in, without the runtime directory of a usual place."""
        found = [self.host_dir]
        for _, path in self.own or ():
            directory = os.path.dirname(path)
            if directory not in found:
                found.append(directory)
        return found

    @classmethod
    def of(cls, name: str) -> Place:
        """Return the place of the daemon called `name`, for this user and environment.

        Raises:
            TargetInvalid: the name cannot be one.
            UnsafePath: a variable is not an absolute path, or there is no home directory.
        """
        check_name(name)
        return cls(os.path.join(state_dir(name), host_id()), name, runtime_dir(name))

    def file(self, ending: str) -> str:
        """Return the path of NAME.`ending` in the host's state directory, or what the program chose."""
        if self.own:
            for kind, path in self.own:
                if kind == ending:
                    return path
        return f"{self.host_dir}/{self.name}.{ending}"

    @property
    def state_path(self) -> str:
        """The directory of the program's own files, which machines that share a home share too."""
        return os.path.dirname(self.host_dir) if self.own is None else self.host_dir

    @property
    def runtime_dir_in_tmp(self) -> bool:
        """Whether the runtime directory is the one in /tmp, for users who have none."""
        return self.own is None and self.runtime_dir == _in_tmp(self.name)

    @property
    def life_lock_path(self) -> str:
        """The lock that the daemon holds while it lives."""
        return self.file("lock")

    @property
    def start_lock_path(self) -> str:
        """The lock that a process holds while it starts this daemon."""
        return self.file("start.lock")

    @property
    def record_path(self) -> str:
        """The record of who runs where."""
        return self.file("json")

    @property
    def token_path(self) -> str:
        """What a client over TCP has to know; there is one while the daemon listens at a TCP port."""
        return self.file("token")

    @property
    def http_token_path(self) -> str:
        """What an HTTP client of its port has to know; there is one while the daemon has such a port."""
        return self.file("http.token")

    @property
    def start_path(self) -> str:
        """How the daemon was started last."""
        return self.file("start.json")

    @property
    def environment_path(self) -> str:
        """Checksums of the environment that the daemon was started with."""
        return self.file("env.json")

    @property
    def log_path(self) -> str:
        """The structured log."""
        return self.file("log")

    @property
    def crash_path(self) -> str:
        """The file of its standard output and error."""
        return self.file("crash")

    @property
    def crash_note_path(self) -> str:
        """The report of the last crash for the next client, which removes it."""
        return self.file("crash.note")

    @property
    def debug_path(self) -> str:
        """The socket at which a `breakpoint()` waits; there is one only meanwhile."""
        return f"{self.runtime_dir}/{self.name}.debug.sock"

    @property
    def socket_path(self) -> str:
        """The socket's usual path; the record's word counts where it differs."""
        if self.own is not None:
            return self.file("sock")
        return f"{self.runtime_dir}/{self.name}.sock"


# The files of a place by their endings, as keywords.
_ENDINGS = {
    "sock": "sock",
    "log": "log",
    "crash": "crash",
    "lock": "lock",
    "json": "json",
    "token": "token",
    "http_token": "http.token",
    "start_lock": "start.lock",
    "start_json": "start.json",
    "crash_note": "crash.note",
}


def _variable(name: str, ending: str) -> str:
    return "".join(char if char.isalnum() else "_" for char in name.upper()) + "_" + ending


def _given(name: str, ending: str) -> str | None:
    variable = _variable(name, ending)
    path = os.environ.get(variable)
    if not path:
        return None
    if not path.startswith("/"):
        raise faults.UnsafePath(path, f"{variable} must be an absolute path")
    return path.rstrip("/") or "/"


def _home(relative: str, base_variable: str) -> str:
    base = os.environ.get(base_variable, "")
    if base.startswith("/"):  # the XDG specification: a relative one is ignored
        return base.rstrip("/")
    return f"{home_dir(base_variable)}/{relative}"


def home_dir(or_set: str = "") -> str:
    """Return the user's home directory.

    Args:
        or_set: a variable that would do as well, for the message.

    Raises:
        UnsafePath: none is known.
    """
    home = os.environ.get("HOME") or _home_of_user()
    if not home.startswith("/"):
        variables = f"HOME or {or_set}" if or_set else "HOME"
        known = f"HOME is {home!r}, which is not an absolute path" if home else "no home directory is known"
        raise faults.UnsafePath("~", f"{known}: set {variables}")
    return home.rstrip("/")


def _home_of_user() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return ""


def state_dir(name: str) -> str:
    """Return the state directory of the daemon called `name`."""
    return _given(name, "STATE") or f"{_home('.local/state', 'XDG_STATE_HOME')}/{name}"


def is_usual(place: Place) -> bool:
    """Whether a place is where the name alone puts it: not the program's choice, nor by $NAME_STATE."""
    try:
        usual = _home(".local/state", "XDG_STATE_HOME")
    except faults.UnsafePath:
        return False
    return place.own is None and os.path.dirname(os.path.dirname(place.host_dir)) == usual


def config_path(name: str) -> str:
    """Return the configuration file of the daemon called `name`."""
    return _given(name, "CONFIG") or f"{_home('.config', 'XDG_CONFIG_HOME')}/{name}/config.toml"


def runtime_dir(name: str) -> str:
    """Return the runtime directory of the daemon called `name`.

    A user's runtime directory is used only when it is that user's alone: after `su`, cron or in a
    container the variable may name another's.
    """
    given = _given(name, "RUNTIME")
    if given:
        return given
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    if base.startswith("/") and _is_private(base):
        return f"{base.rstrip('/')}/{name}"
    base = f"/run/user/{os.geteuid()}"
    if _is_private(base):
        return f"{base}/{name}"
    return _in_tmp(name)


def _in_tmp(name: str) -> str:
    return f"/tmp/{name}-{os.geteuid()}"


def _is_private(path: str) -> bool:
    """Whether `path` is a directory of ours that nobody else may enter."""
    try:
        found = os.lstat(path)
    except OSError:
        return False
    kind_and_others = found.st_mode & (0o170000 | 0o077)  # S_IFMT, and all that others may
    return kind_and_others == 0o040000 and found.st_uid == os.geteuid()


def registry_dir() -> str:
    """Return the directory in which every running daemon of this user leaves a pointer."""
    return f"{_home('.local/state', 'XDG_STATE_HOME')}/daemonry/{host_id()}"

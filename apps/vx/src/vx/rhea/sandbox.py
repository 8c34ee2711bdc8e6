"""The sandbox of a job: it writes below its own directories only, and each file that it opens is noted.

Owns the kernel's side.  Landlock has the kernel refuse writes elsewhere; a seccomp filter stops the job at
each open and exec, tells its keeper (seccomp_unotify(2)), which notes the path and lets it go on, also where
nothing is at the path: what comes there later would be read.  A mount
namespace or Landlock alone would make a file that is not declared unreadable, and name nothing: a compiler
that is refused a header looks for the next one.  Both need no right that a user does not have.

Landlock leaves modes, owners, times and attributes of files alone, and sockets: calls that change those, and
connecting to a socket of the file system, stop there too, and are refused elsewhere.

stat and access are noted of the jobs that ask for it, and nothing but that nothing was there.  Not seen: that
a file is there which nothing opens, reads through a descriptor that was inherited, the clock, the network.
It is not a wall against a program that changes a path while it is looked at.

Loads the standard library alone: it is part of the process that runs commands.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import select
import socket
import stat
import struct
import sys
import threading
from typing import Final, NamedTuple

_SET_NO_NEW_PRIVS: Final = 38
_SECCOMP_SET_MODE_FILTER: Final = 1
_SECCOMP_FILTER_FLAG_NEW_LISTENER: Final = 8
# _IOWR('!', 0, struct seccomp_notif), _IOWR('!', 1, struct seccomp_notif_resp), _IOW('!', 4, __u64).
_RECV: Final = 0xC0502100
_SEND: Final = 0xC0182101
_SET_FLAGS: Final = 0x40082104
_SYNC_WAKE_UP: Final = 1
_CONTINUE: Final = 1
_NOTIFICATION: Final = struct.Struct("=QIIiIQ6Q")
_ANSWER: Final = struct.Struct("=QqiI")
_RET_USER_NOTIF: Final = 0x7FC00000
_RET_ALLOW: Final = 0x7FFF0000
_LOAD_WORD: Final = 0x20
_JUMP_EQUAL: Final = 0x15
_RETURN: Final = 0x06
_AT_FDCWD: Final = -100
_PATH_BYTES: Final = 4096
_PAGE: Final = 4096
# The most refused writes that a trace has.
MAX_REFUSED: Final = 20
# A job that opens more names is cut off: its trace counts as not there.
MAX_PATHS: Final = 200_000

# By machine: the audit number, seccomp(2), and the calls that open, with the number of the argument that is
# the path and of the directory before it (-1 for none).
_MACHINES: Final[dict[str, tuple[int, int, dict[int, tuple[int, int]]]]] = {
    "x86_64": (
        0xC000003E,
        317,
        {2: (0, -1), 85: (0, -1), 257: (1, 0), 437: (1, 0), 59: (0, -1), 322: (1, 0)},
    ),
    "aarch64": (0xC00000B7, 277, {56: (1, 0), 437: (1, 0), 221: (0, -1), 281: (1, 0)}),
}
_EXECS: Final = frozenset((59, 322, 221, 281))
# Which argument has the flags of those that say whether a file is opened to be written; creat(2) has none.
_FLAGS: Final[dict[str, dict[int, int]]] = {"x86_64": {2: 1, 257: 2, 85: -1}, "aarch64": {56: 2}}
_WRITES: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
# The calls that ask whether something is there: stat, lstat, access, and those with `at`; statx.
_LOOKS: Final[dict[str, dict[int, tuple[int, int]]]] = {
    "x86_64": {4: (0, -1), 6: (0, -1), 21: (0, -1), 262: (1, 0), 269: (1, 0), 439: (1, 0), 332: (1, 0)},
    "aarch64": {79: (1, 0), 48: (1, 0), 439: (1, 0), 291: (1, 0)},
}

# The calls that change a file's mode, owner, times or attributes, with the number of the argument that is the
# path and of the directory before it; -2 for a descriptor in place of a path.  First chmod, chown, utime and
# setxattr, then those of descriptors, then those with `at`.
_CHANGES: Final[dict[str, dict[int, tuple[int, int]]]] = {
    "x86_64": {
        **dict.fromkeys((90, 92, 94, 132, 235, 188, 189, 197, 198), (0, -1)),
        **dict.fromkeys((91, 93, 190, 199), (0, -2)),
        **dict.fromkeys((268, 452, 260, 261, 280, 463, 466, 469), (1, 0)),
    },
    "aarch64": {
        **dict.fromkeys((5, 6, 14, 15), (0, -1)),
        **dict.fromkeys((52, 55, 7, 16), (0, -2)),
        **dict.fromkeys((53, 452, 54, 88, 463, 466, 469), (1, 0)),
    },
}
# The calls after which a path may mean another file than before: chdir, fchdir, rename, symlink, and those
# with `at`.  A job that makes one of them has each path looked up from its start.
_MOVES: Final[dict[str, frozenset[int]]] = {
    "x86_64": frozenset((80, 81, 82, 88, 264, 266, 316)),
    "aarch64": frozenset((49, 50, 36, 38, 276)),
}
# connect(2), whose second argument is an address.
_CONNECT: Final = {"x86_64": 42, "aarch64": 203}
_AF_UNIX: Final = 1
_ADDRESS_BYTES: Final = 110

_LANDLOCK_CREATE: Final = 444
_LANDLOCK_ADD: Final = 445
_LANDLOCK_RESTRICT: Final = 446
# linux/landlock.h: WRITE_FILE, and REMOVE_DIR to MAKE_SYM; since its second version REFER, since its third
# TRUNCATE.
_WRITE_FILE: Final = 1 << 1
_CHANGE: Final = sum(1 << bit for bit in range(4, 13))
_REFER: Final = 1 << 13
_TRUNCATE: Final = 1 << 14
# Since its sixth version: abstract sockets and signals stay among the job's own processes.
_SCOPES: Final = 0b11


class Trace(NamedTuple):
    """What a job looked for, each list sorted.

    Attributes:
        opened: files elsewhere that it opened or ran, absolute.
        inside: files that it opened below the directory where it runs, relative to that.
        folders: directories that it opened: relative if below that one, else absolute.
        sought: paths at which it looked and nothing is, likewise.
        refused: files that it opened to write where it may not, likewise; empty where nothing refuses it.
    """

    opened: list[str]
    inside: list[str]
    folders: list[str]
    sought: list[str]
    refused: list[str]


def why_not() -> str:
    """Return why no job can be watched here; "" where it can."""
    if sys.platform != "linux":
        return f"{sys.platform} has neither seccomp nor Landlock"
    if os.uname().machine not in _MACHINES:
        return f"the system calls of {os.uname().machine} are not known"
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            fd = listen()
            os.close(fd)
            code = 0
        except OSError as error:
            code = min(error.errno or 1, 250)
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return "" if code == 0 else f"the kernel refuses seccomp notification: {os.strerror(code)}"


def listen(*, looks: bool = False) -> int:
    """Have this process stop at each open from now on; return the descriptor that tells of it.

    Args:
        looks: whether it stops at each stat and access, too.

    Raises:
        OSError: the kernel does not have it, or a filter above has a listener of its own.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    machine = os.uname().machine
    audit, number, opens = _MACHINES[machine]
    noted = (*opens, *(_LOOKS[machine] if looks else ()))
    calls = [*noted, *_CHANGES[machine], *_MOVES[machine], _CONNECT[machine]]
    lines = [
        (_LOAD_WORD, 0, 0, 4),
        (_JUMP_EQUAL, 1, 0, audit),
        (_RETURN, 0, 0, _RET_ALLOW),
        (_LOAD_WORD, 0, 0, 0),
    ]
    for at, call in enumerate(calls):
        lines.append((_JUMP_EQUAL, len(calls) - at, 0, call))
    lines += [(_RETURN, 0, 0, _RET_ALLOW), (_RETURN, 0, 0, _RET_USER_NOTIF)]
    code = b"".join(struct.pack("=HBBI", *one) for one in lines)
    buffer = ctypes.create_string_buffer(code, len(code))
    program = ctypes.create_string_buffer(struct.pack("@HP", len(lines), ctypes.addressof(buffer)))
    libc.prctl(_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    fd: int = libc.syscall(
        number, _SECCOMP_SET_MODE_FILTER, _SECCOMP_FILTER_FLAG_NEW_LISTENER, ctypes.byref(program)
    )
    if fd < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return fd


def landlock_version() -> int:
    """Return the version of the kernel's Landlock; less than 1 where there is none."""
    version: int = ctypes.CDLL(None, use_errno=True).syscall(_LANDLOCK_CREATE, None, ctypes.c_size_t(0), 1)
    return version


def confine(writable: list[str]) -> None:
    """Have the kernel refuse this process to write elsewhere; nothing where it has no Landlock."""
    libc = ctypes.CDLL(None, use_errno=True)
    version = landlock_version()
    if version < 1:
        return
    handled = _WRITE_FILE | _CHANGE | (_REFER if version >= 2 else 0) | (_TRUNCATE if version >= 3 else 0)
    attributes = struct.pack("=QQQ", handled, 0, _SCOPES) if version >= 6 else struct.pack("=Q", handled)
    rules = ctypes.create_string_buffer(attributes, len(attributes))
    ruleset = libc.syscall(_LANDLOCK_CREATE, ctypes.byref(rules), ctypes.c_size_t(len(attributes)), 0)
    if ruleset < 0:
        return
    for path, allowed in (
        *((one, handled) for one in writable),
        ("/dev", handled & (_WRITE_FILE | _TRUNCATE)),
    ):
        folder = os.open(path, os.O_PATH | os.O_CLOEXEC)
        rule = ctypes.create_string_buffer(struct.pack("=Qi", allowed, folder), 12)
        libc.syscall(_LANDLOCK_ADD, ruleset, 1, ctypes.byref(rule), 0)
        os.close(folder)
    libc.prctl(_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    libc.syscall(_LANDLOCK_RESTRICT, ruleset, 0)
    os.close(ruleset)


def enter(sock: socket.socket, writable: list[str], *, looks: bool) -> None:
    """Be watched and confined from now on; in the process that becomes the job."""
    confine(writable)
    try:
        fd = listen(looks=looks)
    except OSError:
        return
    socket.send_fds(sock, [b"w"], [fd])
    os.close(fd)


class JobWatcher(threading.Thread):
    """Looks on while a job runs, in its keeper.

    Args:
        sock: where the job's process passes its listener.
        inside: directories whose files are the job's own, in one that is nobody else's; it runs in the first.
        writable: those below which it may make changes.
    """

    def __init__(self, sock: socket.socket, inside: list[str], writable: list[str]) -> None:
        super().__init__(daemon=True)
        self._sock = sock
        self._root = f"{inside[0]}/"
        self._own = f"{os.path.dirname(inside[0])}/"
        self._inside = tuple(f"{one}/" for one in inside)
        self._names: dict[str, bool] = {}  # whether it was opened, and not only looked at
        self._memories: dict[int, int] = {}
        machine = os.uname().machine
        self._opens = _MACHINES[machine][2]
        self._calls = {**self._opens, **_LOOKS[machine]}
        self._changes = _CHANGES[machine]
        self._moves = _MOVES[machine]
        self._connect = _CONNECT[machine]
        self._directory = ""  # where all its processes are, as long as none has moved
        self._plain: set[str] = set()  # directories below its own to which no link leads, likewise
        self._has_moved = False
        self._writable = tuple(f"{os.path.realpath(one)}/" for one in writable)
        self._worked = False
        self._flags = _FLAGS[machine] if landlock_version() >= 1 else {}
        self._refused: set[str] = set()

    def run(self) -> None:
        """Look on until nobody is left who could open anything."""
        try:
            with self._sock:
                _, fds, _, _ = socket.recv_fds(self._sock, 1, 1)
            if fds:
                self._worked = True
                self._watch(fds[0])
        except OSError:
            self._worked = False

    def trace(self) -> Trace | None:
        """Return what the job looked for; None where that is not known."""
        if not self._worked or len(self._names) >= MAX_PATHS:
            return None
        found = Trace([], [], [], [], sorted(one.removeprefix(self._root) for one in self._refused))
        for path, was_opened in sorted(self._names.items()):
            mode = _mode(path)
            is_inside = f"{path}/".startswith(self._root)
            name = path.removeprefix(self._root) if f"{path}/" != self._root else "."
            if mode is None:
                found.sought.append(name)
            elif was_opened and stat.S_ISDIR(mode):
                found.folders.append(name)
            elif was_opened and stat.S_ISREG(mode):
                (found.inside if is_inside else found.opened).append(name)
        return found

    def _watch(self, listener: int) -> None:
        try:
            fcntl.ioctl(listener, _SET_FLAGS, _SYNC_WAKE_UP)  # both on one processor: half the time
        except OSError:
            pass  # before Linux 6.6
        poll = select.poll()
        poll.register(listener, select.POLLIN)
        while poll.poll()[0][1] & select.POLLIN:  # else nobody is left
            buffer = bytearray(_NOTIFICATION.size)
            try:
                fcntl.ioctl(listener, _RECV, buffer)
            except OSError:
                continue  # who opened was killed meanwhile
            ident, pid, _, call, _, _, *words = _NOTIFICATION.unpack(buffer)
            refused = False
            try:
                if call in self._calls:
                    self._note(pid, call, words)
                elif call in self._moves:
                    self._has_moved = True
                else:
                    refused = not self._may_change(pid, call, words)
            except OSError:  # it is gone, or the path cannot be read
                refused = call not in self._calls and call not in self._moves
            answer = (
                _ANSWER.pack(ident, 0, -errno.EACCES, 0) if refused else _ANSWER.pack(ident, 0, 0, _CONTINUE)
            )
            try:
                fcntl.ioctl(listener, _SEND, bytearray(answer))
            except OSError:
                pass  # it was killed meanwhile
        os.close(listener)
        for fd in self._memories.values():
            os.close(fd)

    def _may_change(self, pid: int, call: int, words: list[int]) -> bool:
        """Whether a job may make a change, or connect: below its own directories only."""
        if call == self._connect:
            address = self._read(pid, words[1], min(words[2] & 0xFFFFFFFF, _ADDRESS_BYTES))
            if int.from_bytes(address[:2], sys.byteorder) != _AF_UNIX or address[2:3] == b"\0":
                return True  # the network; abstract ones are Landlock's
            name, folder_at = os.fsdecode(address[2:].partition(b"\0")[0]), -1
        else:
            at, folder_at = self._changes[call]
            name = self._text(pid, words[at]) if folder_at != -2 and words[at] else ""
        if not name:  # of a descriptor
            target = os.readlink(f"/proc/{pid}/fd/{words[0] & 0xFFFFFFFF}")
            return not target.startswith("/") or target.startswith((*self._writable, "/memfd:"))
        path = self._full(pid, name, folder_at, words)
        for own in ("/proc/self/", "/proc/thread-self/"):
            path = f"/proc/{pid}/{path.removeprefix(own)}" if path.startswith(own) else path
        real = os.path.realpath(path)
        return f"{real}/".startswith(self._writable)

    def _full(self, pid: int, name: str, folder_at: int, words: list[int]) -> str:
        """Return a path that a process names, absolute."""
        if not name.startswith("/"):
            folder = _AT_FDCWD if folder_at < 0 else words[folder_at] & 0xFFFFFFFF
            if folder in (_AT_FDCWD, _AT_FDCWD & 0xFFFFFFFF):
                name = f"{self._where(pid)}/{name}"
            else:
                name = f"{os.readlink(f'/proc/{pid}/fd/{folder}')}/{name}"
        return os.path.normpath(name)

    def _where(self, pid: int) -> str:
        """Return the directory in which a process is."""
        if self._has_moved or not self._directory:
            self._directory = os.readlink(f"/proc/{pid}/cwd")
        return self._directory

    def _real(self, path: str) -> str:
        """Return what a path below the job's own directories leads to; a link may lead out."""
        folder = path.rpartition("/")[0]
        if self._has_moved or folder not in self._plain:
            if os.path.realpath(folder) != folder:
                return os.path.realpath(path)
            self._plain.add(folder)
        return os.path.realpath(path) if os.path.islink(path) else path

    def _note(self, pid: int, call: int, words: list[int]) -> None:
        at, folder_at = self._calls[call]
        name = self._text(pid, words[at])
        if not name:
            return  # of a descriptor: fstat
        if call in _EXECS:  # its memory is another's from now on
            os.close(self._memories.pop(pid))
        path = self._full(pid, name, folder_at, words)
        opens = call in self._opens
        if call in self._flags:
            at = self._flags[call]
            if (at < 0 or words[at] & _WRITES) and len(self._refused) < MAX_REFUSED:
                self._note_write(path)
        if path.startswith(self._inside):
            real = self._real(path)
            path = path if real.startswith(self._inside) else real
        if len(self._names) >= MAX_PATHS or (path in self._names and self._names[path] >= opens):
            return
        if f"{path}/".startswith(self._root) or not f"{path}/".startswith(self._own):
            self._names[path] = opens or self._names.get(path, False)

    def _note_write(self, path: str) -> None:
        real = os.path.realpath(path)
        if not real.startswith((*self._writable, "/dev/", "/proc/")):
            self._refused.add(path)

    def _text(self, pid: int, address: int) -> str:
        memory = self._memory(pid)
        data = b""
        while b"\0" not in data and len(data) < _PATH_BYTES:
            piece = os.pread(memory, _PAGE - (address + len(data)) % _PAGE, address + len(data))
            if not piece:
                break
            data += piece
        return os.fsdecode(data.partition(b"\0")[0])

    def _memory(self, pid: int) -> int:
        memory = self._memories.get(pid)
        if memory is None:
            memory = self._memories[pid] = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
        return memory

    def _read(self, pid: int, address: int, size: int) -> bytes:
        return os.pread(self._memory(pid), size, address)


def _mode(path: str) -> int | None:
    """Return the mode of the file, or whatever there is, at a path; None for nothing."""
    try:
        return os.stat(path).st_mode
    except (OSError, ValueError):
        return None

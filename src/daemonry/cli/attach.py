"""`daemonry attach`: the stacks of a daemon, a Python console in it, or a debugger.

Owns printing stacks, and joining the terminal to the connection of a console or a debugger: lines there, text
back.  What comes back is made safe for the terminal.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from typing import TYPE_CHECKING, Any, Final

from daemonry import errors
from daemonry.cli import exit_codes, output
from daemonry.cli.target import connected
from daemonry.terminal_text import printable, shown
from daemonry.transport.endpoint import UNIX

if TYPE_CHECKING:
    from daemonry.daemon.instance import Instance

_DEBUG: Final = "org.daemonry.Debug"
_READ_BYTES: Final = 1 << 16


def attach(instance: Instance, way: str, *, as_json: bool, timeout_s: float) -> int:
    """Attach to a daemon and return the exit code.

    Args:
        instance: the daemon.
        way: "stacks", "console" or "debugger".
        as_json: whether stacks are printed as JSON.
        timeout_s: how long it may take to be attached, in seconds.
    """
    if way == "stacks":
        return _stacks(instance, as_json=as_json, timeout_s=timeout_s)
    sock = _waiting_breakpoint(instance) if way == "debugger" else None
    if sock is None:
        with connected(instance, timeout_s) as client:
            _, stream = client.upgrade(f"{_DEBUG}.{way.capitalize()}", timeout_s=timeout_s)
        sock = socket.socket(fileno=stream.take_socket().detach())
    sock.settimeout(None)
    _join(sock)
    return exit_codes.DONE


def _waiting_breakpoint(instance: Instance) -> socket.socket | None:
    """Return a connection to a `breakpoint()` that waits; None where none does."""
    place = instance.place
    if place is None:
        return None
    endpoint = instance.endpoint()
    # The daemon's runtime directory is where its socket is; ours may be another, as in a session by ssh.
    beside = os.path.join(os.path.dirname(endpoint.address), os.path.basename(place.debug_path))
    for path in (beside, place.debug_path) if endpoint.kind == UNIX else (place.debug_path,):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.connect(path)
        except OSError:
            sock.close()
        else:
            return sock
    return None


def _join(sock: socket.socket) -> None:
    threading.Thread(target=_send_lines, args=(sock,), daemon=True).start()
    with sock:
        try:
            while data := sock.recv(_READ_BYTES):
                sys.stdout.write(shown(data.decode("utf-8", "backslashreplace")))
                sys.stdout.flush()
        except KeyboardInterrupt:
            output.say("")
        except ConnectionResetError:
            pass


def _send_lines(sock: socket.socket) -> None:
    try:
        for line in sys.stdin:
            sock.sendall(line.encode("utf-8", "replace"))
        sock.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # the other end is gone, which the reader sees too


# --- stacks ---------------------------------------------------------------------------------------


def _stacks(instance: Instance, *, as_json: bool, timeout_s: float) -> int:
    """Ask by the text dialect, which is answered while the loop is stuck too."""
    reply = instance.command("STACKS", timeout_s)
    fields: dict[str, Any] = dict(reply.fields or {})
    if as_json:
        output.say_json(fields)
        return exit_codes.DONE
    stacks = fields.get("stacks")
    if not isinstance(stacks, list):
        raise errors.BadFrame("it tells no stacks")
    for one in stacks:
        output.say(output.styled(f"{one.get('kind')} {printable(str(one.get('name')))}", "bold"))
        for frame in one.get("frames", ()):
            file, line, function, text = (printable(str(part)) for part in frame)
            output.say(f"  {file}:{line} in {function}")
            if text:
                output.say(output.styled(f"      {text}", "dim"))
    if fields.get("left_out"):
        output.say(f"and {fields['left_out']} more that did not fit")
    return exit_codes.DONE

"""`daemonry ui`: the address of a daemon's page, or a browser with it; and why a page cannot be had.

Owns asking for the address and handing it to a browser.  A browser is given a file of this user alone that
leads to the address: what stands on a command line, other users of the machine can read.
"""

from __future__ import annotations

import os
import sys
from html import escape

from daemonry.cli import exit_codes, output
from daemonry.cli.target import connected
from daemonry.daemon.instance import Instance
from daemonry.errors import CallFailed, DaemonryError, InterfaceNotFound, Refused
from daemonry.limits import HTTP_TROUBLE_ASKED_S
from daemonry.process.atomic_file import write_atomically
from daemonry.service.client.text import request
from daemonry.terminal_text import printable
from daemonry.transport.endpoint import Endpoint

_OPEN_PAGE = "org.daemonry.Control.Http.OpenPage"
_NO_PORT = "org.daemonry.Control.Http.NoPort"
_SUFFIX = ".html"


_HOW = "Daemon(..., http=True) in its program, or DAEMONRY_HTTP=on where it is started"


def ui(instance: Instance, *, opens: bool, as_json: bool, timeout_s: float, how: str = _HOW) -> int:
    """Print the address of a daemon's page with a one-time code, or open it; return the exit code.

    Args:
        instance: the daemon, or a home's supervisor.
        opens: whether a browser is opened.
        as_json: whether the address is printed as JSON.
        timeout_s: how long each answer may take.
        how: how HTTP is turned on there.

    Raises:
        Refused: the daemon has no HTTP, or cannot have its port.
    """
    with connected(instance, timeout_s) as client:
        try:
            found = client.call(_OPEN_PAGE, {})
        except InterfaceNotFound:
            raise Refused(f"{instance.name} has no HTTP: {how}") from None
        except CallFailed as error:
            if error.error != _NO_PORT:
                raise
            raise Refused(f"{instance.name}: {error.parameters['reason']}") from None
    url, token_path = str(found["url"]), str(found["token_path"])
    if as_json:
        output.say_json({"url": url})
    else:
        output.say(url)
    if opens:
        sys.stdout.flush()
        _open(url, token_path + _SUFFIX)
    return exit_codes.DONE


def complain_of_http(name: str, endpoint: Endpoint | str) -> None:
    """Say in one line on standard error why a daemon or home that has just started has no HTTP port.

    Says nothing where it has one, wants none, or does not answer at once.
    """
    try:
        fields = request(endpoint, "STATUS", HTTP_TROUBLE_ASKED_S).fields or {}
    except (DaemonryError, OSError):
        return
    if "http_error" in fields:
        output.complain(printable(f"{name}: {fields['http_error']}; it runs without, and tries again"))


def _open(url: str, path: str) -> None:
    import webbrowser

    page = f'<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0;url={escape(url)}">\n'
    write_atomically(path, page.encode("utf-8"), durable=False)
    if not webbrowser.open("file://" + os.path.abspath(path)):
        raise Refused("no browser could be opened: open the address by hand")

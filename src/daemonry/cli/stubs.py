"""`daemonry stubs` and `daemonry compat`: client modules of interfaces, and what breaks between two of them.

Owns the commands, and asking a running daemon for its descriptions.
"""

from __future__ import annotations

import argparse
from typing import Final

from daemonry.cli import exit_codes, output
from daemonry.cli.call import describe_interface, interface_names
from daemonry.cli.target import check, connected, instance_of, is_endpoint, is_program
from daemonry.errors import ArgumentInvalid
from daemonry.limits import REQUEST_TIMEOUT_S
from daemonry.stubs import compat as breaking
from daemonry.stubs import source, written
from daemonry.terminal_text import printable
from daemonry.wire import idl, idl_parser, varlink

# What every daemon has, and no program means.
_EVERYWHERE: Final = (varlink.SERVICE, "org.daemonry.")


def interfaces_of(target: str, only: str | None, timeout_s: float) -> list[idl.InterfaceDescription]:
    """Return the interfaces of a file, a program or a running daemon; or one of them.

    Raises:
        ArgumentInvalid: the file is not a description, or there is no such interface.
        As `load` for a program; as `connected` for a daemon.
    """
    if source.is_file(target):
        return source.chosen([source.of_file(target)], only, target)
    if is_program(check(target)) and not is_endpoint(target):
        return source.chosen(source.of_program(target), only, target)
    with connected(instance_of(target), timeout_s) as client:
        names = [one for one in interface_names(client, timeout_s) if not one.startswith(_EVERYWHERE)]
        wanted = names if only is None else [only]
        try:
            found = [describe_interface(client, name, timeout_s) for name in wanted]
        except idl_parser.IdlError as error:
            raise ArgumentInvalid(target, f"its description cannot be read: {error}") from None
    return source.chosen(found, only, target)


def stubs(options: argparse.Namespace) -> int:
    """Write client modules, or with `--check` say which are not as they would be written."""
    found = interfaces_of(options.source, options.interface, options.timeout or REQUEST_TIMEOUT_S)
    files = written.texts(found, options.lang)
    if options.check:
        old = written.outdated(options.output, files)
        for path in old:
            output.complain(f"{printable(path)}: is not what `daemonry stubs` writes now")
        return exit_codes.FAILED if old else exit_codes.DONE
    for path in written.write(options.output, files):
        output.say(printable(path))
    return exit_codes.DONE


def compat(options: argparse.Namespace) -> int:
    """Print what breaks for clients of the old interfaces with the new ones: 1 if anything does."""
    limit_s = options.timeout or REQUEST_TIMEOUT_S
    old = interfaces_of(options.old, options.interface, limit_s)
    new = interfaces_of(options.new, None, limit_s)
    found = breaking.breaks(old, new)
    if options.json:
        output.say_json([{"where": one.where, "what": one.what} for one in found])
    else:
        for one in found:
            output.say(f"{printable(one.where)}: {printable(one.what)}")
    return exit_codes.FAILED if found else exit_codes.DONE

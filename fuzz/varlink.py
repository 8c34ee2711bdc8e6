"""Fuzzes the codec, the connection and the interface language: only errors of ours may come out.

    scripts/fuzz [SECONDS]

The bytes choose what is fed, in which pieces, to which side.  An exception that is not in
`daemonry.errors` (or a subclass of one) is a finding, and so are the two codecs if they disagree.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["daemonry"]):
    from daemonry.errors import DaemonryError
    from daemonry.wire import dialect, fast_varlink, idl_parser, idl_printer, varlink
    from daemonry.wire.connection import ClientConnection, Ended, ServerConnection
    from daemonry.wire.text import CommandReader
    from daemonry.wire.varlink import Call, Reply


def one_input(data: bytes) -> None:
    """Feed one input to everything that takes bytes from a peer."""
    provider = atheris.FuzzedDataProvider(data)
    pieces = provider.ConsumeIntInRange(1, 64)
    fed = provider.ConsumeBytes(len(data))
    dialect.detect(fed)
    _text(fed, pieces)
    _codecs_agree(fed.partition(b"\0")[0])
    _serve(fed, pieces)
    _call(fed, pieces)
    _describe(fed)


def _text(fed: bytes, pieces: int) -> None:
    reader = CommandReader()
    for at in range(0, len(fed), pieces):
        reader.receive_data(fed[at : at + pieces])
        reader.next_event()


def _codecs_agree(frame: bytes) -> None:
    outcomes = []
    for codec in (varlink, fast_varlink):
        try:
            call = codec.decode_call(frame)
            outcomes.append((call.method, call.parameters, call.more, call.oneway, call.upgrade))
        except DaemonryError:
            outcomes.append(None)
    if outcomes[0] != outcomes[1]:
        raise AssertionError(f"the codecs disagree: {outcomes}")


def _serve(fed: bytes, pieces: int) -> None:
    server = ServerConnection(fast_varlink)
    try:
        for at in range(0, len(fed), pieces):
            server.receive_data(fed[at : at + pieces])
            while isinstance(event := server.next_event(), (Call, fast_varlink.FastCall)):
                if server.send_reply(Reply({"method": event.method[:10]})) is None:
                    raise AssertionError("a reply came to nothing")
        server.receive_eof()
        server.next_event()
    except DaemonryError:
        return


def _call(fed: bytes, pieces: int) -> None:
    client = ClientConnection(varlink)
    client.send_call(Call("org.example.a.B"))
    client.send_call(Call("org.example.a.C", more=True))
    try:
        for at in range(0, len(fed), pieces):
            client.receive_data(fed[at : at + pieces])
            while (event := client.next_event()) is not None and not isinstance(event, Ended):
                pass
        client.receive_eof()
        client.next_event()
    except DaemonryError:
        return


def _describe(fed: bytes) -> None:
    try:
        described = idl_parser.parse(fed.decode("utf-8", "replace"))
        if idl_parser.parse(idl_printer.print_interface(described, strict=False)) != described:
            raise AssertionError("printed and read again, it is another interface")
    except DaemonryError:
        return


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()

"""`daemonry call` and `daemonry describe`: typed calls from a shell.

    daemonry call NAME iface.Method key=value key:=JSON ...
    daemonry call NAME iface.Method '{"key": "value"}'
    daemonry call NAME iface.Method -            (the JSON object comes from standard input)

Owns turning words into parameters, by the daemon's own description of the method, and printing
replies: one JSON object a line, also for a stream.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from daemonry import errors, strict_json
from daemonry.cli import exit_codes, output
from daemonry.cli.target import connected
from daemonry.clock import Deadline
from daemonry.daemon.instance import Instance
from daemonry.service.client.blocking import Client
from daemonry.service.client.engine import CALL_TIMEOUT_S, time_left_s
from daemonry.service.interface.marks import READS, is_idempotent, only_reads
from daemonry.spelling import did_you_mean, nearest
from daemonry.terminal_text import printable
from daemonry.wire import idl, idl_parser, varlink

_GET_INFO = f"{varlink.SERVICE}.GetInfo"
_GET_DESCRIPTION = f"{varlink.SERVICE}.GetInterfaceDescription"


def call(
    instance: Instance, method: str, words: list[str], *, more: bool, oneway: bool, timeout_s: float | None
) -> int:
    """Call a method, print what comes back, and return the exit code.

    Args:
        instance: the daemon.
        method: its full name.
        words: its parameters, as they were typed.
        more: ask for a stream at once, and not only when the daemon says that it is one.
        oneway: ask for no reply.
        timeout_s: for the first reply, with all that leads to it, and for each further one; None for the
            usual time for the first one, and no end for the others.
    """
    idle_s, timeout_s = timeout_s, CALL_TIMEOUT_S if timeout_s is None else timeout_s
    whole_s = timeout_s
    with connected(instance, timeout_s) as client:
        if "." not in method:
            raise _without_interface(client, method, timeout_s)
        try:
            deadline = Deadline(timeout_s)
            parameters = parameters_of(client, method, words, timeout_s)
            if words != ["-"]:  # whose time is the writer's
                timeout_s = time_left_s(deadline) or 0.0
            if oneway:
                client.oneway(method, parameters)
                return exit_codes.DONE
            for fields in _replies(client, method, parameters, more, timeout_s, idle_s):
                output.say_json(fields)
                sys.stdout.flush()
        except (errors.MethodNotFound, errors.InterfaceNotFound) as error:
            raise errors.CallFailed(
                error.error, error.parameters | _hint(client, method, timeout_s)
            ) from None
        except errors.DeadlineExceeded as error:  # which knows the time that was left for its own step
            raise errors.DeadlineExceeded(error.phase, whole_s, error.ran, error.subject) from error
    return exit_codes.DONE


def _replies(
    client: Client,
    method: str,
    parameters: Mapping[str, Any],
    more: bool,
    timeout_s: float,
    idle_s: float | None,
) -> Iterator[dict[str, Any]]:
    if not more:
        try:
            yield _reply(client, method, parameters, timeout_s)
        except errors.ExpectedMore:
            pass  # it was not run; it gives a stream, so one is asked for
        else:
            return
    output.end_with_the_reader()
    yield from client.stream(method, parameters, idle_s=idle_s, first_s=timeout_s)


def _reply(client: Client, method: str, parameters: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
    """Call a method, once more where it may have run and its description says that this does no harm."""
    deadline = Deadline(timeout_s)
    try:
        return client.call(method, parameters, timeout_s=timeout_s)
    except errors.ConnectionLost as error:
        # Another machine that is cut off has been silent for six seconds, and would be for five more.
        if error.ran == "no" or client.peer.startswith("ssh:"):
            raise
        try:
            again = is_idempotent(_method(client, method, deadline.remaining_s() or 0.0).doc)
        except errors.DaemonryError:
            again = False
        if not again:
            raise error from None
        try:
            return client.call(method, parameters, timeout_s=deadline.remaining_s() or 0.0, idempotent=True)
        except errors.ConnectError:
            raise error from None  # it may have run all the same


def _without_interface(client: Client, name: str, timeout_s: float) -> errors.ArgumentInvalid:
    full = [one for one in method_names(client, timeout_s) if one.rpartition(".")[2].lower() == name.lower()]
    example = " or ".join(full) if full else "org.example.jobs.Start"
    return errors.ArgumentInvalid(printable(name, 40), f"a method has its interface before it: {example}")


def parameters_of(client: Client, method: str, words: list[str], timeout_s: float) -> dict[str, Any]:
    """Return the parameters that a command's words give.

    Raises:
        InvalidParameter: a word is not a parameter of the method, or not of its type.
        CallFailed: the daemon does not know the method.
    """
    if not words:
        return {}
    if len(words) == 1 and (words[0] == "-" or words[0].lstrip().startswith("{")):
        text = sys.stdin.read() if words[0] == "-" else words[0]
        try:
            return strict_json.decode_object(text)
        except errors.BadFrame as error:
            given = "standard input" if words[0] == "-" else printable(text, 40)
            raise errors.ArgumentInvalid(given, f"not a JSON object: {error.reason}") from None
    described = _method(client, method, timeout_s)
    parameters: dict[str, Any] = {}
    for word in words:
        name, value = _parameter(word, described)
        if name in parameters:
            raise errors.ArgumentInvalid(name, "given twice")
        parameters[name] = value
    return parameters


def _parameter(word: str, described: idl.MethodDescription) -> tuple[str, Any]:
    name, equals, text = word.partition("=")
    if not equals:
        raise errors.ArgumentInvalid(
            word, "a parameter is key=value, or key:=JSON, or all of them as one JSON object"
        )
    raw = name.endswith(":")
    name = name.removesuffix(":")
    types = {field.name: field.type for field in described.parameters.fields}
    if name not in types:
        hint = did_you_mean(name, types, f"{described.name} takes")
        raise errors.ArgumentInvalid(name, f"is not a parameter: {hint}")
    return name, _json(name, text) if raw else _value(name, text, types[name])


def _value(name: str, text: str, kind: idl.Type) -> Any:
    if isinstance(kind, idl.Optional):
        return None if text == "null" else _value(name, text, kind.element)
    if kind is idl.Basic.STRING or (isinstance(kind, (idl.Enum, idl.Named)) and not text.startswith("{")):
        return text
    return _json(name, text, kind)


def _json(name: str, text: str, kind: idl.Type | None = None) -> Any:
    got = f"got {printable(text, 40)!r}"
    try:
        value = strict_json.decode(text)
    except errors.BadFrame:
        expected = f"expected {kind.value}" if isinstance(kind, idl.Basic) else "expected JSON"
        raise errors.ArgumentInvalid(name, f"{expected}, {got}") from None
    if type(value) is int and not -varlink.INT_SENT_LIMIT < value < varlink.INT_SENT_LIMIT:
        raise errors.ArgumentInvalid(name, f"expected an integer {varlink.INT_SENT_RANGE}, {got}")
    return value


def _method(client: Client, name: str, timeout_s: float) -> idl.MethodDescription:
    interface, member = varlink.split_name(name)
    for one in describe_interface(client, interface, timeout_s).methods:
        if one.name == member:
            return one
    raise errors.MethodNotFound(varlink.METHOD_NOT_FOUND, {"method": member})


def describe_interface(client: Client, name: str, timeout_s: float) -> idl.InterfaceDescription:
    """Return a daemon's own description of an interface.

    Raises:
        InterfaceNotFound: it has none of that name.
        IdlError: its description is not in the interface language.
    """
    told = client.call(_GET_DESCRIPTION, {"interface": name}, timeout_s=timeout_s)
    return idl_parser.parse(told["description"])


def _hint(client: Client, method: str, timeout_s: float) -> dict[str, str]:
    """Return the nearest name that the daemon does have, as a further field of the error."""
    try:
        names = list(method_names(client, timeout_s))
    except errors.DaemonryError:
        return {}
    near = nearest(method, names, 0.5)
    return {"nearest": near} if near else {}


def interface_names(client: Client, timeout_s: float) -> list[str]:
    """Return the names of a daemon's interfaces."""
    return list(client.call(_GET_INFO, timeout_s=timeout_s)["interfaces"])


def method_names(client: Client, timeout_s: float) -> Iterator[str]:
    """Yield the full names of a daemon's methods."""
    for interface in interface_names(client, timeout_s):
        for one in describe_interface(client, interface, timeout_s).methods:
            yield f"{interface}.{one.name}"


def describe(instance: Instance, interface: str | None, *, as_json: bool, timeout_s: float) -> int:
    """Print what a daemon can be asked, and return the exit code."""
    with connected(instance, timeout_s) as client:
        if interface is not None:
            text = _description(client, interface, timeout_s)
            if as_json:
                output.say_json({"interface": interface, "description": text})
            else:
                output.say("\n".join(_coloured(line) for line in text.rstrip("\n").split("\n")))
            return exit_codes.DONE
        info = client.call(_GET_INFO, timeout_s=timeout_s)
        if as_json:
            output.say_json(info)
            return exit_codes.DONE
        for name in ("vendor", "product", "version", "url"):
            output.say(f"{name}: {output.value(info.get(name) or None)}")
        for name in info["interfaces"]:
            output.say(output.styled(printable(name), "bold"))
            for one in describe_interface(client, name, timeout_s).methods:
                output.say(f"  {one.name}{_summary(one.doc)}")
    return exit_codes.DONE


def _description(client: Client, interface: str, timeout_s: float) -> str:
    try:
        fields = client.call(_GET_DESCRIPTION, {"interface": interface}, timeout_s=timeout_s)
    except errors.InterfaceNotFound as error:
        near = nearest(interface, interface_names(client, timeout_s))
        further = {"nearest": near} if near else {}
        raise errors.InterfaceNotFound(error.error, error.parameters | further) from None
    return str(fields["description"])


def _summary(doc: str) -> str:
    first = doc.partition("\n")[0].strip()
    if only_reads(doc) and first != READS:
        first = f"{first} {READS}"
    return f"  {output.styled('# ' + printable(first), 'dim')}" if first else ""


def _coloured(line: str) -> str:
    shown = printable(line) if line.strip() else ""
    shown = line[: len(line) - len(line.lstrip())] + shown.lstrip()
    if shown.lstrip().startswith("#"):
        return output.styled(shown, "dim")
    keyword, blank, rest = shown.partition(" ")
    if keyword in ("interface", "type", "method", "error"):
        return output.styled(keyword, "bold") + blank + rest
    return shown

"""An interface as a Python module: its types, its errors, a client that blocks, and one for asyncio.

Owns the text of the module.  What is in it comes from the description alone, so a program, a running daemon
and a file give the same; docstrings are carried over, and nothing of a description is written as code.
Pure: a description in, text out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from daemonry.service.interface.marks import is_idempotent, is_stream, without_marks
from daemonry.stubs.comments import header
from daemonry.stubs.names import IN_ERRORS, Taken, class_name, module_name, python_name, snake
from daemonry.stubs.python_types import RecordClass, Types, inner_path, python_fields
from daemonry.wire import idl

# Python's own names that the modules use, and those that a record or an error must not hide.
_RESERVED: Final = (
    *("Any", "TYPE_CHECKING", "Literal", "Generator", "AsyncGenerator", "Mapping", "CallFailed"),
    *("AsyncStub", "BlockingStub", "None", "True", "False"),
)
# What annotations say; in a class with a method of such a name they say it by `_b`.
_BUILT_IN: Final = frozenset({"bool", "int", "float", "str", "list", "dict", "set"})


@dataclass(frozen=True)
class WrittenCall:
    """One method as it is written.

    Attributes:
        name: its name in Python.
        method: the description.
        parameters: with their names in Python.
        result: the annotation of what it returns, or of each value of a stream.
        reader: the expression that reads a reply.
        streams: whether it gives several values.
    """

    name: str
    method: idl.MethodDescription
    parameters: tuple[tuple[str, idl.Field], ...]
    result: str
    reader: str
    streams: bool


class Module:
    """The module of one interface.

    Attributes:
        name: its name.
    """

    def __init__(self, interface: idl.InterfaceDescription) -> None:
        self._interface = interface
        self.name: str = f"{module_name(interface.name)}_client"
        self._types = Types(Taken(_RESERVED))
        self._types.declare(interface.types)
        self._errors = [(self._types.names.take(python_name(one.name)), one) for one in interface.errors]
        for name, one in self._errors:
            for of in one.parameters.fields:
                self._types.annotation(of.type, inner_path(name, of))
        names = Taken()
        self._calls = [self._call(one, names) for one in interface.methods]
        self._client = self._types.names.take(class_name(interface.name) + "Client")
        self._async_client = self._types.names.take(f"Async{class_name(interface.name)}Client")

    def _call(self, method: idl.MethodDescription, names: Taken) -> WrittenCall:
        fields = method.reply.fields
        if not fields:
            result, reader = "None", "_c.nothing"
        elif len(fields) == 1 and fields[0].name == "result":
            path = f"{method.name}Result"
            result = self._types.annotation(fields[0].type, path)
            reader = f"_c.field('result', {self._types.reader(fields[0].type, path)})"
        else:
            result = self._types.named_like(method.reply) or self._types.record(
                f"{method.name}Reply", method.reply, f"The reply to {method.name}."
            )
            reader = f"{result}.from_json"
        # A parameter must not hide a class that the method's body names.
        parameters = tuple(python_fields(method.parameters, self._types.names))
        return WrittenCall(
            names.take(python_name(snake(method.name))),
            method,
            parameters,
            result,
            reader,
            is_stream(method.doc),
        )

    def text(self) -> str:
        """Return the module: the types, the errors and both clients."""
        raising = ["from daemonry.errors import CallFailed"] if self._errors else []
        lines = [
            *header(self._interface.name, "#"),
            "# ruff: noqa",
            *docstring(
                f"Clients of {self._interface.name}: {self._client}, which blocks, and {self._async_client}."
            ),
            "",
            "from __future__ import annotations",
            "",
            *raising,
            "from daemonry.stubs import convert as _c",
            "from daemonry.stubs.clients import AsyncStub, BlockingStub",
            "",
            "TYPE_CHECKING: bool = False",
            "if TYPE_CHECKING:",
            "    import builtins as _b",
            "    from collections.abc import AsyncGenerator, Generator, Mapping",
            "    from typing import Any, Literal",
            "",
            *self._enums(),
        ]
        for record in self._types.records.values():
            lines += ["", *self._record(record), ""]
        for name, error in self._errors:
            lines += ["", *self._error(name, error), ""]
        lines += ["", *self._client_class(self._client, "BlockingStub", "Generator[{}, None, None]", ""), ""]
        lines += [
            "",
            *self._client_class(self._async_client, "AsyncStub", "AsyncGenerator[{}, None]", "async "),
        ]
        return "\n".join(lines) + "\n"

    def _enums(self) -> Iterator[str]:
        for name, alias in self._types.enums.items():
            assert isinstance(alias.type, idl.Enum)
            yield "if TYPE_CHECKING:"
            yield f"    {name} = Literal[{', '.join(map(repr, alias.type.names))}]"
            yield "else:"
            yield f"    {name} = str"
            yield ""

    def _record(self, record: RecordClass) -> Iterator[str]:
        yield f"class {record.name}(_c.Record):"
        yield from _indented(docstring(record.doc or f"{record.name}."))
        yield ""
        names = [name for name, _ in record.fields]
        yield f"    __slots__ = ({''.join(f'{name!r}, ' for name in names).rstrip()})"
        yield f"    __match_args__ = ({''.join(f'{name!r}, ' for name in names).rstrip()})"
        yield ""
        parameters = ", ".join(["self", *self._signature(record.fields, record.name)])
        yield f"    def __init__({parameters}) -> None:"
        yield from [f"        self.{name} = {name}" for name in names] or ["        pass"]
        yield ""
        yield "    @classmethod"
        yield f"    def from_json(cls, value: Any) -> {record.name}:"
        yield '        """Read one; raises `Mismatch`."""'
        yield "        fields = _c.mapping(value)" if record.fields else "        _c.mapping(value)"
        yield "        return cls("
        for name, one in record.fields:
            reader = self._types.reader(one.type, inner_path(record.name, one))
            yield f"            {name}=_c.take(fields, {one.name!r}, {reader}),"
        yield "        )"
        yield ""
        yield "    def to_json(self) -> dict[str, Any]:"
        yield '        """Return it as JSON."""'
        yield "        return _c.given({"
        yield from (
            f"            {one.name!r}: {self._types.writer(one.type, f'self.{name}')},"
            for name, one in record.fields
        )
        yield "        })"

    def _error(self, name: str, error: idl.ErrorType) -> Iterator[str]:
        fields = tuple(python_fields(error.parameters, IN_ERRORS))
        full = f"{self._interface.name}.{error.name}"
        yield f"class {name}(CallFailed):"
        yield from _indented(docstring(error.doc or f"{error.name}."))
        yield ""
        yield "    def __init__(self, parameters: Mapping[str, Any]) -> None:"
        yield f"        super().__init__({full!r}, parameters)"
        for python, one in fields:
            path = inner_path(name, one)
            annotation = self._types.annotation(one.type, path)
            reader = self._types.reader(one.type, path)
            yield f"        self.{python}: {annotation} = _c.take(parameters, {one.name!r}, {reader})"

    def _signature(self, fields: tuple[tuple[str, idl.Field], ...], owner: str) -> Iterator[str]:
        for name, one in fields:
            annotation = self._types.annotation(one.type, inner_path(owner, one))
            yield f"{name}: {annotation}{' = None' if isinstance(one.type, idl.Optional) else ''}"

    def _client_class(self, name: str, base: str, stream: str, word: str) -> Iterator[str]:
        yield f"class {name}({base}):"
        yield from _indented(docstring(self._interface.doc or f"Calls {self._interface.name}."))
        yield ""
        yield "    __slots__ = ()"
        if self._errors:
            yield ""
            yield "    _errors = {"
            yield from (
                f"        {f'{self._interface.name}.{error.name}'!r}: {python},"
                for python, error in self._errors
            )
            yield "    }"
        for call in self._calls:
            yield ""
            yield from self._method(call, stream, word)

    def _method(self, call: WrittenCall, stream: str, word: str) -> Iterator[str]:
        signature = ", ".join(["self", *self._signature(call.parameters, call.method.name)])
        returned = stream.format(call.result) if call.streams else call.result
        signature, returned = self._unhidden(signature), self._unhidden(returned)
        yield f"    {'' if call.streams else word}def {call.name}({signature}) -> {returned}:"
        yield from _indented(docstring(without_marks(call.method.doc) or f"Call {call.method.name}."), 2)
        full = f"{self._interface.name}.{call.method.name}"
        sent = ", ".join(
            f"{one.name!r}: {self._types.writer(one.type, name)}" for name, one in call.parameters
        )
        arguments = f"{full!r}, {{{sent}}}, {call.reader}"
        if call.streams:
            yield f"        return self._stream({arguments})"
        else:
            again = ", idempotent=True" if is_idempotent(call.method.doc) else ""
            yield f"        return {'await ' if word else ''}self._call({arguments}{again})"

    def _unhidden(self, annotations: str) -> str:
        hidden = _BUILT_IN & {call.name for call in self._calls}
        if not hidden:
            return annotations
        return re.sub(rf"(?<!['\w])({'|'.join(sorted(hidden))})(?!['\w:])", r"_b.\1", annotations)


def docstring(text: str) -> list[str]:
    """Return a text as the lines of a docstring, whatever is in it."""
    safe = "".join(
        one if one == "\n" or (one.isprintable() and one != "\\") else _escaped(one) for one in text
    )
    safe = safe.replace('"""', '\\"\\"\\"')
    lines = [line.rstrip() for line in safe.split("\n")]
    if len(lines) == 1:
        end = " " if safe.endswith('"') else ""
        return [f'"""{lines[0]}{end}"""']
    return [f'"""{lines[0]}', *lines[1:], '"""']


def _escaped(one: str) -> str:
    return "\\\\" if one == "\\" else one.encode("unicode_escape").decode("ascii")


def _indented(lines: list[str], depth: int = 1) -> list[str]:
    return [f"{'    ' * depth}{line}".rstrip() for line in lines]

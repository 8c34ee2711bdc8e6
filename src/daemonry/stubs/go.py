"""An interface as a Go package: its types, its errors, and a client; it needs the standard library alone.

Owns the text.  Each call and each stream has a connection of its own.  Pure: a description in, text out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Final

from daemonry.service.interface.marks import is_stream, without_marks
from daemonry.stubs.comments import header, line_comment
from daemonry.stubs.go_runtime import RUNTIME
from daemonry.stubs.names import Taken, class_name, module_name
from daemonry.stubs.python_types import STRING_SET, RecordClass, Types, inner_path
from daemonry.wire import idl

_BASIC: Final = {
    idl.Basic.BOOL: "bool",
    idl.Basic.INT: "int64",
    idl.Basic.FLOAT: "float64",
    idl.Basic.STRING: "string",
    idl.Basic.OBJECT: "map[string]any",
    idl.Basic.ANY: "any",
}
_RESERVED: Final = ("Error", "CallError", "Stream")


def file_of(interface: idl.InterfaceDescription) -> tuple[str, str]:
    """Return the name and the text of an interface's package, which is one file."""
    return f"{module_name(interface.name)}_client.go", _GoPackage(interface).text()


def go_name(name: str) -> str:
    """Return a field's name as Go exports it: `from_here` is `FromHere`."""
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))


def _columns(rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """Return lines with their words below each other, as gofmt has the fields of a struct."""
    kept = list(rows)
    widths = [max(map(len, column)) for column in zip(*kept, strict=True)]
    for row in kept:
        yield "\t" + " ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip()


class _GoPackage:
    def __init__(self, interface: idl.InterfaceDescription) -> None:
        self._interface = interface
        self._types = Types(Taken(_RESERVED))
        self._types.declare(interface.types)
        self._errors = [
            (self._types.record(f"{one.name}Error", one.parameters, one.doc), one) for one in interface.errors
        ]
        self._client = self._types.names.take(class_name(interface.name) + "Client")
        self._parameters = {
            one.name: self._types.record(f"{one.name}Parameters", one.parameters) for one in interface.methods
        }
        self._methods = [line for one in interface.methods for line in self._method(one)]

    def text(self) -> str:
        """Return the package."""
        lines = [
            *header(self._interface.name, "//"),
            "",
            *line_comment(self._interface.doc, "//"),
            f"package {self._package()}",
            "",
            *RUNTIME.splitlines(),
            "",
        ]
        for name, alias in self._types.enums.items():
            lines += [*self._enum(name, alias), ""]
        for record in self._types.records.values():
            lines += [*self._record(record), ""]
        for name, error in self._errors:
            text = json.dumps(f"{self._interface.name}.{error.name}")
            lines += [f"func (e *{name}) Error() string {{", f"\treturn {text}", "}", ""]
        lines += [*self._error_of(), ""]
        lines += [f"// {self._client} calls the daemon at a Unix socket.", f"type {self._client} struct {{"]
        lines += ["\t// Path is the socket's.", "\tPath string", "}", *self._methods]
        return "\n".join(lines) + "\n"

    def _package(self) -> str:
        name = module_name(self._interface.name).replace("_", "")
        return f"{name}client"

    def _type(self, kind: idl.Type, path: str) -> str:
        if isinstance(kind, idl.Basic):
            return _BASIC[kind]
        if isinstance(kind, idl.Named | idl.Struct):
            return self._types.annotation(kind, path)
        if isinstance(kind, idl.Enum):
            return "string"
        if kind == STRING_SET:
            return "map[string]struct{}"
        element = self._type(kind.element, path)
        if isinstance(kind, idl.Optional):
            return element if element.startswith(("map[", "[]")) or element == "any" else f"*{element}"
        return f"[]{element}" if isinstance(kind, idl.Array) else f"map[string]{element}"

    def _enum(self, name: str, alias: idl.TypeAlias) -> Iterator[str]:
        assert isinstance(alias.type, idl.Enum)
        yield from line_comment(alias.doc, "//")
        yield f"type {name} string"
        yield ""
        yield "const ("
        yield from _columns(
            (self._types.names.take(name + go_name(value)), f"{name} = {json.dumps(value)}")
            for value in alias.type.names
        )
        yield ")"

    def _record(self, record: RecordClass) -> Iterator[str]:
        taken = Taken({"Error"})  # an error's method
        yield from line_comment(record.doc, "//")
        yield f"type {record.name} struct {{"
        yield from _columns(
            (
                taken.take(go_name(one.name)),
                self._type(one.type, inner_path(record.name, one)),
                f'`json:"{one.name}{",omitempty" if isinstance(one.type, idl.Optional) else ""}"`',
            )
            for _, one in record.fields
        )
        yield "}"

    def _error_of(self) -> Iterator[str]:
        yield "func errorOf(name string, parameters json.RawMessage) error {"
        yield "\tvar known error"
        yield "\tswitch name {"
        for name, error in self._errors:
            yield f"\tcase {json.dumps(f'{self._interface.name}.{error.name}')}:"
            yield f"\t\tknown = &{name}{{}}"
        yield "\t}"
        yield "\tif known != nil && json.Unmarshal(parameters, known) == nil {"
        yield "\t\treturn known"
        yield "\t}"
        yield "\treturn &CallError{Name: name, Parameters: parameters}"
        yield "}"

    def _method(self, method: idl.MethodDescription) -> Iterator[str]:
        fields = method.reply.fields
        if not fields:
            result, read = "struct{}", "whole[struct{}]"
        elif len(fields) == 1 and fields[0].name == "result":
            result = self._type(fields[0].type, f"{method.name}Result")
            read = f"resultOf[{result}]"
        else:
            result = self._types.named_like(method.reply) or self._types.record(
                f"{method.name}Reply", method.reply
            )
            read = f"whole[{result}]"
        full = json.dumps(f"{self._interface.name}.{method.name}")
        given = f"ctx context.Context, parameters {self._parameters[method.name]}"
        name = f"{method.name}_" if method.name == "Path" else method.name
        yield ""
        yield from line_comment(without_marks(method.doc) or f"{method.name} calls the daemon.", "//")
        if is_stream(method.doc):
            yield f"func (c *{self._client}) {name}({given}) (*Stream[{result}], error) {{"
            yield f"\treturn open(ctx, c.Path, {full}, parameters, true, {read})"
        elif not fields:
            yield f"func (c *{self._client}) {name}({given}) error {{"
            yield f"\t_, err := call(ctx, c.Path, {full}, parameters, {read})"
            yield "\treturn err"
        else:
            yield f"func (c *{self._client}) {name}({given}) ({result}, error) {{"
            yield f"\treturn call(ctx, c.Path, {full}, parameters, {read})"
        yield "}"

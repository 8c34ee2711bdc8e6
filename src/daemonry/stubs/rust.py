"""An interface as a Rust module: its types, its errors, and a client that blocks; it needs no crate.

Owns the text, laid out as rustfmt lays it out, but for a type that alone is wider than a line.  Each call
and each stream has a connection of its own.  Pure: a description in, text out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from daemonry.service.interface.marks import is_stream, without_marks
from daemonry.stubs.comments import header, line_comment
from daemonry.stubs.names import Taken, class_name, module_name, snake
from daemonry.stubs.python_types import STRING_SET, RecordClass, Types, inner_path
from daemonry.stubs.rust_runtime import RUNTIME
from daemonry.wire import idl

_BASIC: Final = {
    idl.Basic.BOOL: "bool",
    idl.Basic.INT: "i64",
    idl.Basic.FLOAT: "f64",
    idl.Basic.STRING: "String",
    idl.Basic.OBJECT: "BTreeMap<String, Json>",
    idl.Basic.ANY: "Json",
}
_RESERVED: Final = (
    *(
        "Json",
        "Wire",
        "Parser",
        "Error",
        "Replies",
        "String",
        "Vec",
        "Option",
        "Some",
        "None",
        "Box",
        "Result",
        "Ok",
        "Err",
    ),
    *("BTreeMap", "BTreeSet", "Read", "Write", "UnixStream", "Self", "Iterator", "From", "Into", "Default"),
    *(
        "Clone",
        "Debug",
        "PartialEq",
        "Sized",
        "Path",
        "PathBuf",
        "Drop",
        "Copy",
        "Send",
        "Sync",
        "Fn",
        "Iter",
    ),
)
_KEYWORDS: Final = frozenset(
    (
        *("as", "async", "await", "break", "const", "continue", "crate", "dyn", "else", "enum", "extern"),
        *("false", "fn", "for", "if", "impl", "in", "let", "loop", "match", "mod", "move", "mut", "pub"),
        *("ref", "return", "self", "static", "struct", "super", "trait", "true", "type", "unsafe", "use"),
        *("where", "while", "abstract", "become", "box", "do", "final", "macro", "override", "priv"),
        *("typeof", "unsized", "virtual", "yield", "try", "gen", "Self"),
    )
)


# What a method's body calls: a parameter of this name would hide it.
_USED_IN_METHODS: Final = ("self", "path", "fields", "put", "one", "replies", "result_of", "nothing")
# rustfmt's `max_width` and `fn_call_width`, in columns.
_LINE: Final = 100
_ARGUMENTS: Final = 60
# Wider than this, the end of a broken signature has its brace below it.
_END: Final = 94


def file_of(interface: idl.InterfaceDescription) -> tuple[str, str]:
    """Return the name and the text of an interface's module."""
    return f"{module_name(interface.name)}_client.rs", _RustModule(interface).text()


def rust_name(name: str) -> str:
    """Return a name as Rust can have it: `type` is `type_`."""
    return f"{name}_" if name in _KEYWORDS else name


def _call(before: str, arguments: list[str], after: str) -> Iterator[str]:
    """Return a call as rustfmt breaks it; none of the arguments is a call itself."""
    inner = ", ".join(arguments)
    if len(inner) <= _ARGUMENTS and len(before + inner + after) <= _LINE:
        yield before + inner + after
        return
    indent = " " * (len(before) - len(before.lstrip()))
    yield before
    yield from (f"{indent}    {one}," for one in arguments)
    yield indent + after


def _signature(name: str, parameters: list[str], result: str) -> Iterator[str]:
    """Return the line or lines in which a method begins."""
    whole = f"    pub fn {name}({', '.join(parameters)}) -> {result} {{"
    if len(whole) <= _LINE:
        yield whole
        return
    yield f"    pub fn {name}("
    yield from (f"        {one}," for one in parameters)
    end = f"    ) -> {result}"
    yield from [f"{end} {{"] if len(end) <= _END else [end, "    {"]


class _RustModule:
    def __init__(self, interface: idl.InterfaceDescription) -> None:
        self._interface = interface
        self._types = Types(Taken(_RESERVED))
        self._types.declare(interface.types)
        self._client = self._types.names.take(class_name(interface.name) + "Client")
        self._error_fields = {
            one.name: self._types.record(f"{one.name}Fields", one.parameters) for one in interface.errors
        }
        names = Taken({"new"})
        self._class = [line for one in interface.methods for line in self._method(names, one)]

    def text(self) -> str:
        """Return the module."""
        lines = [
            *header(self._interface.name, "//"),
            "#![allow(dead_code, non_snake_case, clippy::all)]",
            "",
            *RUNTIME.splitlines(),
            "",
        ]
        for name, alias in self._types.enums.items():
            lines += [*self._enum(name, alias), ""]
        for record in self._types.records.values():
            lines += [*self._record(record), ""]
        lines += [*self._error(), ""]
        lines += [
            *line_comment(self._interface.doc, "///"),
            "#[derive(Debug, Clone)]",
            f"pub struct {self._client} {{",
        ]
        lines += ["    path: PathBuf,", "}", "", f"impl {self._client} {{"]
        lines += [
            "    /// Return a client of the daemon at a Unix socket.",
            "    pub fn new(path: impl Into<PathBuf>) -> Self {",
        ]
        lines += ["        Self { path: path.into() }", "    }", *self._class, "}"]
        return "\n".join(lines) + "\n"

    def _type(self, kind: idl.Type, path: str) -> str:
        if isinstance(kind, idl.Basic):
            return _BASIC[kind]
        if isinstance(kind, idl.Named | idl.Struct):
            return self._types.annotation(kind, path)
        if isinstance(kind, idl.Enum):
            return "String"
        if kind == STRING_SET:
            return "BTreeSet<String>"
        element = self._type(kind.element, path)
        if isinstance(kind, idl.Optional):
            # A type may hold itself, which needs a place of its own.
            return f"Option<Box<{element}>>" if isinstance(kind.element, idl.Named) else f"Option<{element}>"
        return f"Vec<{element}>" if isinstance(kind, idl.Array) else f"BTreeMap<String, {element}>"

    def _enum(self, name: str, alias: idl.TypeAlias) -> Iterator[str]:
        assert isinstance(alias.type, idl.Enum)
        taken = Taken({"Self"})
        variants = [
            (taken.take("".join(p[:1].upper() + p[1:] for p in one.split("_"))), one)
            for one in alias.type.names
        ]
        yield from line_comment(alias.doc, "///")
        yield "#[derive(Debug, Clone, Copy, PartialEq)]"
        yield f"pub enum {name} {{"
        yield from (f"    {variant}," for variant, _ in variants)
        yield "}"
        yield ""
        yield f"impl Wire for {name} {{"
        yield "    fn to_json(&self) -> Json {"
        yield "        Json::String(String::from(match self {"
        yield from (f'            Self::{variant} => "{one}",' for variant, one in variants)
        yield "        }))"
        yield "    }"
        yield ""
        yield "    fn from_json(value: &Json) -> Result<Self, String> {"
        yield "        match String::from_json(value)?.as_str() {"
        yield from (f'            "{one}" => Ok(Self::{variant}),' for variant, one in variants)
        yield '            other => Err(format!("unexpected {other:?}")),'
        yield "        }"
        yield "    }"
        yield "}"

    def _record(self, record: RecordClass) -> Iterator[str]:
        taken = Taken()
        fields = [(taken.take(rust_name(one.name)), one) for _, one in record.fields]
        yield from line_comment(record.doc, "///")
        yield "#[derive(Debug, Clone, PartialEq)]"
        yield f"pub struct {record.name} {{" + "}" * (not fields)
        for name, one in fields:
            yield from line_comment(one.doc, "    ///")
            yield f"    pub {name}: {self._type(one.type, inner_path(record.name, one))},"
        yield from ["}"] * bool(fields)
        yield ""
        yield f"impl Wire for {record.name} {{"
        yield "    fn to_json(&self) -> Json {"
        yield f"        let {'mut ' if fields else ''}fields = BTreeMap::new();"
        for name, one in fields:
            yield from _call("        put(", ["&mut fields", f'"{one.name}"', f"&self.{name}"], ");")
        yield "        Json::Object(fields)"
        yield "    }"
        yield ""
        yield "    fn from_json(value: &Json) -> Result<Self, String> {"
        yield f"        let {'fields' if fields else '_'} = fields_of(value)?;"
        yield "        Ok(Self {" + "})" * (not fields)
        for name, one in fields:
            yield from _call(f"            {name}: take(", ["fields", f'"{one.name}"'], ")?,")
        yield from ["        })"] * bool(fields)
        yield "    }"
        yield "}"

    def _error(self) -> Iterator[str]:
        taken = Taken({"Daemon", "Reply", "Connection", "Self"})
        kinds = [(taken.take(one.name), one.name) for one in self._interface.errors]
        yield "/// What a call can end with."
        yield "#[derive(Debug)]"
        yield "pub enum Error {"
        yield from (f"    {variant}({self._error_fields[name]})," for variant, name in kinds)
        yield "    /// Another error that the daemon answered with: its name and its parameters."
        yield "    Daemon(String, Json),"
        yield "    /// The reply does not fit the description."
        yield "    Reply(String),"
        yield "    /// The daemon cannot be reached, or the connection was lost: the call may have run."
        yield "    Connection(std::io::Error),"
        yield "}"
        yield ""
        prefix = f'"{self._interface.name}."'
        wide = len(f"const INTERFACE: &str = {prefix};") > _LINE
        yield from (
            ["const INTERFACE: &str =", f"    {prefix};"] if wide else [f"const INTERFACE: &str = {prefix};"]
        )
        yield ""
        yield "fn error_of(name: String, parameters: Json) -> Error {"
        yield "    let declared = match name.strip_prefix(INTERFACE) {"
        for variant, name in kinds:
            yield f'        Some("{name}") => error_as(&parameters, Error::{variant}),'
        yield "        _ => Err(String::new()),"
        yield "    };"
        yield "    declared.unwrap_or(Error::Daemon(name, parameters))"
        yield "}"

    def _method(self, names: Taken, method: idl.MethodDescription) -> Iterator[str]:
        taken = Taken(_USED_IN_METHODS)
        parameters = [(taken.take(rust_name(one.name)), one) for one in method.parameters.fields]
        given = [f"{name}: {self._type(one.type, inner_path(method.name, one))}" for name, one in parameters]
        fields = method.reply.fields
        single = len(fields) == 1 and fields[0].name == "result"
        if not fields:
            result, read = "()", "nothing"
        elif single:
            result, read = self._type(fields[0].type, f"{method.name}Result"), "result_of"
        else:
            named = self._types.named_like(method.reply)
            result = named or self._types.record(f"{method.name}Reply", method.reply)
            read = "Wire::from_json"
        full = f"{self._interface.name}.{method.name}"
        yield ""
        yield from line_comment(without_marks(method.doc), "    ///")
        name = names.take(rust_name(snake(method.name)))
        streams = is_stream(method.doc)
        result = f"Replies<{result}>" if streams else result
        yield from _signature(name, ["&self", *given], f"Result<{result}, Error>")
        if parameters:
            yield "        let mut fields = BTreeMap::new();"
        for variable, one in parameters:
            yield from _call("        put(", ["&mut fields", f'"{one.name}"', f"&{variable}"], ");")
        sent = "fields" if parameters else "BTreeMap::new()"
        call = "        replies(" if streams else "        one("
        yield from _call(call, ["&self.path", f'"{full}"', sent, read], ")")
        yield "    }"

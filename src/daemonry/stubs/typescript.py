"""An interface as a TypeScript module: its types, its errors, and a client over a Unix socket for Node.

Owns the text.  Each call and each stream has a connection of its own, so that none waits for another.
Integers are JavaScript's numbers; one beyond 2**53 in a reply is refused.  Pure: a description in, text out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from daemonry.service.interface.marks import is_stream, without_marks
from daemonry.stubs.comments import header, printable_lines
from daemonry.stubs.names import Taken, class_name, module_name
from daemonry.wire import idl

_BASIC: Final = {
    idl.Basic.BOOL: "boolean",
    idl.Basic.INT: "number",
    idl.Basic.FLOAT: "number",
    idl.Basic.STRING: "string",
    idl.Basic.OBJECT: "{ [name: string]: unknown }",
    idl.Basic.ANY: "unknown",
}
# Names of the language's library that the module uses, and its own.
_RESERVED: Final = (
    *("Error", "Buffer", "JSON", "Promise", "AsyncGenerator", "VarlinkError", "Fields", "Object", "String"),
    *("Array", "Symbol", "Function", "Boolean", "Number"),
)
_RUNTIME: Final = """\
type Fields = { [name: string]: unknown };

/** An error that the daemon answered with. */
export class VarlinkError extends Error {
  readonly error: string;
  readonly parameters: Fields;

  constructor(error: string, parameters: Fields) {
    super(error + " " + JSON.stringify(parameters));
    this.error = error;
    this.parameters = parameters;
  }
}

const MAX_REPLY_BYTES = 16777216;

/** Refuse an integer that a number of JavaScript would round; Node tells its digits from version 21 on. */
function exact(name: string, value: unknown, context?: { source?: string }): unknown {
  if (typeof value === "number" && !Number.isSafeInteger(value) && /^-?\\d+$/.test(context?.source ?? "")) {
    throw new RangeError(name + ": " + context?.source + " is beyond 2^53, and no exact number");
  }
  return value;
}

function parsed(text: string) {
  return JSON.parse(text, /\\d{16}/.test(text) ? exact : undefined);
}

async function* replies(
  path: string,
  method: string,
  parameters: Fields,
  more: boolean,
): AsyncGenerator<Fields> {
  const socket = net.connect(path);
  let received = Buffer.alloc(0);
  try {
    socket.write(JSON.stringify({ method, parameters, ...(more ? { more } : {}) }) + "\\0");
    for await (const chunk of socket) {
      received = Buffer.concat([received, chunk as Buffer]);
      for (let end = received.indexOf(0); end >= 0; end = received.indexOf(0)) {
        const reply = parsed(received.subarray(0, end).toString("utf8"));
        received = received.subarray(end + 1);
        if (reply.error) throw errorOf(reply.error, reply.parameters ?? {});
        yield reply.parameters ?? {};
        if (!reply.continues) return;
      }
      if (received.length > MAX_REPLY_BYTES) throw new Error(method + ": the reply is too long");
    }
    throw new Error(method + ": the connection was lost");
  } finally {
    socket.destroy();
  }
}

async function call(path: string, method: string, parameters: Fields): Promise<Fields> {
  for await (const fields of replies(path, method, parameters, false)) return fields;
  throw new Error(method + ": no reply");
}
"""


def file_of(interface: idl.InterfaceDescription) -> tuple[str, str]:
    """Return the name and the text of an interface's module."""
    return f"{module_name(interface.name)}_client.ts", _TypeScriptModule(interface).text()


class _TypeScriptModule:
    def __init__(self, interface: idl.InterfaceDescription) -> None:
        self._interface = interface
        taken = Taken(_RESERVED)
        self._names = {one.name: taken.take(one.name) for one in interface.types}
        self._errors = [(taken.take(one.name), one) for one in interface.errors]
        self._client = taken.take(class_name(interface.name) + "Client")

    def text(self) -> str:
        """Return the module."""
        lines = [
            *header(self._interface.name, "//"),
            "",
            'import * as net from "node:net";',
            "",
            *_RUNTIME.splitlines(),
            "",
        ]
        for alias in self._interface.types:
            lines += [
                *comment(alias.doc),
                f"export type {self._names[alias.name]} = {self._type(alias.type)};",
                "",
            ]
        for name, error in self._errors:
            lines += [*self._error(name, error), ""]
        lines += ["function errorOf(error: string, parameters: Fields): VarlinkError {"]
        for name, error in self._errors:
            full = f"{self._interface.name}.{error.name}"
            lines.append(f'  if (error === "{full}") return new {name}(error, parameters);')
        lines += ["  return new VarlinkError(error, parameters);", "}", "", *self._class()]
        return "\n".join(lines) + "\n"

    def _type(self, kind: idl.Type) -> str:
        if isinstance(kind, idl.Basic):
            return _BASIC[kind]
        if isinstance(kind, idl.Named):
            return self._names[kind.name]
        if isinstance(kind, idl.Enum):
            return " | ".join(f'"{name}"' for name in kind.names)
        if isinstance(kind, idl.Struct):
            return (
                "{ " + "".join(f"{self._field(one)}; " for one in kind.fields) + "}" if kind.fields else "{}"
            )
        if isinstance(kind, idl.Optional):
            return f"{self._type(kind.element)} | null"
        element = self._type(kind.element)
        return f"({element})[]" if isinstance(kind, idl.Array) else f"{{ [name: string]: {element} }}"

    def _field(self, field: idl.Field) -> str:
        mark = "?" if isinstance(field.type, idl.Optional) else ""
        return f'"{field.name}"{mark}: {self._type(field.type)}'

    def _error(self, name: str, error: idl.ErrorType) -> Iterator[str]:
        yield from comment(error.doc)
        yield f"export class {name} extends VarlinkError {{"
        yield f"  declare readonly parameters: Fields & {self._type(error.parameters)};"
        yield "}"

    def _class(self) -> Iterator[str]:
        yield from comment(self._interface.doc)
        yield f"export class {self._client} {{"
        yield "  readonly #path: string;"
        yield ""
        yield "  /** @param path the daemon's Unix socket */"
        yield "  constructor(path: string) {"
        yield "    this.#path = path;"
        yield "  }"
        names = Taken({"constructor"})
        for method in self._interface.methods:
            yield ""
            yield from self._method(names.take(method.name[0].lower() + method.name[1:]), method)
        yield "}"

    def _method(self, name: str, method: idl.MethodDescription) -> Iterator[str]:
        yield from comment(without_marks(method.doc), "  ")
        fields = method.parameters.fields
        optional = " = {}" if all(isinstance(one.type, idl.Optional) for one in fields) else ""
        parameters = f"parameters: {self._type(method.parameters)}{optional}" if fields else ""
        given = "parameters" if fields else "{}"
        reply = method.reply.fields
        single = len(reply) == 1 and reply[0].name == "result"
        result = self._type(reply[0].type if single else method.reply) if reply else "void"
        value = f'fields["result"] as {result}' if single else f"fields as {result}"
        full = f"{self._interface.name}.{method.name}"
        if is_stream(method.doc):
            yield f"  async *{name}({parameters}): AsyncGenerator<{result}> {{"
            yield f'    for await (const fields of replies(this.#path, "{full}", {given}, true)) {{'
            yield f"      yield {value if reply else 'undefined'};"
            yield "    }"
        else:
            yield f"  async {name}({parameters}): Promise<{result}> {{"
            head = "const fields = " if reply else ""
            yield f'    {head}await call(this.#path, "{full}", {given});'
            if reply:
                yield f"    return {value};"
        yield "  }"


def comment(text: str, indent: str = "") -> list[str]:
    """Return a text as a comment, whatever is in it."""
    lines = printable_lines(text.replace("*/", "*\\/"))
    if len(lines) < 2:
        return [f"{indent}/** {line} */" for line in lines]
    return [f"{indent}/**", *(f"{indent} * {line}".rstrip() for line in lines), f"{indent} */"]

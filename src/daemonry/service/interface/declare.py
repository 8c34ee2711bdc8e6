"""A Python class as an interface: its typed methods can be called from anywhere.

    class Busy(CallError):
        \"\"\"Another job is under way.\"\"\"
        job: str

    class Jobs(Interface, name="org.example.jobs", errors=(Busy,)):
        \"\"\"Runs jobs, one at a time.\"\"\"

        def start(self, command: list[str], cwd: str = "/") -> Job: ...
        async def watch(self, job: str) -> AsyncIterator[Progress]: ...

Owns what such a class means on the wire: a method `list_jobs` is called `ListJobs`; parameters
keep their names, less a trailing `_` (for names that Python keeps to itself); one with a default
may be left out.  A dataclass, Struct or TypedDict that is returned becomes the reply's fields, any
other value its one field `result` (or `@method(reply="name")`), None none.  An async generator is a
stream, for callers that take `more`.  `Upgrade[X]` gives the connection away behind its reply.

The class is both: what a daemon implements, and what a client is given to call.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Final, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from daemonry.errors import CallFailed
from daemonry.service.interface import shapes
from daemonry.service.interface.handler import Context, Upgrade
from daemonry.service.interface.marks import IDEMPOTENT, READS, STREAMS
from daemonry.service.interface.owner import note_methods
from daemonry.service.interface.schema import (
    NotDescribable,
    Schema,
    bare,
    holds,
    is_struct,
    own_doc,
    struct_fields,
)
from daemonry.transport.ancillary import Fd
from daemonry.wire import idl
from daemonry.wire.idl_printer import print_interface

Function = TypeVar("Function", bound=Callable[..., Any])

RESULT: Final = "result"
_MARK = "__daemonry_method__"
_STREAMS = (AsyncIterator, AsyncGenerator)


class CallError(CallFailed):
    """An error that an interface declares; subclasses annotate its fields and are raised with them.

    A field with a value in the class may be left out; so may one that can be None.

    Attributes:
        error: the name on the wire, once it has been there; else the class's own.
        parameters: the fields, as a dict.
    """

    def __init__(self, **fields: Any) -> None:
        known = self.fields()
        for name in fields:
            if name not in known:
                raise TypeError(f"{type(self).__name__} has no field {name!r}")
        for name, kind in known.items():
            if name not in fields:
                fields[name] = self._default(name, kind)
        super().__init__(type(self).__name__, fields)
        for name, value in fields.items():
            setattr(self, name, value)

    @classmethod
    def fields(cls) -> dict[str, Any]:
        """Return the types of the fields, by name."""
        inherited = get_type_hints(CallError)
        return {name: kind for name, kind in get_type_hints(cls).items() if name not in inherited}

    @classmethod
    def _default(cls, name: str, kind: Any) -> Any:
        if hasattr(cls, name):
            return getattr(cls, name)
        if type(None) in get_args(kind):
            return None
        raise TypeError(f"{cls.__name__} needs its field {name!r}")


class Marks(msgspec.Struct, frozen=True):
    """What the decorator `method` says of a method.

    Attributes:
        name: its name on the wire; "" for the one made from Python's.
        blocking: whether it runs in a thread.
        idempotent: whether a client may make the call again when it does not know that it ran.
        reply: the name of the one field that the reply is put into; "" for the usual.
        oneway: whether proxies call it one-way.
        reads: whether it changes nothing, so that a paused daemon answers it too.
    """

    name: str = ""
    blocking: bool = False
    idempotent: bool = False
    reply: str = ""
    oneway: bool = False
    reads: bool = False


def method(
    *,
    name: str = "",
    blocking: bool = False,
    idempotent: bool = False,
    reply: str = "",
    oneway: bool = False,
    reads: bool = False,
) -> Callable[[Function], Function]:
    """Say more of an interface's method.

    Args:
        name: its name on the wire, where the one made from Python's will not do.
        blocking: it may wait or compute for long: it runs in a thread, and the others go on.
        idempotent: a second execution changes nothing: clients make the call again where it may
            have run.  The description says so in a line `[Idempotent]`.
        reply: put the reply into one field of this name, whatever its type is.
        oneway: nobody waits for it: proxies send the call and return.  It returns None.
        reads: it changes nothing: it is answered in a paused daemon too, and reading twice is as
            good as once, so it is `idempotent` as well.  The description says so in a line `[Reads]`.
    """

    def mark(function: Function) -> Function:
        setattr(function, _MARK, Marks(name, blocking, idempotent or reads, reply, oneway, reads))
        return function

    return mark


class Interface:
    """The base of interfaces.  Public methods with annotations can be called; others are the class's own.

    Class arguments:
        name: the interface's name, a reverse domain: `org.example.jobs`.
        errors: the `CallError`s that its methods raise.

    Attributes:
        server_errors: errors by the interface's name that the server itself answers with, to be
            described; handlers do not raise them.
    """

    interface_name: ClassVar[str] = ""
    interface_errors: ClassVar[tuple[type[CallError], ...]] = ()
    server_errors: ClassVar[tuple[idl.ErrorType, ...]] = ()

    def __init_subclass__(
        cls, *, name: str = "", errors: tuple[type[CallError], ...] = (), **rest: Any
    ) -> None:
        super().__init_subclass__(**rest)
        note_methods(cls)
        if name:
            if not idl.is_interface_name(name):
                raise NotDescribable(cls.__name__, name, "is not an interface name such as org.example.jobs")
            cls.interface_name = name
            cls.interface_errors = tuple(errors)


class Method:
    """One method of an interface, ready to be called.

    Attributes:
        name: its name on the wire.
        python_name: its name in the class.
        function: the class's function.
        parameters: a Struct with its parameters, checked on the way in.
        names: the parameters' names in Python, in the order of the Struct's fields.
        reply: the type of its reply, or of each reply of a stream.
        reply_field: the name of the one field that the reply is put into; "" where it is its fields.
        streams: whether it gives several replies.
        upgrades: whether the connection is another protocol's behind its reply.
        marks: what its decorator says.
        context: the name of the parameter that takes the `Context`, or "".
        takes_fds: whether a parameter is, or holds, a descriptor.
        gives_fds: whether its reply is, or holds, one.
        read_parameters, write_parameters, read_reply, write_reply: changes to their JSON in addition
            what msgspec does; None for nothing (see `shapes`).
    """

    def __init__(
        self, function: Callable[..., Any], python_name: str, where: str, marks: Marks | None = None
    ) -> None:
        if marks is None:
            marks = getattr(function, _MARK, Marks())
        hints = get_type_hints(function, include_extras=True)
        self.python_name = python_name
        self.function = function
        self.marks: Marks = marks
        self.name: str = marks.name or "".join(part.capitalize() for part in python_name.split("_"))
        self.doc: str = inspect.cleandoc(function.__doc__ or "")
        self.context: str = ""
        self.names: list[str] = []
        self.parameters: type[msgspec.Struct] = self._parameters(function, hints, where)
        returned = hints.get("return", type(None))
        if returned is Upgrade:
            returned = Upgrade[None]
        self.streams: bool = get_origin(returned) in _STREAMS
        self.upgrades: bool = get_origin(returned) is Upgrade
        _refuse_mixed_kinds(function, returned, marks, where)
        self.reply: Any = get_args(returned)[0] if self.streams or self.upgrades else returned
        if self.reply is None:
            self.reply = type(None)
        self.reply_field: str = marks.reply
        if self.reply is not type(None) and not is_struct(bare(self.reply)):
            self.reply_field = marks.reply or RESULT
        if marks.oneway and self.reply is not type(None):
            raise NotDescribable(where, self.reply, "is not sent by a one-way method: return None")
        if marks.oneway and marks.reads:
            raise NotDescribable(where, function, "is one-way and reads: nobody would receive its result")
        self.takes_fds: bool = holds(self.parameters, Fd)
        self.gives_fds: bool = holds(self.reply, Fd)
        self.read_parameters: shapes.Pass | None = shapes.incoming(self.parameters)
        self.write_parameters: shapes.Pass | None = shapes.outgoing(self.parameters)
        self.read_reply: shapes.Pass | None = shapes.incoming(self.reply)
        self.write_reply: shapes.Pass | None = shapes.outgoing(self.reply)

    def _parameters(
        self, function: Callable[..., Any], hints: dict[str, Any], where: str
    ) -> type[msgspec.Struct]:
        fields: list[Any] = []
        for parameter in list(inspect.signature(function).parameters.values())[1:]:
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                raise NotDescribable(where, parameter.name, "takes any number of arguments")
            if parameter.kind is parameter.POSITIONAL_ONLY:
                raise NotDescribable(
                    where, parameter.name, "stands before a `/`: parameters are sent by name"
                )
            if parameter.name not in hints:
                raise NotDescribable(where, parameter.name, "has no type")
            hint = hints[parameter.name]
            if hint is Context:
                self.context = parameter.name
                continue
            self.names.append(parameter.name)
            wire_name = parameter.name.rstrip("_")
            default = {} if parameter.default is parameter.empty else _default(parameter.default)
            fields.append((parameter.name, hint, msgspec.field(name=wire_name, **default)))
        return msgspec.defstruct(f"{self.name}Parameters", fields, forbid_unknown_fields=True, kw_only=True)


def _refuse_mixed_kinds(function: Callable[..., Any], returned: Any, marks: Marks, where: str) -> None:
    """Refuse what would fail at every call: a generator that is not a stream, a blocking coroutine."""
    if returned in _STREAMS:
        raise NotDescribable(where, returned, "needs the type of its values: AsyncIterator[int]")
    if inspect.isgeneratorfunction(function):
        raise NotDescribable(where, function, "is a plain generator: a stream is written `async def`")
    if inspect.isasyncgenfunction(function) and get_origin(returned) not in _STREAMS:
        raise NotDescribable(where, function, "is a generator: annotate it `-> AsyncIterator[...]`")
    if marks.blocking and (inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)):
        raise NotDescribable(where, function, "is async: only a plain `def` can be blocking")


def _default(value: Any) -> dict[str, Any]:
    if type(value) in (list, dict, set):
        return {"default_factory": lambda: copy.copy(value)}
    return {"default": value}


class Described:
    """An interface class, worked out: its description and its methods by wire name.

    Attributes:
        name: the interface's name.
        interface: its description.
        text: the description as the interface language has it.
        methods: by their names on the wire.
        errors: the declared errors, by their names on the wire, without the interface's.
    """

    def __init__(self, kind: type[Interface]) -> None:
        if not kind.interface_name:
            raise NotDescribable(kind.__name__, kind, "has no interface name")
        self.name: str = kind.interface_name
        self.methods: dict[str, Method] = {one.name: one for one in _methods(kind)}
        self.errors: dict[str, type[CallError]] = {one.__name__: one for one in kind.interface_errors}
        self.interface: idl.InterfaceDescription = self._describe(own_doc(_named(kind)), kind.server_errors)
        self.text: str = print_interface(self.interface, strict=False)

    def _describe(self, doc: str, server_errors: tuple[idl.ErrorType, ...]) -> idl.InterfaceDescription:
        schema = Schema()
        methods = []
        for one in self.methods.values():
            with _placed(one.function, f"{self.name}.{one.name}"):
                methods.append(self._method(schema, one))
        errors = []
        for name, kind in self.errors.items():
            with _placed(kind, f"{self.name}.{name}"):
                errors.append(idl.ErrorType(name, self._fields(schema, kind.fields(), name), own_doc(kind)))
        self._refuse_names_of_types(schema)
        return idl.InterfaceDescription(
            self.name, (*schema.aliases.values(), *methods, *errors, *server_errors), doc
        )

    def _refuse_names_of_types(self, schema: Schema) -> None:
        """Refuse a method or an error with the name of a type: the language has one scope for all three."""
        functions = {name: one.function for name, one in self.methods.items()}
        named: dict[str, Callable[..., Any] | type] = {**functions, **self.errors}
        for name, what in named.items():
            if name in schema.aliases:
                with _placed(what, f"{self.name}.{name}"):
                    raise NotDescribable(
                        f"{self.name}.{name}", what, f"is named {name} on the wire, as a type is: rename one"
                    )

    def _method(self, schema: Schema, one: Method) -> idl.MethodDescription:
        where = f"{self.name}.{one.name}"
        parameters = [
            idl.Field(name, schema.field(kind, optional=optional, where=f"{where}({name})"))
            for name, kind, optional in struct_fields(one.parameters)
        ]
        if one.reply_field:
            reply = idl.Struct((idl.Field(one.reply_field, schema.type_of(one.reply, where)),))
        elif one.reply is type(None):
            reply = idl.Struct()
        else:
            reply = schema.fields_of(bare(one.reply), where)
        marks = [STREAMS] * one.streams
        marks += [READS] if one.marks.reads else [IDEMPOTENT] * one.marks.idempotent
        doc = "\n".join([one.doc, "", *marks]).strip()
        return idl.MethodDescription(one.name, idl.Struct(tuple(parameters)), reply, doc)

    def _fields(self, schema: Schema, kinds: dict[str, Any], where: str) -> idl.Struct:
        return idl.Struct(
            tuple(idl.Field(name, schema.type_of(kind, f"{where}.{name}")) for name, kind in kinds.items())
        )


def _named(kind: type[Interface]) -> type[Interface]:
    """Return the class that gave the interface its name: what derives from it implements it."""
    return next(one for one in kind.__mro__ if "interface_name" in one.__dict__)


def _methods(kind: type[Interface]) -> list[Method]:
    found: list[Method] = []
    for name in _public_names(kind):
        function = inspect.getattr_static(kind, name)
        if inspect.isfunction(function):
            where = f"{kind.__name__}.{name}"
            with _placed(function, where):
                one = Method(function, name, where, _marks(kind, name))
                if any(other.name == one.name for other in found):
                    raise NotDescribable(where, one.name, "is another method's name on the wire")
            found.append(one)
    return found


@contextmanager
def _placed(what: Callable[..., Any] | type, where: str) -> Iterator[None]:
    """Have what cannot be described told with the place of the method or class that it is in."""
    try:
        yield
    except NotDescribable as error:
        error.place = error.place or place_of(what)
        raise
    except NameError as error:
        unknown = NotDescribable(where, error.name, "is named as a type, and is not defined there")
        unknown.place = place_of(what)
        raise unknown from None


def place_of(what: Callable[..., Any] | type) -> str:
    """Return the file and line of a function or class, `file.py:12`; "" where they are unknown."""
    what = inspect.unwrap(getattr(what, "__func__", what))
    code = getattr(what, "__code__", None)
    if code is not None:
        return f"{code.co_filename}:{code.co_firstlineno}"
    try:
        return f"{inspect.getsourcefile(what)}:{inspect.getsourcelines(what)[1]}"
    except (OSError, TypeError):
        return ""


def _marks(kind: type[Interface], name: str) -> Marks:
    """Return what the decorators of a method say: those of an interface hold for who implements it.

    Only whether it runs in a thread is the implementation's own.
    """
    found = [getattr(one.__dict__[name], _MARK, Marks()) for one in kind.__mro__ if name in one.__dict__]
    return Marks(
        name=next((one.name for one in found if one.name), ""),
        blocking=found[0].blocking,
        idempotent=any(one.idempotent for one in found),
        reply=next((one.reply for one in found if one.reply), ""),
        oneway=any(one.oneway for one in found),
        reads=any(one.reads for one in found),
    )


def _public_names(kind: type[Interface]) -> list[str]:
    # An implementation may have public helpers of its own; the class that named the interface, and
    # those between it and the implementation, say what can be called.
    names: dict[str, None] = {}
    for one in reversed(kind.__mro__):
        if issubclass(one, Interface) and one is not Interface and "interface_name" in one.__dict__:
            names.update({name: None for name in one.__dict__ if not name.startswith("_")})
    return [name for name in names if name not in ("interface_name", "interface_errors", "server_errors")]


_described: dict[type[Interface], Described] = {}


def described(kind: type[Interface]) -> Described:
    """Return what an interface class means, worked out once.

    Raises:
        NotDescribable: a type in it has no form in the interface language.
    """
    found = _described.get(kind)
    if found is None:
        found = _described[kind] = Described(kind)
    return found

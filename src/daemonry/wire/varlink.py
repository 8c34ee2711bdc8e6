r"""Varlink frames: the calls and replies that pass, and the bytes that they are.

Owns the two values, their JSON in both directions, and the names that the protocol itself defines.
Where a frame ends is `wire.framer`'s; whose turn it is to speak belongs to `wire.connection`; what a
method does with its parameters belongs to `service`.  The format is varlink.org's (Method-Call, 2025-02):

    call    {"method":"org.example.Job.Start","parameters":{...}}\0     oneway, more or upgrade: true
    reply   {"parameters":{...}}\0                                      continues: true
    error   {"parameters":{...},"error":"org.example.Job.Busy"}\0

Strict in sending: fully-qualified names, `parameters` always there and an object, flags only
where they are true; no NUL and no lone surrogate in a string, no NaN, integers
below 2**63 in size, a point in every float, at most `MAX_JSON_DEPTH` levels.

One vendor key is ours, on a call whose caller is traced (`tracing`), with the caller's place in its trace:

    call    {"method":...,"parameters":{...},"org.daemonry.trace":{"traceparent":"00-..."}}\0

Bounded in reading: the JSON that every peer reads in the same way (`strict_json`), with the same
limits.  These forms are never sent, but understood: `parameters` absent or null, flags that are
false, integers to 2**64 (systemd writes UINT64_MAX for "infinite"), and a vendor's own keys, which
are skipped.  A flag or an error that is null is refused, as systemd does.

Needs the standard library alone and imports almost none of it: a command that makes one call
cannot pay for `json`.  `wire.fast_varlink` is the same codec for processes that live longer.
"""

from __future__ import annotations

from daemonry import faults, strict_json
from daemonry.limits import MAX_ECHO_CHARS, MAX_JSON_DEPTH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Final

# systemd's sd-varlink buffers 16 MiB; gRPC's default is 4 MiB, D-Bus allows 128.
MAX_FRAME_BYTES: Final = 16 << 20
# Integers that are sent are smaller in size: what each peer's int64 holds, and its negative as well.
INT_SENT_LIMIT: Final = 1 << 63
INT_SENT_RANGE: Final = "from -(2**63 - 1) to 2**63 - 1"
# Integers that are accepted: those of int64 and of uint64.
MIN_INT: Final = -(1 << 63)
MAX_INT: Final = (1 << 64) - 1
# Names once found right are not looked at again; a program calls far fewer.
MAX_KNOWN_NAMES: Final = 1024

# --- names of the protocol --------------------------------------------------------------------

SERVICE: Final = "org.varlink.service"
INTERFACE_NOT_FOUND: Final = f"{SERVICE}.InterfaceNotFound"
METHOD_NOT_FOUND: Final = f"{SERVICE}.MethodNotFound"
METHOD_NOT_IMPLEMENTED: Final = f"{SERVICE}.MethodNotImplemented"
INVALID_PARAMETER: Final = f"{SERVICE}.InvalidParameter"
PERMISSION_DENIED: Final = f"{SERVICE}.PermissionDenied"
EXPECTED_MORE: Final = f"{SERVICE}.ExpectedMore"
# The one parameter that each of them carries, or None.
STANDARD_ERRORS: Final[Mapping[str, str | None]] = {
    INTERFACE_NOT_FOUND: "interface",
    METHOD_NOT_FOUND: "method",
    METHOD_NOT_IMPLEMENTED: "method",
    INVALID_PARAMETER: "parameter",
    PERMISSION_DENIED: None,
    EXPECTED_MORE: None,
}

# The key of a call's place in a trace: the fields of W3C Trace Context, as headers have them.
TRACE: Final = "org.daemonry.trace"
# The specification has 55 characters for one field and 512 for the other, and baggage 8192.
MAX_TRACE_CHARS: Final = 16384

# What a call asks for; all but the first are also the names of their flags.
PLAIN: Final = "plain"
MORE: Final = "more"
ONEWAY: Final = "oneway"
UPGRADE: Final = "upgrade"
FLAGS: Final = (ONEWAY, MORE, UPGRADE)

_ONE_FLAG = "oneway, more and upgrade exclude each other"
_ERROR_IS_LAST = "an error is the last reply, and cannot continue"


# --- values -----------------------------------------------------------------------------------


class _Message:
    """Compares and prints by its fields, whichever class keeps them.

    The classes that do are not frozen `Value`: setting the fields of one takes three times as long,
    and a message is made for every frame.  Nobody changes one all the same.
    """

    __slots__ = ()
    __hash__: None = None  # type: ignore[assignment]  # parameters are a dict
    _names: tuple[str, ...] = ()

    def _values(self) -> tuple[object, ...]:
        return tuple(getattr(self, name) for name in self._names)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Message) or other._names != self._names:
            return NotImplemented
        return self._values() == other._values()

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in self._names)
        return f"{type(self).__name__}({fields})"


class AnyCall(_Message):
    """A request, of whichever codec.

    Attributes:
        method: `interface.Method`.  One that came from a peer may be any text: see `split_name`.
        parameters: a JSON object, as a dict.
        oneway: the caller wants no reply, and none may be sent.
        more: the caller takes several replies.
        upgrade: after one reply the connection is to belong to another protocol.
    """

    __slots__ = ()
    _names = ("method", "parameters", "oneway", "more", "upgrade")
    method: str
    parameters: Any
    oneway: bool
    more: bool
    upgrade: bool
    # The caller's place in its trace; not one of the fields, which msgspec would read here.
    if TYPE_CHECKING:
        trace: Mapping[str, str] | None
    else:
        trace = None

    @property
    def mode(self) -> str:
        """Which of `FLAGS` is set, or `PLAIN`."""
        return ONEWAY if self.oneway else MORE if self.more else UPGRADE if self.upgrade else PLAIN


class AnyReply(_Message):
    """An answer, of whichever codec; the last one, unless it `continues`.

    Attributes:
        parameters: a JSON object, as a dict: the result, or what the error tells.
        continues: more replies to the same call follow.
        error: the fully-qualified name of what went wrong, or None.
    """

    __slots__ = ()
    _names = ("parameters", "continues", "error")
    parameters: Any
    continues: bool
    error: str | None


class Call(AnyCall):
    """A request; without parameters, an empty object.

    Raises:
        NotSendable: more than one flag; each promises another number of replies.
    """

    __slots__ = ("method", "more", "oneway", "parameters", "trace", "upgrade")

    def __init__(
        self,
        method: str,
        parameters: Any = None,
        oneway: bool = False,
        more: bool = False,
        upgrade: bool = False,
    ) -> None:
        if oneway or more or upgrade:
            _refuse_flags(oneway, more, upgrade)
        self.method: str = method
        self.parameters: Any = {} if parameters is None else parameters
        self.oneway: bool = oneway
        self.more: bool = more
        self.upgrade: bool = upgrade
        self.trace: Mapping[str, str] | None = None


class Reply(AnyReply):
    """An answer; without parameters, an empty object.

    Raises:
        NotSendable: an error that continues.
    """

    __slots__ = ("continues", "error", "parameters")

    def __init__(self, parameters: Any = None, continues: bool = False, error: str | None = None) -> None:
        if continues:
            _refuse_to_continue(error)
        self.parameters: Any = {} if parameters is None else parameters
        self.continues: bool = continues
        self.error: str | None = error


# --- names ------------------------------------------------------------------------------------


def split_name(name: str) -> tuple[str, str]:
    """Return the interface and the member of a name, `("", name)` where there is no interface."""
    interface, _, member = name.rpartition(".")
    return interface, member


def is_interface_name(text: str) -> bool:
    """Say whether `text` is a reverse-domain name: two labels or more, the first begins with a letter."""
    labels = text.split(".")
    return len(labels) > 1 and text[:1].isalpha() and all(_is_label(label) for label in labels)


def is_member_name(text: str) -> bool:
    """Say whether `text` can name a method, a type or an error: `[A-Z][A-Za-z0-9]*`."""
    return text.isascii() and text.isalnum() and text[0].isupper()


def encode_name(name: str) -> bytes:
    """Return a method's or an error's name as it is sent.

    Raises:
        NotSendable: it is not `interface.Member`, each as the interface language has it.
    """
    known = _known_names.get(name)
    return _learn_name(name) if known is None else known


def _can_be_sent(interface: str, member: str) -> bool:
    return is_interface_name(interface) and bool(member) and is_member_name(member)


_known_names: dict[str, bytes] = {}


def _learn_name(name: str) -> bytes:
    interface, member = split_name(name)
    if not _can_be_sent(interface, member):
        as_sent = "".join(word[:1].upper() + word[1:] for word in member.split("_"))
        is_python = len(name) <= MAX_ECHO_CHARS and _can_be_sent(interface, as_sent)
        hint = f": write {interface}.{as_sent}" if is_python else ""
        raise faults.NotSendable(
            f"{name[:MAX_ECHO_CHARS]!a} is not a fully-qualified name such as org.example.Job.Start{hint}"
        )
    if len(_known_names) >= MAX_KNOWN_NAMES:
        _known_names.clear()
    return _known_names.setdefault(name, name.encode("ascii"))


def _is_label(text: str) -> bool:
    return text.isascii() and text.replace("-", "a").isalnum() and text[0] != "-" and text[-1] != "-"


# --- encoding ---------------------------------------------------------------------------------

METHOD_HEAD: Final = b'{"method":"'
PARAMETERS_HEAD: Final = b'","parameters":'
REPLY_HEAD: Final = b'{"parameters":'
PLAIN_TAIL: Final = b"}"
# How a plain message ends as it is sent.
FRAME_END: Final = PLAIN_TAIL + b"\0"
_CONTINUES_TAIL: Final = b',"continues":true}'
# How a reply of a stream ends behind which others come.
CONTINUES_END: Final = _CONTINUES_TAIL + b"\0"
_CALL_TAILS: Final[Mapping[str, bytes]] = {
    PLAIN: PLAIN_TAIL,
    ONEWAY: b',"oneway":true}',
    MORE: b',"more":true}',
    UPGRADE: b',"upgrade":true}',
}


def encode_call(call: AnyCall) -> bytes:
    """Return the call's frame, without the NUL that ends it.

    Raises:
        NotSendable: the name is not fully qualified, or as `encode_parameters`.
    """
    head = METHOD_HEAD + encode_name(call.method) + PARAMETERS_HEAD
    frame = head + encode_parameters(call.parameters) + call_tail(call)
    return frame if tracing.source is None else tracing.marked(frame)


class Tracing:
    """Whether calls carry the place of their caller in its trace, for this process.

    Attributes:
        source: returns the fields of the present context; None while nobody traces.
    """

    __slots__ = ("source",)

    def __init__(self) -> None:
        self.source: Callable[[], dict[str, str]] | None = None

    def marked(self, frame: bytes) -> bytes:
        """Return a call's frame with the caller's place in its trace, if it has one."""
        fields = {} if self.source is None else self.source()
        if not fields:
            return frame
        return b"".join((frame[:-1], b',"', TRACE.encode(), b'":', encode_parameters(fields), b"}"))


tracing: Final = Tracing()


def encode_reply(reply: AnyReply) -> bytes:
    """Return the reply's frame, without the NUL that ends it.

    Raises:
        NotSendable: the error's name is not fully qualified, or as `encode_parameters`.
    """
    return REPLY_HEAD + encode_parameters(reply.parameters) + reply_tail(reply)


def call_tail(call: AnyCall) -> bytes:
    """Return what stands behind a call's parameters.

    Raises:
        NotSendable: more than one flag.
    """
    _refuse_flags(call.oneway, call.more, call.upgrade)
    return _CALL_TAILS[call.mode]


def reply_tail(reply: AnyReply) -> bytes:
    """Return what stands behind a reply's parameters.

    Raises:
        NotSendable: the error's name is not fully qualified, or it continues.
    """
    if reply.continues:
        _refuse_to_continue(reply.error)
        return _CONTINUES_TAIL
    if reply.error is None:
        return PLAIN_TAIL
    return b',"error":"' + encode_name(reply.error) + b'"}'


def _refuse_flags(oneway: bool, more: bool, upgrade: bool) -> None:
    if oneway + more + upgrade > 1:
        raise faults.NotSendable(_ONE_FLAG)


def _refuse_to_continue(error: str | None) -> None:
    if error is not None:
        raise faults.NotSendable(_ERROR_IS_LAST)


def encode_parameters(parameters: Any) -> bytes:
    """Return an object as JSON in UTF-8, without blanks; None is an empty one.

    Only `dict` with `str` keys, `list`, `tuple`, `str`, `int`, `float`, `bool` and None have a
    form, and their subclasses have none: what such a one prints is not ours to know.

    Raises:
        NotSendable: it is not a dict, or holds what the module's docstring excludes.
    """
    if parameters is None:
        return b"{}"
    if type(parameters) is not dict:
        raise faults.NotSendable("parameters are not an object")
    try:
        # The envelope is the first level.
        return _write(parameters, 2).encode("utf-8")
    except UnicodeEncodeError:
        raise faults.NotSendable("a lone surrogate in a string") from None


def _write(value: Any, depth: int) -> str:
    writer = _WRITERS.get(type(value))
    if writer is None:
        raise faults.NotSendable(f"JSON has no form for {type(value).__name__}")
    return writer(value, depth)


def _write_object(fields: dict[Any, Any], depth: int) -> str:
    _refuse_too_deep(depth)
    rows = [f"{_write_key(name, depth)}:{_write(value, depth + 1)}" for name, value in fields.items()]
    return "{" + ",".join(rows) + "}"


def _write_array(values: list[Any] | tuple[Any, ...], depth: int) -> str:
    _refuse_too_deep(depth)
    return "[" + ",".join([_write(value, depth + 1) for value in values]) + "]"


def _refuse_too_deep(depth: int) -> None:
    if depth > MAX_JSON_DEPTH:
        raise faults.NotSendable(f"nested deeper than {MAX_JSON_DEPTH}")


def _write_key(name: Any, depth: int) -> str:
    if type(name) is not str:
        raise faults.NotSendable(f"a key that is {type(name).__name__}, not text")
    return _write_text(name, depth)


def _write_text(text: str, _depth: int) -> str:
    if "\0" in text:
        raise faults.NotSendable("a NUL character in a string")
    return _quote(text)


def _write_int(number: int, _depth: int) -> str:
    if not -INT_SENT_LIMIT < number < INT_SENT_LIMIT:
        raise faults.NotSendable(f"an integer that is not {INT_SENT_RANGE}")
    return str(number)


def _write_float(number: float, _depth: int) -> str:
    if number - number != 0.0:
        raise faults.NotSendable("a number that is not finite")
    digits = repr(number)
    if "." in digits:
        return digits
    # "1e+16": some readers take a number without a point for an integer.
    mantissa, _, exponent = digits.partition("e")
    return f"{mantissa}.0e{exponent}"


_WRITERS: Final[Mapping[type, Callable[[Any, int], str]]] = {
    dict: _write_object,
    list: _write_array,
    tuple: _write_array,
    str: _write_text,
    int: _write_int,
    float: _write_float,
    bool: lambda value, _depth: "true" if value else "false",
    type(None): lambda _value, _depth: "null",
}


def _find_quote() -> Callable[[str], str]:
    try:
        from _json import encode_basestring as quote  # C, and behind no import of `re`
    except ImportError:
        from json.encoder import encode_basestring as quote
    return quote


_quote = _find_quote()

# --- decoding ---------------------------------------------------------------------------------


def decode_call(frame: bytes) -> Call:
    """Return the call that a frame, without its NUL, holds.

    Raises:
        BadFrame: it is not a call, or holds what the module's docstring excludes.
    """
    fields = _decode(frame)
    method = fields.pop("method", None)
    if type(method) is not str:
        raise faults.BadFrame('"method" is missing or is not a string')
    parameters = _take_parameters(fields)
    oneway, more, upgrade = (_take_flag(fields, flag) for flag in FLAGS)
    if oneway + more + upgrade > 1:
        raise faults.BadFrame(_ONE_FLAG)
    trace = fields.get(TRACE)
    _refuse_unknown(fields)
    call = Call(method, parameters, oneway, more, upgrade)
    if trace is not None:
        call.trace = _trace(trace)
    return call


def decode_reply(frame: bytes) -> Reply:
    """Return the reply that a frame, without its NUL, holds.

    Raises:
        BadFrame: it is not a reply, or holds what the module's docstring excludes.
    """
    fields = _decode(frame)
    parameters = _take_parameters(fields)
    continues = _take_flag(fields, "continues")
    error = _take_error(fields)
    if continues and error is not None:
        raise faults.BadFrame(_ERROR_IS_LAST)
    _refuse_unknown(fields)
    return Reply(parameters, continues, error)


def _decode(frame: bytes) -> dict[str, Any]:
    try:
        text = frame.decode("utf-8")
    except UnicodeDecodeError:
        raise faults.BadFrame("not UTF-8") from None
    fields = strict_json.decode_object(text)
    _refuse_uncommon(fields)
    return fields


def _refuse_uncommon(value: Any) -> None:
    kind = type(value)
    if kind is str:
        if "\0" in value:
            raise faults.BadFrame("a NUL character in a string")
    elif kind is int:
        if not MIN_INT <= value <= MAX_INT:
            raise faults.BadFrame("an integer beyond 64 bits")
    elif kind is dict:
        for name, item in value.items():
            _refuse_uncommon(name)
            _refuse_uncommon(item)
    elif kind is list:
        for item in value:
            _refuse_uncommon(item)


def _take_parameters(fields: dict[str, Any]) -> dict[str, Any]:
    parameters = fields.pop("parameters", None)
    if parameters is None:
        return {}
    if type(parameters) is not dict:
        raise faults.BadFrame('"parameters" is not an object')
    return parameters


def _take_flag(fields: dict[str, Any], name: str) -> bool:
    flag = fields.pop(name, False)
    if type(flag) is not bool:
        raise faults.BadFrame(f'"{name}" is neither true nor false')
    return flag


def _take_error(fields: dict[str, Any]) -> str | None:
    if "error" not in fields:
        return None
    error = fields.pop("error")
    if type(error) is not str or not error:
        raise faults.BadFrame('"error" is not a name')
    return error


def _trace(fields: dict[str, Any]) -> Mapping[str, str] | None:
    """Return a caller's place in its trace; None for one that is odd: a call does not fail for it."""
    texts = {name: text for name, text in fields.items() if type(text) is str}
    if len(texts) != len(fields) or sum(map(len, texts.values())) > MAX_TRACE_CHARS:
        return None
    return texts


def _refuse_unknown(fields: dict[str, Any]) -> None:
    for name, value in fields.items():
        if not (is_interface_name(name) and type(value) is dict):
            raise faults.BadFrame(
                f"the key {name[:MAX_ECHO_CHARS]!a} is neither Varlink's nor a vendor's object"
            )

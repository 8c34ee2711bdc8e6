"""Whether a function can be a hook of a daemon: refused where it is registered, not when it is called.

Owns the check and its sentence.  It reads the code of a function; `inspect` would cost each quick command
of a program whose hooks are methods a fifth of its time.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

# As `inspect` names them: flags of a function's code.
_CO_VARARGS = 0x04
_CO_GENERATORS = 0x20 | 0x200
_CO_COROUTINE = 0x80
# The hooks that are asked for an answer at once, so that they are not `async`.
_PLAIN = ("status", "whole_status")


def check(kind: str, hook: Callable[..., Any], *given: str) -> None:
    """Refuse a hook that the daemon could not call.

    An object with no code of its own, such as a partial or a compiled function, need only be callable.

    Args:
        kind: the method of `Daemon` that registers it.
        hook: the function, a method, or another object that can be called.
        given: the names of the arguments that it will get, by position.

    Raises:
        TypeError: it takes other arguments, is a generator, is `async` where it must not be, or cannot be
            called; the message begins with the file and line of the function.
    """
    if not callable(hook):
        raise TypeError(f"Daemon.{kind} registers a function, and not {hook!r}")
    code = getattr(hook, "__code__", None)
    flags = getattr(code, "co_flags", None)
    if code is None or not isinstance(flags, int):
        return
    name = getattr(hook, "__qualname__", "") or repr(hook)
    wrong = _wrong_arguments(hook, len(given))
    if not wrong and flags & _CO_GENERATORS:
        wrong = "and is a generator: its body would not run"
    if not wrong and kind in _PLAIN and flags & _CO_COROUTINE:
        wrong = "and is async: a status is asked for while the loop may be stuck, so it is a plain `def`"
    if wrong:
        called = f"{name}({', '.join(given)})"
        raise TypeError(
            f"{code.co_filename}:{code.co_firstlineno}: the {kind} hook is called as {called}, {wrong}"
        )


def _wrong_arguments(hook: Any, count: int) -> str:
    """Return the fault in the arguments that a function takes; "" for nothing."""
    code = hook.__code__
    bound = getattr(hook, "__self__", None) is not None
    most = code.co_argcount - bound
    least = most - len(hook.__defaults__ or ())
    keyword_only = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    needed = [name for name in keyword_only if name not in (hook.__kwdefaults__ or {})]
    if needed:
        return f"and needs {', '.join(needed)} too"
    if count < least or (count > most and not code.co_flags & _CO_VARARGS):
        names = ", ".join(code.co_varnames[bound : code.co_argcount])
        return f"and takes ({names})"
    return ""

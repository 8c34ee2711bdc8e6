"""Typed proxies of a pipeline: an object with an interface's methods, each of which queues a call.

Owns which methods may be called ahead of their replies.  The way from arguments to bytes is `proxy`'s.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Protocol

from daemonry import errors
from daemonry.service.client.proxy import Converter, proxy_class, proxy_of
from daemonry.service.interface.declare import Interface, Method
from daemonry.wire.typed_reply import run_reader
from daemonry.wire.varlink import tracing


class Queue(Protocol):
    """What a proxy of a pipeline needs of it; see `Pipeline`."""

    def queue(
        self,
        converter: Converter,
        given: Mapping[str, Any],
        frame: bytes | None,
        *,
        oneway: bool = False,
    ) -> Any:
        """Queue a call, and return what stands for its result."""


_pipelined: dict[type[Interface], type[Interface]] = {}


def pipelined_proxy(pipeline: Queue, kind: type[Interface]) -> Any:
    """Return a proxy whose methods queue calls in a pipeline."""
    return proxy_of(proxy_class(kind, _pipelined, _wrap_pipelined, _no_annotation), pipeline, 0.0)


def _no_annotation(_method: Method) -> Any:
    return inspect.Signature.empty


def _wrap_pipelined(converter: Converter, method: Method) -> Any:
    if method.upgrades or method.streams or converter.passes_fds:
        return _wrap_refused(converter, method)
    if not method.read_reply:
        converter.read_run = run_reader(method.reply, method.reply_field)
    oneway = method.marks.oneway
    if converter.takes_none and not oneway:
        return _wrap_bare_pipelined(converter)

    def call(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        given, frame = (converter.given(args, kwargs), None) if oneway else converter.call(args, kwargs)
        return self.__daemonry_client__.queue(converter, given, frame, oneway=oneway)

    return call


def _wrap_bare_pipelined(converter: Converter) -> Any:
    given: Mapping[str, Any] = {}
    untraced = converter.without_arguments

    def call(self: Any, /) -> Any:
        frame = untraced if tracing.source is None else converter.frame(given)
        return self.__daemonry_client__.queue(converter, given, frame)

    return call


def _wrap_refused(converter: Converter, method: Method) -> Any:
    does = "streams" if method.streams else "upgrades" if method.upgrades else "passes descriptors"

    def call(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        raise errors.LocalProtocolError(
            f"{converter.full_name} {does}, which needs a connection of its own: call it outside the pipeline"
        )

    return call

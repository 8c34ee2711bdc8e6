"""Where events come from: the daemon's state and its calls, noted in one ring and told to who listens.

Owns listening to both, and waking the clients: some at a time, because a thousand at once would keep the
loop for longer than a command may wait.  Nothing is listened to before the first client comes; after the
last has gone it goes on for a while, so that a client that returns has missed nothing.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any, Final

import msgspec

from daemonry import strict_json
from daemonry.http.event_log import EventLog, LoggedEvent
from daemonry.limits import HTTP_EVENTS_KEPT, HTTP_HEARTBEAT_S

if TYPE_CHECKING:
    from daemonry.http.host import Host
    from daemonry.service.server.tap import TapEvent

# How long it goes on without a client.
LINGER_S: Final = 60.0
# Clients that are woken in one turn of the loop, and the pause between the turns.
_WOKEN_AT_ONCE: Final = 8
_TURN_S: Final = 0.004
# Events of one moment go out together.
_GATHER_S: Final = 0.02
# Events in one piece of a stream.
_PIECE_EVENTS: Final = 256


class EventSource:
    """The events of one process.

    Args:
        host: the process.
        payloads: whether events have the calls' parameters.
    """

    def __init__(self, host: Host, *, payloads: bool) -> None:
        self.payloads = payloads
        self._host = host
        self._log = EventLog(os.urandom(4).hex(), HTTP_EVENTS_KEPT)
        self._waiting: dict[asyncio.Future[None], None] = {}  # in the order in which they came
        self._timer: asyncio.TimerHandle | None = None
        self._clients = 0
        self._watching: asyncio.Task[None] | None = None
        self._ending: asyncio.TimerHandle | None = None
        self._last_state = ""

    # --- listening ------------------------------------------------------------------------------------

    def tell(self, event: TapEvent) -> None:
        """Take an event of the tap; never waits."""
        fields = msgspec.to_builtins(event)
        if not self.payloads:
            del fields["parameters"]
        self._note("call", {name: value for name, value in fields.items() if value is not None})

    def _note(self, topic: str, fields: Any) -> None:
        try:
            data = strict_json.encode(fields)
        except (TypeError, ValueError):  # parameters may hold what JSON has not
            data = strict_json.encode({"error": "not to be shown"})
        self._log.add(topic, data)
        if self._waiting and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_GATHER_S, self._wake)

    def _wake(self) -> None:
        self._timer = None
        for _ in range(min(_WOKEN_AT_ONCE, len(self._waiting))):
            waiter = next(iter(self._waiting))
            del self._waiting[waiter]
            if not waiter.done():
                waiter.set_result(None)
        if self._waiting:
            self._timer = asyncio.get_running_loop().call_later(_TURN_S, self._wake)

    async def _watch_state(self) -> None:
        while True:
            changed = asyncio.ensure_future(self._host.changed())
            try:
                await self._note_state()
                await changed
            finally:
                changed.cancel()

    async def _note_state(self) -> None:
        status = await self._host.status()
        told = strict_json.encode({name: value for name, value in status.items() if name != "uptime_secs"})
        if told != self._last_state:
            if self._last_state:  # else clients begin with it
                self._note("state", status)
            self._last_state = told

    async def look_again(self) -> None:
        """Note the state if it is another one: after a command that changes no phase, a reload say."""
        if self._watching is not None:
            await self._note_state()

    def _listen(self) -> None:
        if self._ending is not None:
            self._ending.cancel()
            self._ending = None
        if self._watching is None:
            self._host.calls.tap.watchers.add(self)
            self._watching = asyncio.get_running_loop().create_task(self._watch_state())

    def _leave_later(self) -> None:
        if not self._clients and self._watching is not None:
            self._ending = asyncio.get_running_loop().call_later(LINGER_S, self.close)

    def close(self) -> None:
        """Listen to nothing.  Twice is not an error."""
        if self._watching is not None:
            self._watching.cancel()
            self._watching = None
            self._last_state = ""
            self._host.calls.tap.watchers.discard(self)
        for timer in (self._ending, self._timer):
            if timer is not None:
                timer.cancel()
        self._ending = self._timer = None

    # --- a client -------------------------------------------------------------------------------------

    async def pieces(self, last_event_id: str, topics: frozenset[str]) -> AsyncGenerator[str, None]:
        """Yield a client's stream in pieces: the present state, the events that it missed, then new ones.

        Args:
            last_event_id: the last event that the client says it has seen; "" for none.
            topics: the kinds of events that it wants.
        """
        self._clients += 1
        self._listen()
        try:
            place = self._log.last
            seen = self._log.place_of(last_event_id)
            yield await self._present(seen if seen is not None else place)
            if last_event_id and seen is None:
                yield _framed("missed", '{"events":null}', "")
            place = place if seen is None else seen
            while True:
                missed, events = self._log.since(place)
                if not missed and not events:
                    yield await self._something()
                    continue
                if missed:
                    yield _framed("missed", f'{{"events":{missed}}}', "")
                    place += missed
                for start in range(0, len(events), _PIECE_EVENTS):
                    yield self._piece(events[start : start + _PIECE_EVENTS], topics)
                place = events[-1].number if events else place
        finally:
            self._clients -= 1
            self._leave_later()

    async def _present(self, place: int) -> str:
        return _framed("state", strict_json.encode(await self._host.status()), self._log.id_of(place))

    def _piece(self, events: list[LoggedEvent], topics: frozenset[str]) -> str:
        return "".join(
            _framed(one.topic, one.data, self._log.id_of(one.number)) for one in events if one.topic in topics
        )

    async def _something(self) -> str:
        """Return when something has happened: ""; or when nothing has for a while: a heartbeat."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiting[waiter] = None
        try:
            async with asyncio.timeout(HTTP_HEARTBEAT_S):
                await waiter
        except TimeoutError:
            return ": nothing new\n\n"
        finally:
            self._waiting.pop(waiter, None)
        return ""


def _framed(event: str, data: str, number: str) -> str:
    head = f"id: {number}\n" if number else ""
    return f"{head}event: {event}\ndata: {data}\n\n"

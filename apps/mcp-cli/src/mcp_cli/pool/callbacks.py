"""A server's notifications and questions, on their way between the SDK and our callers.

Owns the SDK's types on that way: it turns them into text and JSON for us, and our answers
into the SDK's types.  `connection` makes one for each connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import mcp_types as types
import msgspec
from pydantic import BaseModel, ValidationError

from mcp_cli.pool.results import brief

if TYPE_CHECKING:
    from mcp.client.session import ClientRequestContext


class Hooks(Protocol):
    """What a connection tells, and whom it asks."""

    def note(self, text: str) -> None:
        """Something that the users of the server may want to know."""

    def log(self, level: str, logger: str, data: str) -> None:
        """A log notification; `data` is JSON."""

    def changed(self, method: str, uri: str = "") -> None:
        """A notification that a list has changed, or the resource of `uri`."""

    async def question(self, method: str, params: str) -> str | None:
        """A question of the server; returns the result as JSON, or None to refuse."""


class Callbacks:
    """What the SDK calls.

    Args:
        hooks: gets notifications and questions.
    """

    def __init__(self, hooks: Hooks) -> None:
        self._hooks = hooks

    async def message(self, message: Any) -> None:
        """Tell of a list or a resource that has changed."""
        method = getattr(message, "method", "")
        if isinstance(message, types.ResourceUpdatedNotification):
            self._hooks.changed(method, str(message.params.uri))
        elif isinstance(method, str) and method.endswith("/list_changed"):
            self._hooks.changed(method)

    async def log(self, params: types.LoggingMessageNotificationParams) -> None:
        """Tell of a log notification."""
        self._hooks.log(params.level, params.logger or "", msgspec.json.encode(params.data).decode())

    async def sampling(
        self, context: ClientRequestContext, params: types.CreateMessageRequestParams
    ) -> types.CreateMessageResult | types.CreateMessageResultWithTools | types.ErrorData:
        """Ask for a model's answer."""
        kind = types.CreateMessageResultWithTools if params.tools else types.CreateMessageResult
        answer = await self._question("sampling/createMessage", params, kind)
        return answer or _refusal("the user offers no model to sample from")

    async def elicitation(
        self, context: ClientRequestContext, params: types.ElicitRequestParams
    ) -> types.ElicitResult | types.ErrorData:
        """Ask the user; no answer is a refusal."""
        answer = await self._question("elicitation/create", params, types.ElicitResult)
        return answer or types.ElicitResult(action="decline")

    async def roots(self, context: ClientRequestContext) -> types.ListRootsResult | types.ErrorData:
        """Ask for the directories that the server may work in; no answer means none."""
        answer = await self._question("roots/list", None, types.ListRootsResult)
        return answer or types.ListRootsResult(roots=[])

    async def _question(self, method: str, params: BaseModel | None, kind: type[Any]) -> Any:
        text = await self._hooks.question(method, "{}" if params is None else json_of(params))
        if text is None:
            return None
        try:
            return kind.model_validate_json(text)
        except ValidationError as error:
            self._hooks.note(f"the answer to {method} cannot be sent: {first_problem(error)}")
            return None


def _refusal(text: str) -> types.ErrorData:
    return types.ErrorData(code=types.INVALID_REQUEST, message=text)


def json_of(value: BaseModel) -> str:
    """Return a value of the SDK as JSON."""
    return value.model_dump_json(by_alias=True, exclude_none=True)


def first_problem(error: ValidationError) -> str:
    """Return the first thing that is wrong with a value, in one line."""
    problem = error.errors(include_url=False, include_input=False)[0]
    return brief(f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}")

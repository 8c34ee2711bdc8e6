"""`serve` on stdio and HTTP in both eras: changes, tasks, `_meta`, and questions by round trips."""

from __future__ import annotations

import json
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from daemonry.testing import wait_until

LIVE = str(Path(__file__).parents[1] / "live_server.py")
MODERN = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {"elicitation": {"form": {}}},
}
FORM = {
    "method": "elicitation/create",
    "params": {"message": "Who?", "requestedSchema": {"type": "object", "properties": {}}},
}


class Client:
    """A client on the standard streams of `mcp-cli serve`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.told: list[dict[str, Any]] = []
        self._count = 0

    def send(self, method: str, params: dict[str, Any], *, number: int | None = None) -> None:
        message = {"jsonrpc": "2.0", "method": method, "params": params}
        if number is not None:
            message["id"] = number
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()

    def read(self) -> dict[str, Any]:
        return json.loads(self.process.stdout.readline())

    def until(self, method: str) -> dict[str, Any]:
        """The next notification of a method, one that came before included."""
        while True:
            for one in self.told:
                if one["method"] == method:
                    self.told.remove(one)
                    return one.get("params") or {}
            self.told.append(self.read())

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        self._count += 1
        self.send(method, params, number=self._count)
        while True:
            message = self.read()
            if message.get("id") == self._count:
                return message["result"] if "result" in message else message["error"]
            self.told.append(message)

    def handshake(self) -> dict[str, Any]:
        answer = self.ask("initialize", protocolVersion="2025-11-25", capabilities={}, clientInfo={})
        self.send("notifications/initialized", {})
        return answer


@pytest.fixture
def serve(app: Any) -> Iterator[Any]:
    begun: list[Client] = []

    def start(*words: str) -> Client:
        client = Client(app.popen("serve", *words, stdin=subprocess.PIPE))
        begun.append(client)
        return client

    yield start
    for client in begun:
        with client.process:  # which closes its pipes
            client.process.stdin.close()
            assert client.process.wait(30) == 0


def test_a_client_with_a_handshake_hears_of_changes_and_calls_tools_as_tasks(app: Any, serve: Any) -> None:
    app.servers(live={"transport": {"args": [LIVE, "--modern"]}})
    client = serve("live")
    offered = client.handshake()["capabilities"]
    assert (offered["tools"], offered["resources"]) == (
        {"listChanged": True},
        {"listChanged": True, "subscribe": True},
    )
    (tool,) = client.ask("tools/list")["tools"]
    assert tool["execution"] == {"taskSupport": "optional"}
    assert client.ask("resources/subscribe", uri="a:1") == {}
    client.ask("tools/call", name="touch", arguments={"uri": "a:1"})
    assert client.until("notifications/resources/updated") == {"uri": "a:1"}
    assert client.ask("resources/subscribe", uri="no:such")["code"] == -32601
    app.done("call", "live/touch")  # of another client
    client.until("notifications/tools/list_changed")
    assert [one["name"] for one in client.ask("tools/list")["tools"]] == ["touch", "tool_1"]
    task = client.ask("tools/call", name="touch", arguments={"uri": "b"}, task={"ttl": 1000})["task"]
    result = client.ask("tasks/result", taskId=task["taskId"])
    assert result["_meta"] == {"io.modelcontextprotocol/related-task": {"taskId": task["taskId"]}}
    assert result["content"][0]["text"] == "subscribed: 0"
    assert client.ask("tasks/get", taskId=task["taskId"])["status"] == "completed"
    assert [one["taskId"] for one in client.ask("tasks/list")["tasks"]] == [task["taskId"]]
    assert client.ask("tasks/get", taskId="none")["code"] == -32602


def test_a_client_of_2026_listens_and_answers_by_round_trips(app: Any, serve: Any) -> None:
    app.servers(live={"transport": {"args": [LIVE]}}, fake=[])
    client = serve()
    found = client.ask("server/discover", _meta=MODERN)
    assert (found["supportedVersions"], found["resultType"], found["ttlMs"]) == (
        ["2026-07-28"],
        "complete",
        0,
    )
    assert client.ask(
        "tools/list", _meta={**MODERN, "io.modelcontextprotocol/protocolVersion": "2030-01-01"}
    )["code"] == (-32022)
    names = [one["name"] for one in client.ask("tools/list", _meta=MODERN)["tools"]]
    assert {"live__touch", "fake__ask"} <= set(names)
    wanted = {"toolsListChanged": True}
    client.send("subscriptions/listen", {"_meta": MODERN, "notifications": wanted}, number=900)
    agreed = client.until("notifications/subscriptions/acknowledged")
    assert agreed == {"notifications": wanted, "_meta": {"io.modelcontextprotocol/subscriptionId": 900}}
    client.ask("tools/call", name="live__touch", arguments={}, _meta=MODERN)
    told = client.until("notifications/tools/list_changed")
    assert told["_meta"] == {"io.modelcontextprotocol/subscriptionId": 900}
    asked = {"name": "fake__ask", "arguments": {"message": FORM}, "_meta": MODERN}
    first = client.ask("tools/call", **asked)
    assert first["resultType"] == "input_required"
    ((key, question),) = first["inputRequests"].items()
    assert question["params"] == {"mode": "form", **FORM["params"]}
    answers = {"inputResponses": {key: {"action": "accept", "content": {"a": 1}}}}
    last = client.ask("tools/call", **asked, **answers, requestState=first["requestState"])
    assert json.loads(last["content"][0]["text"]) == {"action": "accept", "content": {"a": 1}}
    late = client.ask("tools/call", **asked, **answers, requestState=first["requestState"])
    assert (late["code"], "does not wait any more" in late["message"]) == (-32602, True)


@pytest.mark.slow
def test_a_client_with_the_tasks_extension_gets_a_task_where_the_server_has_one(app: Any, serve: Any) -> None:
    """Of both kinds of servers; other tools, and clients without the extension, get results."""
    script = str(Path(__file__).parents[1] / "task_server.py")
    app.servers(
        old={"transport": {"args": [script]}}, new={"transport": {"args": [script, "--extension"]}}, fake=[]
    )
    client = serve()
    key = "io.modelcontextprotocol/clientCapabilities"
    has = {**MODERN, key: {**MODERN[key], "extensions": {"io.modelcontextprotocol/tasks": {}}}}
    found = client.ask("server/discover", _meta=has)
    assert found["capabilities"]["extensions"] == {"io.modelcontextprotocol/tasks": {}}

    def called(tool: str, *, meta: dict[str, Any] = has, **given: Any) -> dict[str, Any]:
        return client.ask("tools/call", name=tool, arguments=given, _meta=meta)

    def settled(task: dict[str, Any], *states: str) -> dict[str, Any]:
        assert (task["resultType"], task["status"]) == ("task", "working")
        return wait_until(
            lambda: (
                (told := client.ask("tasks/get", taskId=task["taskId"], _meta=has))["status"] in states
                and told
            ),
            what="the task's next state",
        )

    for server in ("old", "new"):
        told = settled(called(f"{server}__work", text="x"), "completed")
        assert told["result"]["content"][0]["text"] == "x 1e2 null"
        assert (told["resultType"], told["result"]["resultType"]) == ("complete", "complete")
        assert {"ttlMs", "pollIntervalMs", "createdAt", "lastUpdatedAt"} <= set(told)
        assert "content" in called(f"{server}__work", text="x", meta=MODERN)
        endless = called(f"{server}__work", end="never")
        assert client.ask("tasks/cancel", taskId=endless["taskId"], _meta=has) == {"resultType": "complete"}
        settled(endless, "cancelled")
    told = settled(called("new__work", end="failed"), "failed")
    assert told["error"] == {"code": -32001, "message": "it went wrong"}
    told = settled(called("new__work", ask="Who?"), "input_required")
    ((number, question),) = told["inputRequests"].items()
    assert (question["method"], question["params"]["message"]) == ("elicitation/create", "Who?")
    answers = {number: {"action": "accept", "content": {}}, "none": {}}
    client.ask("tasks/update", taskId=told["taskId"], inputResponses=answers, _meta=has)
    told = settled({**told, "resultType": "task", "status": "working"}, "completed")
    assert '"accept"' in told["result"]["content"][0]["text"]
    assert called("fake__echo", text="y")["content"][0]["text"] == "y"
    assert client.ask("tasks/get", taskId="none", _meta=has)["code"] == -32602


@pytest.mark.slow
def test_the_meta_of_a_call_reaches_its_server_without_the_protocols_own(app: Any, serve: Any) -> None:
    log = app.sandbox.path / "log"
    script = str(Path(__file__).parents[1] / "task_server.py")
    app.servers(tasks={"transport": {"args": [script, "--log", str(log)]}})
    client = serve("tasks")
    client.ask("tools/call", name="work", arguments={"text": "x"}, _meta={**MODERN, "example/trace": "7"})
    sent = [json.loads(line) for line in log.read_text().splitlines()]
    (params,) = [one["params"] for one in sent if one["method"] == "tools/call"]
    assert params["_meta"]["example/trace"] == "7"
    assert "io.modelcontextprotocol/clientInfo" not in params["_meta"]


@pytest.mark.slow
def test_questions_over_http_need_no_session(app: Any) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = app.popen("serve", "fake", "--http", str(port), "--open")
    assert "serving at" in server.stderr.readline()
    try:

        def post(**params: Any) -> dict[str, Any]:
            body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"_meta": MODERN, **params}}
            headers = {"content-type": "application/json", "mcp-method": "tools/call"}
            request = urllib.request.Request(  # loopback
                f"http://127.0.0.1:{port}/mcp", json.dumps(body).encode(), headers
            )
            with urllib.request.urlopen(request, timeout=30) as answer:
                lines = [line for line in answer.read().decode().splitlines() if line.startswith("data: ")]
            return dict(json.loads(lines[-1].removeprefix("data: "))["result"])

        asked = {"name": "ask", "arguments": {"message": FORM}}
        first = post(**asked)
        (key,) = first["inputRequests"]
        wait_until(lambda: app("questions", "--json").json()["questions"] != [], what="the question")
        last = post(**asked, requestState=first["requestState"], inputResponses={key: {"action": "decline"}})
        assert json.loads(last["content"][0]["text"]) == {"action": "decline"}
    finally:
        server.terminate()
        server.communicate(timeout=30)

"""An MCP server of the tests' own whose tools run as tasks.

They are those of 2025-11-25, or with `--extension` those of 2026-07-28.

Its tool `work` takes `text`, `polls` (how often its state is asked for before it ends), `end` (completed,
failed, cancelled, never) and `ask`, a question that it puts first.  With `--state FILE` its tasks outlive it.
"""

import argparse
import json
import os
import sys

EXTENSION = "io.modelcontextprotocol/tasks"
PROPERTIES = {
    "text": {"type": "string"},
    "polls": {"type": "integer"},
    "end": {"type": "string"},
    "ask": {"type": "string"},
}


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--extension", action="store_true")
    options.add_argument("--state")
    options.add_argument("--log")
    given = options.parse_args()
    tasks = {}
    if given.state and os.path.exists(given.state):
        with open(given.state) as file:
            tasks = json.load(file)
    for line in sys.stdin:
        message = json.loads(line)
        if given.log:
            with open(given.log, "a") as file:
                file.write(line)
        answer = answer_to(message, tasks, extension=given.extension)
        if given.state:
            with open(given.state, "w") as file:
                json.dump(tasks, file)
        if message.get("id") is not None and message.get("method"):
            print(json.dumps({"jsonrpc": "2.0", "id": message["id"], **answer}), flush=True)


def answer_to(message, tasks, *, extension):
    method, params = message.get("method"), message.get("params") or {}
    if method == "initialize" and not extension:
        capabilities = {"tools": {}, "tasks": {"requests": {"tools": {"call": {}}}, "cancel": {}}}
        return {
            "result": {
                "protocolVersion": params["protocolVersion"],
                "capabilities": capabilities,
                "serverInfo": {"name": "tasks", "version": "1"},
            }
        }
    if method == "server/discover" and extension:
        return complete(
            supportedVersions=["2026-07-28"],
            capabilities={"tools": {}, "extensions": {EXTENSION: {}}},
            ttlMs=0,
            cacheScope="private",
        )
    if method == "tools/list":
        tool = {"name": "work", "inputSchema": {"type": "object", "properties": PROPERTIES}}
        if not extension:
            tool["execution"] = {"taskSupport": "required"}
        return (
            complete(tools=[tool], ttlMs=0, cacheScope="private")
            if extension
            else {"result": {"tools": [tool]}}
        )
    if method == "tools/call":
        return called(params, tasks, extension=extension)
    if method in ("tasks/get", "tasks/result", "tasks/cancel", "tasks/update"):
        return about_task(method, params, tasks, extension=extension)
    return {"error": {"code": -32601, "message": f"Method not found: {method}"}}


def complete(**fields):
    return {"result": {"resultType": "complete", **fields}}


def called(params, tasks, *, extension):
    if extension:
        capabilities = params["_meta"]["io.modelcontextprotocol/clientCapabilities"]
        if EXTENSION not in capabilities.get("extensions", {}):
            return {"error": {"code": -32021, "message": "requires the tasks extension"}}
    elif "task" not in params:
        return {"error": {"code": -32601, "message": "requires task augmentation"}}
    number = f"t{len(tasks) + 1}"
    tasks[number] = {"polls": 0, "status": "working", "answer": None, "given": params.get("arguments") or {}}
    told = told_of(number, tasks[number], extension=extension)
    return {"result": {"resultType": "task", **told}} if extension else {"result": {"task": told}}


def told_of(number, task, *, extension):
    prefix = {"pollIntervalMs": 10, "ttlMs": None} if extension else {"pollInterval": 10, "ttl": None}
    return {
        "taskId": number,
        "status": task["status"],
        "statusMessage": f"step {task['polls']}",
        "createdAt": "2026-01-01T00:00:00Z",
        "lastUpdatedAt": "2026-01-01T00:00:00Z",
        **prefix,
    }


def about_task(method, params, tasks, *, extension):
    number = params["taskId"]
    if number not in tasks:
        return {"error": {"code": -32602, "message": "no such task"}}
    task = tasks[number]
    given = task["given"]
    if method == "tasks/cancel":
        task["status"] = "cancelled"
        return complete() if extension else {"result": told_of(number, task, extension=False)}
    if method == "tasks/update":
        task["answer"] = params["inputResponses"]["q"]
        return complete()
    done = {
        "content": [{"type": "text", "text": f"{given.get('text', '')} 1e2 {json.dumps(task['answer'])}"}]
    }
    if method == "tasks/result":
        return {"result": done}
    step(task, given)
    told = told_of(number, task, extension=extension)
    if extension and task["status"] == "completed":
        told["result"] = done
    if extension and task["status"] == "failed":
        told["error"] = {"code": -32001, "message": "it went wrong"}
    if extension and task["status"] == "input_required":
        asked = {"message": given["ask"], "requestedSchema": {"type": "object", "properties": {}}}
        told["inputRequests"] = {"q": {"method": "elicitation/create", "params": {"mode": "form", **asked}}}
    return complete(**told) if extension else {"result": told}


def step(task, given):
    if task["status"] not in ("working", "input_required"):
        return
    if given.get("end") == "never":
        return
    task["polls"] += 1
    if given.get("ask") and task["answer"] is None:
        task["status"] = "input_required"
    elif task["polls"] >= given.get("polls", 2):
        task["status"] = given.get("end", "completed")
    else:
        task["status"] = "working"


main()

"""An MCP server of the tests' own, of the standard library alone, that misbehaves as its arguments say.

`--start-file` gets a line with the process id for each start, FILE.calls the name of each tool called.
"""

import argparse
import json
import os
import queue
import subprocess
import sys
import threading
import time

TEXT = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
COUNT = {"type": "object", "properties": {"n": {"type": "integer"}}}
TOOLS = [
    {"name": "echo", "description": "Says it again", "inputSchema": TEXT},
    {"name": "raw", "description": "An odd, exact result", "inputSchema": {"type": "object"}},
    {
        "name": "slow",
        "description": "Takes n seconds",
        "inputSchema": {
            "type": "object",
            "properties": {"n": {"type": "number"}, "progress": {"type": "boolean"}},
        },
    },
    {"name": "big", "description": "A text of n bytes", "inputSchema": COUNT},
    {"name": "crash", "description": "Ends at once", "inputSchema": {"type": "object"}},
    {
        "name": "garbage",
        "description": "Writes n lines that are no message, then answers",
        "inputSchema": COUNT,
    },
    {"name": "wrong_id", "description": "Answers somebody else", "inputSchema": {"type": "object"}},
    {"name": "env", "description": "Its variables", "inputSchema": {"type": "object"}},
    {"name": "cwd", "description": "Its directory", "inputSchema": {"type": "object"}},
    {"name": "fail", "description": "Fails", "inputSchema": {"type": "object"}},
    {"name": "refuse", "description": "A JSON-RPC error", "inputSchema": {"type": "object"}},
    {"name": "tell", "description": "Writes a text on stderr", "inputSchema": TEXT},
    {"name": "write_file", "description": "Would write", "inputSchema": {"type": "object"}},
    {"name": "ask", "description": "Asks the client something", "inputSchema": {"type": "object"}},
    {"name": "cancelled", "description": "Which requests were cancelled", "inputSchema": {"type": "object"}},
    {
        "name": "say",
        "description": "Writes a line in place of its answer; ID is its id, and each character is one byte",
        "inputSchema": {
            "type": "object",
            "properties": {"line": {"type": "string"}, "times": {"type": "integer"}},
        },
    },
    {
        "name": "typed",
        "description": "A structured result that breaks its schema where it is told to",
        "inputSchema": {"type": "object", "properties": {"right": {"type": "boolean"}}},
        "outputSchema": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]},
    },
]
RAW = (
    '{"content":[{"type":"text","text":"\\u00e9"}],"z":1.0,"a":1e2,'
    '"big":123456789012345678901234567890,"m":{"b":1,"a":2}}'
)

lock = threading.Lock()
replies = queue.Queue()
cancelled = []
given_options = argparse.Namespace()


def write(line):
    with lock:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def text(value, **more):
    return json.dumps({"content": [{"type": "text", "text": value}], **more})


def answer(request_id, result):
    write(f'{{"jsonrpc":"2.0","id":{json.dumps(request_id)},"result":{result}}}')


def call(request_id, params):  # noqa: C901, PLR0912  # a table would be no shorter
    name, given = params["name"], params.get("arguments") or {}
    if given_options.start_file:
        with open(given_options.start_file + ".calls", "a") as file:
            file.write(f"{name}\n")
    token = (params.get("_meta") or {}).get("progressToken")
    if name == "echo":
        answer(request_id, text(given["text"]))
    elif name == "raw":
        answer(request_id, RAW)
    elif name == "slow":
        end = time.monotonic() + given.get("n", 1)
        while time.monotonic() < end and request_id not in cancelled:
            time.sleep(0.05)
            if given.get("progress"):
                write(
                    json.dumps(
                        {
                            "jsonrpc": "2.0",
                            "method": "notifications/progress",
                            "params": {"progressToken": token, "progress": time.monotonic()},
                        }
                    )
                )
        answer(request_id, text("done"))
    elif name == "big":
        answer(request_id, text("x" * given["n"]))
    elif name == "crash":
        print("going down", file=sys.stderr, flush=True)
        os._exit(7)
    elif name == "garbage":
        for at in range(given["n"]):
            write(f"not a message {at}")
        answer(request_id, text("after the garbage"))
    elif name == "wrong_id":
        answer("somebody-else", text("wrong"))
    elif name == "env":
        answer(request_id, text(json.dumps(dict(os.environ))))
    elif name == "cwd":
        answer(request_id, text(os.getcwd()))
    elif name == "fail":
        answer(request_id, text("it failed", isError=True))
    elif name == "refuse":
        write(
            json.dumps(
                {
                    "jsonrpc": "2.0",
                    "id": request_id,
                    "error": {"code": -32050, "message": "no", "data": {"why": 1}},
                }
            )
        )
    elif name == "tell":
        print(given["text"], file=sys.stderr, flush=True)
        answer(request_id, text("told"))
    elif name == "cancelled":
        answer(request_id, text(json.dumps(cancelled)))
    elif name == "ask":
        write(json.dumps({"jsonrpc": "2.0", "id": "q1", **given["message"]}))
        reply = replies.get(timeout=60)
        answer(request_id, text(json.dumps(reply.get("result", reply.get("error")))))
    elif name == "say":
        line = given["line"].replace("ID", json.dumps(request_id)).encode("latin-1") + b"\n"
        with lock:
            sys.stdout.buffer.write(line * given.get("times", 1))
            sys.stdout.flush()
    elif name == "typed":
        answer(request_id, text("typed", structuredContent={"n": 1 if given.get("right") else "one"}))


def list_tools(request_id):
    members = given_options.lists
    if given_options.tools_file:
        with open(given_options.tools_file) as file:
            members = f'"result":{{"tools":{file.read()}}}'
    if members is None:
        answer(request_id, json.dumps({"tools": TOOLS}))
    elif members == "crash":
        os._exit(7)
    elif members:
        write(f'{{"jsonrpc":"2.0","id":{json.dumps(request_id)},{members}}}')


def main():  # noqa: C901, PLR0912
    options = argparse.ArgumentParser()
    options.add_argument("--hang-initialize", action="store_true")
    options.add_argument("--exit-at-once", type=int)
    options.add_argument("--garbage", action="store_true")
    options.add_argument("--deaf", action="store_true")
    options.add_argument(
        "--strict-first", action="store_true", help="ends if the first request is not initialize"
    )
    options.add_argument("--lists", help="the members of its answer to tools/list; empty for none, or crash")
    options.add_argument("--tools-file", help="holds its list of tools, read each time that it is asked")
    options.add_argument("--start-file")
    options.add_argument("--start-s", type=float, default=0)
    options.add_argument("--child", help="starts a child that outlives its input, and writes its pid there")
    given = options.parse_args(namespace=given_options)
    if given.start_file:
        with open(given.start_file, "a") as file:
            file.write(f"{os.getpid()}\n")
    if given.child:
        child = subprocess.Popen(
            [sys.executable, "-c", "import time; time.sleep(600)"], stdin=subprocess.DEVNULL
        )
        with open(given.child, "w") as file:
            file.write(str(child.pid))
    if given.exit_at_once is not None:
        print("cannot work today", file=sys.stderr, flush=True)
        sys.exit(given.exit_at_once)
    time.sleep(given.start_s)
    if given.garbage:
        write("Welcome to the server!")
    if given.deaf:
        time.sleep(600)
    first = True
    for line in sys.stdin:
        message = json.loads(line)
        method, request_id, params = message.get("method"), message.get("id"), message.get("params") or {}
        if first and given.strict_first and method != "initialize":
            print("expected initialize", file=sys.stderr, flush=True)
            sys.exit(3)
        first = False
        if method == "initialize":
            if given.hang_initialize:
                continue
            answer(
                request_id,
                json.dumps(
                    {
                        "protocolVersion": params["protocolVersion"],
                        "capabilities": {"tools": {}},
                        "serverInfo": {"name": "fake", "version": "1"},
                    }
                ),
            )
        elif method == "tools/list":
            list_tools(request_id)
        elif method == "tools/call":
            threading.Thread(target=call, args=(request_id, params), daemon=True).start()
        elif method == "ping":
            answer(request_id, "{}")
        elif method == "notifications/cancelled":
            cancelled.append(params.get("requestId"))
        elif method is None:
            replies.put(message)
        elif request_id is not None:
            write(
                json.dumps(
                    {
                        "jsonrpc": "2.0",
                        "id": request_id,
                        "error": {"code": -32601, "message": "Method not found"},
                    }
                )
            )


main()

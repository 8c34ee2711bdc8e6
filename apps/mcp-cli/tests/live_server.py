"""An MCP server of the tests' own that tells of changes, in either era of the protocol.

`--modern` speaks 2026-07-28 and tells those who listen; without it the server is of 2025-11-25 and tells who
subscribed.  Its tool `touch` changes the resource `uri` (or, without one, the list of tools); `times` does it
so often with `uri/1`, `uri/2` ...  `--quiet` changes its tools and tells nobody.  With `--no-listen` nobody
can listen.
"""

import argparse
import json
import os
import sys

options = argparse.ArgumentParser()
options.add_argument("--modern", action="store_true")
options.add_argument("--quiet", action="store_true")
options.add_argument("--no-listen", action="store_true")
given = options.parse_args()
tools = ["touch"]
subscribed = set()
listens = {}
RESOURCES = {"listChanged": True, "subscribe": True}


def write(message):
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def listed():
    taken = {"type": "object", "properties": {"uri": {"type": "string"}, "times": {"type": "integer"}}}
    return [{"name": name, "inputSchema": taken} for name in tools]


def tell(method, **params):
    if given.quiet:
        return
    if not given.modern:
        if method != "notifications/resources/updated" or params["uri"] in subscribed:
            write({"method": method, "params": params})
        return
    for number, wanted in listens.items():
        if method == "notifications/tools/list_changed" and not wanted.get("toolsListChanged"):
            continue
        if "uri" in params and not any(
            params["uri"].startswith(one) for one in wanted.get("resourceSubscriptions") or ()
        ):
            continue
        meta = {"io.modelcontextprotocol/subscriptionId": number}
        write({"method": method, "params": {**params, "_meta": meta}})


def touched(arguments):
    uri, times = arguments.get("uri"), arguments.get("times")
    if uri == "crash":
        os._exit(3)
    if uri is None:
        tools.append(f"tool_{len(tools)}")
        tell("notifications/tools/list_changed")
    elif times is None:
        tell("notifications/resources/updated", uri=uri)
    else:
        subscribed.update(f"{uri}/{at}" for at in range(times))
        for at in range(times):
            tell("notifications/resources/updated", uri=f"{uri}/{at}")
    return {"content": [{"type": "text", "text": f"subscribed: {len(subscribed)}"}]}


def answer(method, params):
    if method == "initialize" and not given.modern:
        capabilities = {"tools": {"listChanged": True}, "resources": RESOURCES}
        info = {"name": "live", "version": "1"}
        return {
            "protocolVersion": params["protocolVersion"],
            "capabilities": capabilities,
            "serverInfo": info,
        }
    if method == "server/discover" and given.modern:
        capabilities = {"tools": {"listChanged": True}, "resources": RESOURCES}
        fresh = {"ttlMs": 0, "cacheScope": "private"}
        return {"supportedVersions": ["2026-07-28"], "capabilities": capabilities, **fresh}
    if method == "tools/list":
        return {"tools": listed(), **({"ttlMs": 0, "cacheScope": "private"} if given.modern else {})}
    if method == "tools/call":
        return touched(params.get("arguments") or {})
    if method == "resources/subscribe" and not given.modern and params["uri"] != "no:such":
        subscribed.add(params["uri"])
        return {}
    if method == "resources/unsubscribe" and not given.modern:
        subscribed.discard(params["uri"])
        return {}
    return None


for line in sys.stdin:
    message = json.loads(line)
    method, number, params = message.get("method"), message.get("id"), message.get("params") or {}
    if method == "subscriptions/listen" and given.modern and not given.no_listen:
        wanted = params["notifications"]
        uris = [uri for uri in wanted.get("resourceSubscriptions") or () if uri != "no:such"]
        listens[number] = {**wanted, "resourceSubscriptions": uris}
        meta = {"io.modelcontextprotocol/subscriptionId": number}
        write(
            {
                "method": "notifications/subscriptions/acknowledged",
                "params": {"notifications": listens[number], "_meta": meta},
            }
        )
    elif method == "notifications/cancelled":
        listens.pop(params.get("requestId"), None)
    elif number is not None and method:
        result = answer(method, params)
        if result is None:
            write({"id": number, "error": {"code": -32601, "message": f"Method not found: {method}"}})
        else:
            write({"id": number, "result": {"resultType": "complete", **result} if given.modern else result})

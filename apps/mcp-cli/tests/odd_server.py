"""An MCP server with the tools of the JSON file that it is given; each answers with what it was given."""

import json
import sys

with open(sys.argv[1], encoding="utf-8") as file:
    TOOLS = json.load(file)
for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message or "method" not in message:
        continue
    method, params = message["method"], message.get("params") or {}
    result: dict[str, object] = {}
    if method == "initialize":
        result = {
            "protocolVersion": params["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "odd", "version": "1"},
        }
    elif method == "tools/list":
        result = {"tools": TOOLS}
    elif method == "tools/call":
        said = {"tool": params["name"], **params.get("arguments", {})}
        result = {"content": [{"type": "text", "text": json.dumps(said, ensure_ascii=False)}]}
    print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)

"""An MCP server of the tests' own whose tool `paid` is refused (-32042) the first `--pages` times."""

import argparse
import json
import sys

options = argparse.ArgumentParser()
options.add_argument("--pages", type=int, default=1)
left = options.parse_args().pages
for line in sys.stdin:
    message = json.loads(line)
    method, number = message.get("method"), message.get("id")
    if number is None or method is None:
        continue
    answer = {"error": {"code": -32601, "message": f"Method not found: {method}"}}
    if method == "initialize":
        answer = {
            "result": {
                "protocolVersion": "2025-11-25",
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "pages", "version": "1"},
            }
        }
    elif method == "tools/list":
        answer = {"result": {"tools": [{"name": "paid", "inputSchema": {"type": "object"}}]}}
    elif method == "tools/call" and left > 0:
        left -= 1
        page = {
            "mode": "url",
            "elicitationId": "e1",
            "url": "https://example.test/pay",
            "message": "Pay first",
        }
        data = {"elicitations": [page]}
        answer = {"error": {"code": -32042, "message": "pay first", "data": data}}
    elif method == "tools/call":
        answer = {"result": {"content": [{"type": "text", "text": "paid"}]}}
    print(json.dumps({"jsonrpc": "2.0", "id": number, **answer}), flush=True)

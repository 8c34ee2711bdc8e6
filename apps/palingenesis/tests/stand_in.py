#!/usr/bin/env python3
"""A stand-in for a coding agent: writes a transcript as Claude Code does, and does what a file of steps says.

    claude --resume ID -p PROMPT ...        appends to the session's transcript
    claude --session-id ID -p PROMPT ...    begins one

Each start takes the next step from ~/steps and adds a line to ~/requests.  Steps: `ok`, `limit EPOCH`,
`context`, `overloaded`, `nothing` (exit 1 without a line), `silent` (waits without a line), `working`
(one line of the model, then waits), `slow SECONDS` (answers so much later), `credit`.
"""

import fcntl
import json
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

ERRORS = {
    "context": ("Prompt is too long", "invalid_request"),
    "overloaded": ("API Error: 529 Overloaded", "server_error"),
    "credit": ("Credit balance is too low", "billing_error"),
}
HOME = Path(os.environ["HOME"])


def next_step():
    with open(HOME / "steps", "r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        first, _, rest = file.read().partition("\n")
        file.seek(0)
        file.truncate()
        file.write(rest)
    return first or "ok"


def option(name):
    return sys.argv[sys.argv.index(name) + 1] if name in sys.argv else ""


def main():
    step = next_step()
    session = option("--resume") or option("--session-id")
    request = {"argv": sys.argv[1:], "cwd": os.getcwd(), "step": step, "at": time.time(), "pid": os.getpid()}
    with open(HOME / "requests", "a") as file:
        file.write(json.dumps(request) + "\n")
    name = "".join(sign if sign.isalnum() else "-" for sign in os.getcwd())
    path = HOME / ".claude/projects" / name / f"{session}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)

    def write(kind, **fields):
        line = {
            "type": kind, "uuid": "u", "timestamp": datetime.now(UTC).isoformat(), "sessionId": session,
            "cwd": os.getcwd(), "version": "2.1.332", "entrypoint": "sdk-cli", **fields,
        }  # fmt: skip
        with open(path, "a") as file:
            file.write(json.dumps(line) + "\n")

    def answer(model, text, stop, **fields):
        content = [{"type": "text", "text": text}]
        message = {"role": "assistant", "model": model, "content": content, "stop_reason": stop}
        write("assistant", message=message, **fields)

    def error(text, **fields):
        answer("<synthetic>", text, "stop_sequence", isApiErrorMessage=True, **fields)
        return 1

    kind, _, argument = step.partition(" ")
    if kind == "nothing":
        print("Error: nothing was done", file=sys.stderr)
        return 1
    if kind == "silent":
        time.sleep(600)
    write("user", message={"role": "user", "content": option("-p")})
    if kind == "slow":
        time.sleep(float(argument))
    if kind == "limit":
        quota = {"status": "rejected", "resetsAt": float(argument), "rateLimitType": "five_hour"}
        return error("You've hit your 5-hour limit", error="rate_limit", quotaLimits=quota)
    if kind in ERRORS:
        text, name = ERRORS[kind]
        return error(text, error=name)
    if kind == "working":
        answer("claude-sonnet-5-5", "Working.", "tool_use")
        time.sleep(600)
    answer("claude-sonnet-5-5", "Done.", "end_turn")
    return 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""A stand-in for Codex's window and its server, which writes the records and outlives the window.

    codex [resume ID] [PROMPT]     shows answers; each line that is typed is a prompt
    codex queue ... --message M    hands a prompt to the server
    codex app-server --listen      takes the prompts from ~/asked, and writes ~/.codex/sessions

Steps as in `stand_in`: `ok`, `slow` (a second), `limit EPOCH`.  Options of a window, as `-c`, make it start
without the server: then the record has another writer, and nothing is asked.
"""

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

HOME = Path(os.environ["HOME"])
ID = "01a220bb-1869-7302-8fe3-8a2ee1346d19"


def serve():
    path = HOME / f".codex/sessions/2026/11/28/rollout-2026-11-28T00-00-00-{ID}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    steps = (HOME / "steps").read_text().splitlines()
    asked = 0
    with open(path, "a") as record:

        def write(kind, **payload):
            line = {"timestamp": datetime.now(UTC).isoformat(), "type": kind, "payload": payload}
            record.write(json.dumps(line) + "\n")
            record.flush()

        while not (HOME / "end").exists():
            prompts = (HOME / "asked").read_text().splitlines()
            for line in prompts[asked:]:
                step, _, resets_at = steps[asked].partition(" ")
                if asked == 0:
                    write("session_meta", id=ID, cwd=json.loads(line)["cwd"], source="cli")
                asked += 1
                pause_s = 0.5 if step == "slow" else 0.0
                time.sleep(pause_s)
                write("event_msg", type="task_started")
                time.sleep(pause_s)
                write("turn_context", cwd=json.loads(line)["cwd"], sandbox_policy="workspace-write")
                if step == "limit":
                    primary = {"used_percent": 100.0, "resets_at": float(resets_at)}
                    write("event_msg", type="token_count", rate_limits={"primary": primary})
                    error = {
                        "message": "You've hit your usage limit.",
                        "codex_error_info": "usage_limit_exceeded",
                    }
                    write("event_msg", type="task_complete", error=error)
                else:
                    message = {"type": "message", "role": "assistant", "content": [{"text": "Done."}]}
                    write("response_item", **message)
                    write("event_msg", type="task_complete")
                (HOME / f"answer-{asked}").write_text("limit" if step == "limit" else "Done.")
            time.sleep(0.02)


def hand(prompt):
    line = {"argv": sys.argv[1:], "prompt": prompt, "cwd": os.getcwd(), "at": time.time(), "pid": os.getpid()}
    with open(HOME / "asked", "a") as file:
        file.write(json.dumps(line) + "\n")


def ask(prompt):
    hand(prompt)
    number = len((HOME / "asked").read_text().splitlines())
    while not (HOME / f"answer-{number}").exists():
        time.sleep(0.02)
    print((HOME / f"answer-{number}").read_text(), flush=True)


def main():
    words = sys.argv[1:]
    if words == ["app-server", "--listen"]:
        serve()
        return
    if words == ["app-server"]:  # asked for its quota: it has no login
        return
    if words[:1] == ["queue"]:  # the server takes it; nobody waits for the answer
        hand(words[words.index("--message") + 1])
        return
    if any(word.startswith("-") for word in words):
        print("this conversation is open in another app", flush=True)
        input()
    if not (HOME / "asked").exists():
        (HOME / "asked").touch()
        subprocess.Popen(
            [sys.executable, __file__, "app-server", "--listen"], start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    print("window", flush=True)
    if words:
        ask(words[-1])
    while True:
        ask(input())


if __name__ == "__main__":
    main()

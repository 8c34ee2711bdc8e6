"""`scripts/test-agents` without the agents: it fetches nothing, and says why each case is skipped."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from daemonry.testing import wait_until

SCRIPTS = Path(__file__).resolve().parents[4] / "scripts"


def test_without_the_agents_each_case_is_skipped_with_its_reason(tmp_path):
    words = [sys.executable, SCRIPTS / "test-agents", "--agents", tmp_path]
    ended = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    if os.geteuid() == 0 and "Operation not permitted" in ended.stderr:
        pytest.skip("a network namespace is not allowed here")
    assert (ended.returncode, ended.stderr) == (0, "")
    if os.geteuid() != 0:
        assert ended.stdout == "skipped: a network namespace of its own needs root and unshare(1)\n"
        return
    head, _, *rows = ended.stdout.splitlines()
    assert head == "| case | claude 2.1.332 | codex 0.171.0 | opencode 1.18.33 | gemini 0.61.0 |"
    assert len(rows) >= 6
    assert all(f"| skipped: no {tmp_path}/node_modules/" in row for row in rows)


def test_the_fake_model_counts_the_requests_of_turns_and_does_what_its_steps_say(tmp_path):
    log = tmp_path / "requests"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [sys.executable, SCRIPTS / "fake_model.py", str(port), log, "limit=60", "ok"]
    model = subprocess.Popen(words)

    def ask(path, **fields):
        request = Request(f"http://127.0.0.1:{port}{path}", json.dumps(fields).encode())
        try:
            with urlopen(request, timeout=20) as answer:
                return answer.status, answer.read().decode()
        except HTTPError as error:
            return error.code, dict(error.headers)

    def listens():
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        wait_until(listens, what="the fake model")
        assert ask("/v1/messages", tools=[])[0] == 200  # a title: takes no step
        code, headers = ask("/v1/messages", tools=[{}])
        assert code == 429
        code, text = ask("/v1/responses", tools=[{}], stream=True)
        assert code == 200
        assert "response.completed" in text
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        assert [(line["step"], line["tools"]) for line in lines] == [("ok", 0), ("limit=60", 1), ("ok", 1)]
        assert headers["anthropic-ratelimit-unified-reset"] == str(lines[1]["resets_at_s"])
    finally:
        model.terminate()
        model.wait()

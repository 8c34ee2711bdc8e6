"""Quota is asked before a resume: by an exit code, or as Codex tells it."""

from __future__ import annotations

import json
import os
import sys
import time

import pytest

from daemonry.testing import wait_until
from palingenesis.agents.known import profiles
from palingenesis.evidence import codex_quota, processes, quota
from palingenesis.evidence.quota_answer import UNKNOWN, Quota

CODEX = profiles({}, "c")["codex"]


def by_code(*words):
    own = {"x": {"reader": "text", "sessions": ["/x"], "quota": list(words)}}
    return quota.ask(profiles(own, "c")["x"], os.environ, "/").ended


def test_a_command_is_asked_and_bounded(monkeypatch):
    assert by_code() is None
    assert by_code("true") is True
    assert by_code("sh", "-c", "exit 75") is False
    assert by_code("false") is None
    assert by_code("no-such-program") is None
    monkeypatch.setattr(quota, "TIMEOUT_S", 0.1)
    assert by_code("sleep", "60") is None


def test_a_command_of_ones_own_answers_by_its_exit_code_again():
    own = profiles({"codex": {"quota": ["true"]}}, "c")["codex"]
    assert own.quota_reader == "exit code"
    assert CODEX.quota_reader == "codex"


def answer(**limits):
    windows = {name: {"usedPercent": used, "resetsAt": at_s} for name, (used, at_s) in limits.items()}
    return codex_quota.answer_of(json.dumps({"id": 2, "result": {"rateLimits": windows}}).encode())


def test_what_codex_answers():
    """The shapes of `codex app-server` 0.171.0."""
    assert answer(primary=(100, 1795879886), secondary=(40, 1795885826)) == Quota(False, 1795879886.0)
    assert answer(primary=(100, 1795879886), secondary=(100, 1795885826)) == Quota(False, 1795885826.0)
    assert answer(primary=(99, 1795879886)) == Quota(True)
    assert answer(primary=(100, None)) == Quota(False)
    assert answer() == UNKNOWN
    told = {"rateLimits": {"primary": {"usedPercent": 100}}, "ordinaryUsageAllowed": True}
    assert codex_quota.answer_of(json.dumps({"id": 2, "result": told}).encode()) == Quota(True)
    told = {"rateLimits": {"rateLimitReachedType": "rate_limit_reached", "primary": {"usedPercent": 3}}}
    assert codex_quota.answer_of(json.dumps({"id": 2, "result": told}).encode()) == Quota(False)


@pytest.mark.parametrize(
    "line",
    [
        b"", b"{", b"\xff", b"[]", b'{"id": 1, "result": {}}', b'{"method": "remoteControl/status/changed"}',
        b'{"id": "2", "result": {}}',
    ],
)  # fmt: skip
def test_what_is_no_answer_is_waited_over(line):
    assert codex_quota.answer_of(line) is None


@pytest.mark.parametrize(
    "result",
    [
        None, [], "x", {"rateLimits": []}, {"rateLimits": {"primary": 7}},
        {"rateLimits": {"primary": {"usedPercent": "100"}}},
        {"rateLimits": {"primary": {"usedPercent": True}}},
    ],
)  # fmt: skip
def test_an_answer_of_another_shape_tells_nothing(result):
    assert codex_quota.answer_of(json.dumps({"id": 2, "result": result}).encode()) == UNKNOWN


def test_an_error_of_codex_tells_nothing():
    """Who has an API key has no quota to be told."""
    told = {"id": 2, "error": {"code": -32600, "message": "codex account authentication required"}}
    assert codex_quota.answer_of(json.dumps(told).encode()) == UNKNOWN


SERVER = """\
import json, os, sys, time
print("pid", os.getpid(), file=open(sys.argv[1], "w"), flush=True)
for line in sys.stdin:
    message = json.loads(line)
    if message["method"] == "initialize":
        print(json.dumps({"id": message["id"], "result": {}}), flush=True)
        print("no JSON", flush=True)
    if message["method"] == "account/rateLimits/read":
        windows = {"primary": {"usedPercent": 100, "resetsAt": float(sys.argv[2])}}
        print(json.dumps({"id": message["id"], "result": {"rateLimits": windows}}), flush=True)
time.sleep(600)
"""


def codex_that(tmp_path, program, *words):
    path = tmp_path / "server.py"
    path.write_text(program)
    command = [sys.executable, str(path), str(tmp_path / "pid"), *words]
    return profiles({"codex": {"quota": command, "quota_reader": "codex"}}, "c")["codex"]


def test_codex_is_asked_by_its_own_protocol_and_its_server_is_gone_after_that(tmp_path):
    resets_at_s = time.time() + 60
    profile = codex_that(tmp_path, SERVER, str(resets_at_s))
    found = quota.ask(profile, os.environ, "/")
    assert found.ended is False
    assert found.resets_at_s == pytest.approx(resets_at_s)
    pid = int((tmp_path / "pid").read_text().split()[1])
    wait_until(lambda: not processes.start_of(pid))


@pytest.mark.parametrize("ahead_s", [-5.0, 9 * 86400.0])
def test_a_reset_that_cannot_be_is_not_believed(tmp_path, ahead_s):
    profile = codex_that(tmp_path, SERVER, str(time.time() + ahead_s))
    assert quota.ask(profile, os.environ, "/") == Quota(False)


@pytest.mark.parametrize(
    "program",
    [
        "import sys; sys.exit(1)",
        "import os; os.close(0); os.write(1, b'x' * 3_000_000)",
        "import time; time.sleep(600)",
        "import sys; print('{\"id\": 2', end='')",
    ],
)
def test_a_server_that_fails_floods_or_hangs_tells_nothing(tmp_path, monkeypatch, program):
    monkeypatch.setattr(quota, "TIMEOUT_S", 0.5)
    assert quota.ask(codex_that(tmp_path, program), os.environ, "/") == UNKNOWN

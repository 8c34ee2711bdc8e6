"""Names that are not UTF-8 are written and come back, and end no daemon."""

import json
import sys
from pathlib import Path

import msgspec
import pytest

from daemonry.testing import wait_until
from palingenesis import names_json
from palingenesis.resume.audit import Audit
from palingenesis.resume.entry import SessionEntry
from palingenesis.resume.ledger import Ledger
from palingenesis.resume.states import State


class Named(msgspec.Struct):
    name: str
    n: int = 0


@pytest.mark.parametrize("name", ["plain", "é", "x\udcff.jsonl", "\udc80", '"\\udcff'])
def test_a_name_comes_back_as_it_was(name):
    data = names_json.encode(Named(name, 3))
    data.decode("utf-8")
    assert names_json.decode(data, Named) == Named(name, 3)


@pytest.mark.parametrize(
    "data", [b"{", b'{"name": 1}', b'{"name":"\\udcff","n":"x"}', b'{"name":"\\udcff"', b"\xff"]
)
def test_what_is_no_value_is_a_value_error(data):
    with pytest.raises(ValueError):  # noqa: PT011  # whichever
        names_json.decode(data, Named)


def test_nested_without_end_is_a_value_error():
    with pytest.raises(ValueError, match="nested"):
        names_json.decode(b'{"a":"\\udcff","b":' + b"[" * 100_000, dict)


def test_the_ledger_and_the_audit_keep_a_session_whose_id_is_no_text(tmp_path):
    """The id of a session is the name of its file, which is the agent's choice, or anybody's."""
    key = "claude:bad\udcff"
    entry = SessionEntry(key, "claude", "bad\udcff", "/x/bad\udcff.jsonl", "", "", State.STOPPED, 1.0)
    kept = Ledger(str(tmp_path), 1.0)
    kept.keep(entry)
    kept.close()
    again = Ledger(str(tmp_path), 2.0)
    assert again.entries == {key: entry}
    again.close()
    Audit(str(tmp_path / "audit.jsonl")).write("seen", 1.0, session=key)
    assert b"bad\\udcff" in (tmp_path / "audit.jsonl").read_bytes()


@pytest.mark.slow
def test_a_transcript_whose_name_is_no_text_ends_no_daemon(sandbox):
    """It comes while the daemon runs, and is there when it starts again."""
    palingenesis = (sys.executable, "-m", "palingenesis")
    projects = Path(sandbox.env["HOME"], ".claude/projects/-x")
    projects.mkdir(parents=True)
    assert sandbox.run(*palingenesis, "daemon", "start").code == 0
    message = {"model": "<synthetic>", "content": []}
    line = {"type": "assistant", "timestamp": "2100-01-01T00:00:00Z", "message": message}
    failed = {"isApiErrorMessage": True, "error": "billing_error"}
    (projects / "bad\udcff.jsonl").write_text(json.dumps(line | failed) + "\n")
    wait_until(
        lambda: any(b"bad\\udcff" in path.read_bytes() for path in sandbox.path.rglob("sessions.json")), 30
    )
    for _ in range(2):
        assert sandbox.run(*palingenesis, "status").code == 0
        assert "bad" in sandbox.run(*palingenesis, "sessions", "--json").out
        assert sandbox.run(*palingenesis, "daemon", "restart").code == 0
    assert sandbox.run(*palingenesis, "daemon", "stop").code == 0

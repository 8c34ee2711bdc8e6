"""The headers of a call, and the helper that makes them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from vx.remote import credentials
from vx.remote.credentials import Credentials
from vx.remote.failures import RemoteFailed


def helper(tmp_path: Path, answer: object, status: int = 0) -> Path:
    program = tmp_path / "helper"
    program.write_text(
        f'#!/bin/sh\n[ "$1" = get ] || exit 9\ncat >> {tmp_path}/asked\necho >> {tmp_path}/asked\n'
        f"cat <<'END'\n{answer if isinstance(answer, str) else json.dumps(answer)}\nEND\nexit {status}\n"
    )
    program.chmod(0o755)
    return program


def test_a_helper_is_asked_once_until_its_answer_expires(tmp_path: Path) -> None:
    program = helper(
        tmp_path, {"headers": {"Authorization": ["Bearer x"]}, "expires": "2999-01-01T00:00:00Z"}
    )
    one = Credentials("grpcs://a:1", {"x-team": "blue"}, str(program))
    for _ in range(2):
        assert one.metadata() == (("x-team", "blue"), ("authorization", "Bearer x"))
    assert (tmp_path / "asked").read_text() == '{"uri": "grpcs://a:1"}\n'
    one.forget()
    one.metadata()
    assert (tmp_path / "asked").read_text().count("uri") == 2


def test_an_answer_that_has_expired_is_asked_for_again(tmp_path: Path) -> None:
    program = helper(tmp_path, {"headers": {}, "expires": "2001-01-01T00:00:00Z"})
    one = Credentials("grpcs://a:1", {}, str(program))
    assert one.metadata() == one.metadata() == ()
    assert (tmp_path / "asked").read_text().count("uri") == 2


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "[]",
        '{"headers": 1}',
        '{"headers": {"a": "b"}}',
        '{"headers": {"a b": ["c"]}}',
        '{"headers": {"a": ["b\\nc"]}}',
        '{"headers": {"a-bin": ["AAAA"]}}',
        '{"headers": {}, "more": ' + "[" * 100_000,
    ],
)
def test_an_answer_of_another_form_is_refused_and_not_shown(tmp_path: Path, answer: str) -> None:
    with pytest.raises(RemoteFailed, match="prints no headers"):
        Credentials("grpcs://a:1", {}, str(helper(tmp_path, answer))).metadata()


def test_a_helper_that_fails_is_named(tmp_path: Path) -> None:
    with pytest.raises(RemoteFailed, match="helper ended with 3"):
        Credentials("grpcs://a:1", {}, str(helper(tmp_path, {}, 3))).metadata()
    with pytest.raises(RemoteFailed, match=r"nowhere cannot be run: No such file or directory$"):
        Credentials("grpcs://a:1", {}, "/nowhere").metadata()


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("exec cat /dev/zero", "prints more than 1024 KiB"),
        ("exec >&-; exec sleep 60", "did not end within 0 s"),
        ("exec sleep 60", "gave no answer within 0 s"),
        ("sleep 60 & echo {}", "gave no answer within 0 s"),
    ],
)
def test_a_helper_that_does_not_answer_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, said: str
) -> None:
    """What it prints is not collected beyond an answer's size."""
    if "zero" not in script:
        monkeypatch.setattr(credentials, "HELPER_TIMEOUT_S", 0.3)
    program = tmp_path / "helper"
    program.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\n{script}\n")
    program.chmod(0o755)
    with pytest.raises(RemoteFailed, match=said):
        Credentials("grpcs://a:1", {}, str(program)).metadata()
    if (tmp_path / "pid").exists():
        with pytest.raises(ProcessLookupError):
            os.kill(int((tmp_path / "pid").read_text()), 0)


def test_a_helper_need_not_read_the_question(tmp_path: Path) -> None:
    program = tmp_path / "helper"
    program.write_text('#!/bin/sh\nexec <&-\necho \'{"headers": {"a": ["b"]}}\'\n')
    program.chmod(0o755)
    assert Credentials("grpcs://a:1", {}, str(program)).metadata() == (("a", "b"),)


def test_without_a_time_an_answer_is_good_for_a_while() -> None:
    assert credentials.parse(b'{"headers": {"a": ["b", "c"]}}', 100.0) == ((("a", "b"), ("a", "c")), 1900.0)

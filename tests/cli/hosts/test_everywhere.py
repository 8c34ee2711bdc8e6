"""`ps --all-hosts`: the list, and what other machines answer."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemonry.cli.hosts import everywhere

DAEMON = {"kind": "daemon", "name": "a", "pid": 1, "state": "running", "uptime_secs": 2, "version": "1"}


@pytest.fixture
def listed(tmp_path, monkeypatch):
    """Writes `~/.config/daemonry/daemonry.toml`."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    path = tmp_path / "config" / "daemonry" / "daemonry.toml"
    path.parent.mkdir(parents=True)
    return path.write_text


def test_each_machine_has_its_lines_and_a_dead_one_delays_and_hides_nobody(far, listed):
    far.start()
    listed('hosts = ["box", "dead", "box2", "liar"]\n')
    far.is_ssh(
        "for last; do :; done; case $* in"
        " *' dead '*) echo 'ssh: connect to host dead: timed out' >&2; exit 255;;"
        " *' liar '*) echo daemonry-dial 1 runs; echo '[{\"name\":\"x\"}]';;"
        ' *) exec /usr/bin/env -i {env} sh -c "exec $last";; esac'
    )
    begun = time.monotonic()
    done = far.near("ps", "--all-hosts")
    assert time.monotonic() - begun < 30
    assert done.stdout, done
    lines = [line.split()[:2] for line in done.stdout.splitlines()]
    assert lines[0] == ["HOST", "NAME"]
    assert ["box", "far"] in lines
    assert ["box2", "far"] in lines
    assert "dead is unreachable: ssh: connect to host dead: timed out" in done.stderr
    assert "liar gives no list: a daemon in its list has no name or state" in done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    assert done.returncode == 5
    rows = {row["host"]: row for row in json.loads(far.near("ps", "--all-hosts", "--json").stdout)}
    assert rows["dead"]["state"] == "unreachable"
    assert rows["liar"]["state"] == "failed"
    assert rows["box"]["state"] == "running"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "lists no machines"),
        ("hosts = 3", "1:1: hosts: is a list"),
        ("hosts = ['a', 3]", "is the name of a machine"),
        ("hosts = ['-x']", "is not a valid host"),
        ("host = ['a']", "did you mean 'hosts'"),
        ("hosts = [", "daemonry.toml"),
    ],
)
def test_a_list_that_cannot_be_used_says_where(far, listed, text, told):
    listed(text)
    done = far.near("ps", "--all-hosts")
    assert done.returncode != 0
    assert told in done.stderr
    assert done.stderr.count("\n") == 1


def test_rows_keep_what_is_known_and_nothing_else():
    home = {**DAEMON, "kind": "home", "services": [{**DAEMON, "x": 1}], "more": [1]}
    (row,) = everywhere.checked(json.dumps([home]).encode())
    assert "more" not in row
    assert "x" not in row["services"][0]
    (row,) = everywhere.checked(json.dumps([{**DAEMON, "pid": ["x"]}]).encode())
    assert row["pid"] == "['x']"


@given(
    st.binary()
    | st.recursive(
        st.none() | st.text() | st.integers(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    ).map(lambda value: json.dumps(value).encode())
)
def test_any_other_answer_is_one_error(answer):
    try:
        rows = everywhere.checked(answer)
    except ValueError:
        return
    assert rows == []

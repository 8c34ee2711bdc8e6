"""The record: written whole, read whole, and a damaged one is as good as none."""

import json
import os

import pytest

from daemonry.process import record, record_fields
from daemonry.process.identity import Identity
from daemonry.process.record import DaemonRecord

RECORD = DaemonRecord(False, "unix:/run/x.sock", Identity("boot", 42, "pid:[1]", 777), "x", "0f", 1.5, "1.2")
FIELDS = RECORD.to_fields()
DAMAGED = {
    "empty": b"",
    "blank": b" \n",
    "cut": json.dumps(FIELDS).encode()[:-9],
    "twice": json.dumps(FIELDS).encode() * 2,
    "not JSON": b"1234\n",
    "a list": b"[]",
    "not UTF-8": b'{"name":"\xff"}',
    "zeros": bytes(4096),
    "too large": b'{"name":"' + b"x" * 100_000 + b'"}',
    "deep": b"[" * 10_000,
    "a pid of words": json.dumps({**FIELDS, "pid": "42"}).encode(),
    "a pid of truth": json.dumps({**FIELDS, "pid": True}).encode(),
    "a broken pid": json.dumps({**FIELDS, "pid": 4.2}).encode(),
    "pid nought": json.dumps({**FIELDS, "pid": 0}).encode(),
    "a pid of a group": json.dumps({**FIELDS, "pid": -1}).encode(),
    "a pid beyond all": json.dumps({**FIELDS, "pid": 1 << 40}).encode(),
    "a start time of words": json.dumps({**FIELDS, "start_time": None}).encode(),
    "a name of numbers": json.dumps({**FIELDS, "name": 5}).encode(),
    "a time of words": json.dumps({**FIELDS, "started_at": "soon"}).encode(),
    "a time of nothing": json.dumps({**FIELDS, "started_at": None}).encode(),
    "a drain time of words": json.dumps({**FIELDS, "drain_timeout_s": "long"}).encode(),
    "a drain time of nothing": json.dumps({**FIELDS, "drain_timeout_s": None}).encode(),
    "a time beyond all": json.dumps({**FIELDS, "started_at": 10**400}).encode(),
    "a time that is none": json.dumps({**FIELDS, "started_at": float("nan")}).encode(),
    **{
        f"no {name}": json.dumps({k: v for k, v in FIELDS.items() if k != name}).encode()
        for name in FIELDS
        if name
        not in {"draining", "ready", "drain_timeout_s"}  # one without them was written by an older release
    },
}


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "x.json")


@pytest.mark.parametrize("draining", [False, True])
def test_what_was_written_is_read(path, draining):
    written = RECORD.as_draining() if draining else RECORD
    record.write(path, written)
    assert record.read(path) == written
    assert record.read(path).draining is draining
    assert record.read(path).pid == 42
    assert record_fields.read_endpoint(path) == "unix:/run/x.sock"
    assert os.stat(path).st_mode & 0o777 == 0o600


def test_a_record_is_one_line_that_people_can_read(path):
    record.write(path, RECORD)
    with open(path) as file:
        assert json.loads(file.read()) == FIELDS


def test_there_is_none_where_there_is_none(path):
    assert record.read(path) is None
    assert record_fields.read_endpoint(path) is None


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_record_is_as_good_as_none(path, damage):
    """The lock and the usual path still tell; a pid of -1 would be everybody's (kill(2))."""
    with open(path, "wb") as file:
        file.write(DAMAGED[damage])
    assert record.read(path) is None


def test_keys_of_a_newer_version_are_left_alone(path):
    with open(path, "w") as file:
        json.dump({**FIELDS, "colour": "blue"}, file)
    assert record.read(path) == RECORD


def test_a_record_of_an_older_version_was_not_draining(path):
    with open(path, "w") as file:
        json.dump({name: value for name, value in FIELDS.items() if name != "draining"}, file)
    assert record.read(path) == RECORD


@pytest.mark.parametrize("make", ["directory", "link"])
def test_what_is_no_file_is_no_record(tmp_path, make):
    record.write(str(tmp_path / "real"), RECORD)
    (tmp_path / "directory").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert record.read(str(tmp_path / make)) is None


def test_where_a_daemon_is_reached_is_read_without_the_rest(path):
    """The quick commands need one field; the record of another version may lack others."""
    with open(path, "w") as file:
        json.dump({"endpoint": "unix:/run/x.sock"}, file)
    assert record_fields.read_endpoint(path) == "unix:/run/x.sock"
    with open(path, "w") as file:
        json.dump({"endpoint": 5}, file)
    assert record_fields.read_endpoint(path) is None


def test_a_new_record_replaces_the_old_one(path):
    record.write(path, RECORD)
    record.write(path, RECORD.as_draining())
    assert record.read(path).draining
    assert os.listdir(os.path.dirname(path)) == ["x.json"]


def test_a_full_disk_leaves_the_old_record(on_tiny_disk):
    """Fault 16: opening for writing would have emptied it first (fact F23)."""
    told = on_tiny_disk(
        """
from daemonry.process import record, record_fields
from daemonry.process.identity import Identity
from daemonry.process.record import DaemonRecord
path = disk + "/x.json"
old = DaemonRecord(False, "unix:/x", Identity("b", 1, "", 1), "x", "n", 1.0, "v")
record.write(path, old)
fill()
try:
    new = DaemonRecord(False, "unix:/" + "y" * 9000, Identity("b", 1, "", 1), "x", "n", 1.0, "v")
    record.write(path, new)
except OSError as error:
    print(error.strerror)
print(record.read(path) == old, sorted(os.listdir(disk)))
"""
    )
    assert told.splitlines() == ["No space left on device", "True ['filler', 'x.json']"]


def test_a_record_of_an_older_release_is_of_one_that_is_ready(path):
    fields = {name: value for name, value in FIELDS.items() if name not in {"draining", "ready"}}
    with open(path, "w", encoding="utf-8") as file:
        json.dump(fields, file)
    assert record.read(path) == RECORD

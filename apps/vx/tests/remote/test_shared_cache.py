"""A store in front of a shared cache; each way in which that can fail is a miss, and never a wrong result."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from daemonry.testing import wait_until
from vx.cass.store import Store
from vx.interfaces import Blob, Manifest, RemoteBlob
from vx.remote.settings import RemoteSettings

KEY = "4b" * 32

Make = Callable[..., Any]


@pytest.fixture
def machine(tmp_path: Path, remote_server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Makes the store and the cache of one machine after another."""
    from vx.cass import shared
    from vx.cass.shared import SharedCache
    from vx.remote import cache, server

    monkeypatch.setattr(shared, "MAX_INLINE_BYTES", 0)  # what blobs do is tested with short ones
    monkeypatch.setattr(server, "SHORT_TIMEOUT_S", 0.5)
    monkeypatch.setattr(cache, "SHORT_TIMEOUT_S", 0.5)
    made = []

    def make(**changed: Any) -> SharedCache:
        number = len(made)
        store = Store(str(tmp_path / f"cass{number}"))
        settings = RemoteSettings(cache=remote_server.url, **{"timeout_s": 0.5, **changed})
        made.append(SharedCache(store, settings, str(tmp_path / f"digests{number}")))
        return made[-1]

    yield make
    for one in made:
        one.close()


def made_by(one: Any, *contents: bytes, grows: bool = False) -> Manifest:
    """Keep a manifest in a machine's store, and have it go up."""
    blobs = [
        Blob(f"out/{number}", one._store.blobs.put_bytes(data), len(data), executable=number == 0)
        for number, data in enumerate(contents)
    ]
    manifest = Manifest(blobs, {"said": "a warning"}, grows)
    one._store.manifests.put({KEY: manifest})
    one.later({KEY: manifest})
    wait_until(lambda: not one.fields()["remote_waiting"], 30, "it went up")
    return manifest


@pytest.mark.parametrize("function", ["SHA256", "BLAKE3"])
def test_what_one_machine_made_another_finds(machine: Make, remote_server, function: str) -> None:
    from vx.remote.protos import remote_execution_pb2 as reapi

    remote_server.function = reapi.DigestFunction.Value.Value(function)
    large = bytes(range(256)) * (20 << 10)  # 5 MiB: a stream, and not in a batch
    manifest = made_by(machine(timeout_s=30.0), b"program", b"", large)
    there = machine(timeout_s=30.0)
    assert there.look_up([KEY, "00" * 32]).found == {KEY: manifest}
    assert there._store.manifests.get([KEY]).found == {KEY: manifest}
    assert there._store.blobs.read(manifest.blobs[2].digest) == large
    assert there.server.failures.count == 0


def test_other_clients_find_the_outputs_by_their_paths(machine: Make, remote_server) -> None:
    made_by(machine(), b"program")
    (result,) = remote_server.results.values()
    (file,) = result.output_files
    assert (file.path, file.is_executable) == ("out/0", True)
    assert remote_server.blobs[file.digest.hash] == b"program"


def test_nothing_is_hashed_again_on_a_hit(
    machine: Make, remote_server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The names there come with the entry, and are kept: a fetched blob goes up without a read."""
    made_by(machine(), b"program")
    there = machine()
    (manifest,) = there.look_up([KEY]).found.values()
    monkeypatch.setattr("vx.cass.shared._hashed", lambda *_: pytest.fail("a blob was hashed again"))
    assert there.push([manifest.blobs[0].digest]) == [
        RemoteBlob(remote_server.digest(b"program").hash, len(b"program"))
    ]


def test_a_blob_that_is_removed_here_is_fetched_again(machine: Make, remote_server) -> None:
    one = machine()
    digest = made_by(one, b"program").blobs[0].digest
    one._store.gc(0)
    one.blobs([digest])
    assert one._store.blobs.read(digest) == b"program"


def test_blobs_are_pulled_by_their_names_there(machine: Make, remote_server) -> None:
    told = remote_server.keep(b"output")
    one = machine()
    for _ in range(2):
        (digest,) = one.pull([RemoteBlob(told.hash, told.size_bytes)])
        assert one._store.blobs.read(digest) == b"output"
    assert remote_server.calls.count("BatchReadBlobs") == 1


def test_a_wrong_hash_is_refused_and_told(machine: Make, remote_server) -> None:
    manifest = made_by(machine(), b"program")
    for spoiled in (b"Program", b"prog", b"program and more"):
        there = machine()
        remote_server.spoil = lambda data, spoiled=spoiled: spoiled if data == b"program" else data
        assert there.look_up([KEY]).found == {}
        assert there._store.blobs.missing([manifest.blobs[0].digest]).digests
        assert "not" in there.server.failures.since(0)[0]
    remote_server.spoil = lambda data: data
    assert there.look_up([KEY]).found == {KEY: manifest}  # one damaged blob is no reason to ask no more


def test_a_large_blob_with_a_wrong_hash_is_refused(machine: Make, remote_server) -> None:
    large = b"x" * (5 << 20)
    manifest = made_by(machine(), large)
    for spoiled in (large[:-1] + b"y", large * 2):
        there = machine()
        remote_server.spoil = lambda data, spoiled=spoiled: spoiled if data == large else data
        assert there.look_up([KEY]).found == {}
        assert there._store.blobs.missing([manifest.blobs[0].digest]).digests


def test_an_entry_that_lies_about_a_blob_is_refused(machine: Make, remote_server) -> None:
    """Whoever may write the cache still cannot give a blob another content than its name in cass says."""
    made_by(machine(), b"program")
    (result,) = remote_server.results.values()
    result.output_files[0].digest.CopyFrom(remote_server.keep(b"malware"))
    there = machine()
    assert there.look_up([KEY]).found == {}
    assert "another content" in there.server.failures.since(0)[0]


def test_a_server_that_keeps_no_inline_output_is_asked_for_the_blob(machine: Make, remote_server) -> None:
    manifest = made_by(machine(), b"program")
    for result in remote_server.results.values():
        result.stdout_raw = b""
    assert machine().look_up([KEY]).found == {KEY: manifest}


@pytest.fixture
def inline(machine: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small blobs go along with their entries."""
    from vx.cass import shared

    monkeypatch.setattr(shared, "MAX_INLINE_BYTES", 16 << 10)


@pytest.mark.usefixtures("inline")
def test_a_hit_of_small_blobs_is_one_question(machine: Make, remote_server) -> None:
    """Also at a server that sends no contents with an entry, as BuildGrid."""
    manifest = made_by(machine(), b"program", b"list of files" * 100, b"")
    there = machine()
    before = len(remote_server.calls)
    assert there.look_up([KEY]).found == {KEY: manifest}
    asked = [name for name in remote_server.calls[before:] if "Capabilities" not in name]
    assert [name.rpartition("/")[2] for name in asked] == ["GetActionResult"]
    assert there._store.blobs.read(manifest.blobs[0].digest) == b"program"


@pytest.mark.usefixtures("inline")
def test_blobs_that_are_not_small_together_are_asked_for(machine: Make, remote_server) -> None:
    manifest = made_by(machine(), b"x" * (15 << 10), b"y" * (2 << 10), bytes(range(256)) * 200)
    (result,) = remote_server.results.values()
    assert 0 < len(result.stdout_raw) < 32 << 10
    there = machine()
    assert there.look_up([KEY]).found == {KEY: manifest}
    assert there._store.blobs.read(manifest.blobs[1].digest) == b"y" * (2 << 10)


@pytest.mark.usefixtures("inline")
def test_a_note_that_lies_about_a_small_blob_has_it_asked_for(machine: Make, remote_server) -> None:
    manifest = made_by(machine(), b"program")
    (result,) = remote_server.results.values()
    note = json.loads(result.stdout_raw)
    (ours,) = note["contents"]
    other = "00" * 32
    for contents in (
        {ours: base64.b64encode(b"malware").decode()},
        {other: base64.b64encode(b"program").decode()},
    ):
        result.stdout_raw = json.dumps({**note, "contents": contents}).encode()
        there = machine()
        assert there.look_up([KEY]).found == {KEY: manifest}
        assert there._store.blobs.read(ours) == b"program"
    result.stdout_raw = json.dumps({**note, "contents": {ours: "not base64!"}}).encode()
    assert machine().look_up([KEY]).found == {}


ODD = b'{"key": "%s", "blobs": [], "grows": false, "note": {"a": %s}}'
NESTED = b'{"key": "x", "blobs": [], "grows": false, "note": {"a": ' + b"[" * 100_000


@pytest.mark.parametrize(
    "note",
    [b"", b"{}", b"[", b'{"key": "x", "blobs": [], "note": {}, "grows": false}', NESTED]
    + [ODD % (KEY.encode(), one) for one in (b"1" * 30, b"1e400", b"[1]", b"null")],
)
def test_an_entry_of_another_form_is_a_miss(machine: Make, remote_server, note: bytes) -> None:
    """And says nothing of the others, which are asked for as before."""
    made = made_by(machine(), b"program")
    (result,) = remote_server.results.values()
    right = type(result).FromString(result.SerializeToString())
    result.stdout_raw = note
    result.stdout_digest.CopyFrom(remote_server.keep(note))
    there = machine()
    assert there.look_up([KEY]).found == {}
    assert there.server.failures.count == 1
    result.CopyFrom(right)
    assert there.look_up([KEY]).found == {KEY: made}


def test_an_evicted_blob_is_a_miss_and_no_failure(machine: Make, remote_server) -> None:
    made_by(machine(), b"program", b"x" * (5 << 20))
    for gone in (b"program", b"x" * (5 << 20)):
        remote_server.blobs.pop(remote_server.digest(gone).hash, None)
        there = machine()
        assert there.look_up([KEY]).found == {}
        assert there.server.failures.count == 0
    one = machine()
    assert (
        made_by(one, b"program", b"x" * (5 << 20)) == machine().look_up([KEY]).found[KEY]
    )  # it is made again


def test_one_that_hangs_is_left_alone_after_one_deadline(machine: Make, remote_server) -> None:
    remote_server.fault = remote_server.hang
    one = machine()
    assert one.look_up([KEY] * 20).found == {}
    assert remote_server.calls == ["GetCapabilities"]
    assert one.server.failures.since(0) == ["DEADLINE_EXCEEDED: Deadline Exceeded"]


def test_one_that_hangs_later_is_given_three_tries(machine: Make, remote_server) -> None:
    one = machine()
    one.look_up([KEY])
    remote_server.fault = remote_server.hang
    remote_server.calls.clear()
    assert one.look_up([KEY] * 20).found == {}
    assert remote_server.calls == ["GetActionResult"] * 3


def test_an_unavailable_one_is_told_without_its_control_characters(machine: Make, remote_server) -> None:
    remote_server.fault = remote_server.unavailable
    one = machine()
    assert one.look_up([KEY]).found == {}
    (reason,) = one.server.failures.since(0)
    assert reason.startswith("UNAVAILABLE: being")
    assert reason.isprintable()


def test_one_that_is_not_there_is_told(machine: Make, remote_server) -> None:
    remote_server.stop()
    one = machine()
    assert one.look_up([KEY]).found == {}
    assert "UNAVAILABLE" in one.server.failures.since(0)[0]


def test_a_connection_closed_by_goaway_is_made_again(machine: Make, remote_server) -> None:
    manifest = made_by(machine(), b"program")
    there = machine()
    there.look_up(["00" * 32])
    remote_server.stop()
    remote_server.start()
    wait_until(lambda: there.look_up([KEY]).found == {KEY: manifest}, 10, "it is asked again")


def test_a_goaway_in_the_middle_of_a_call_is_a_miss(machine: Make, remote_server) -> None:
    one = machine()
    one.look_up([KEY])

    def fault(name: str, context: Any) -> None:
        remote_server.fault = lambda _name, _context: None
        remote_server._server.stop(0)
        remote_server.hang(name, context)

    remote_server.fault = fault
    assert one.look_up([KEY]).found == {}
    assert one.server.failures.count == 1


def test_results_stay_here_where_upload_is_off(machine: Make, remote_server) -> None:
    made_by(machine(upload=False), b"program")
    assert remote_server.results == {}


def test_a_cache_that_takes_none_is_not_asked_twice(machine: Make, remote_server) -> None:
    remote_server.may_update = False
    one = machine()
    made_by(one, b"program")
    made_by(one, b"program")
    assert set(remote_server.calls) == {"GetCapabilities"}
    assert one.server.failures.count == 0


def test_headers_are_sent_with_each_call(machine: Make, remote_server) -> None:
    machine(headers={"x-team": "blue"}).look_up([KEY])
    assert remote_server.headers["x-team"] == "blue"


def test_the_queue_is_bounded(machine: Make, remote_server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vx.cass.shared.MAX_WAITING", 1)
    remote_server.fault = remote_server.hang
    one = machine()
    one.later({f"{number:064x}": Manifest() for number in range(5)})
    assert "too many wait" in one.server.failures.since(0)[0]


def test_grpc_is_loaded_only_where_a_remote_is_set() -> None:
    code = (
        "import sys, vx.cass.daemon, vx.cass.service\n"
        "import vx.remote.settings, vx.aether.service, vx.rhea.service\n"
        "assert not [one for one in sys.modules if one.startswith(('grpc', 'google', 'sqlite3'))]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


LISTED = "5c" * 32


def listed_by(one: Any, result: Manifest) -> Manifest:
    """Keep a list that leads to the result under KEY in a machine's store, and have it go up."""
    data = b'{"entries": []}'
    listed = Manifest([Blob("entries", one._store.blobs.put_bytes(data), len(data))], {"next": KEY}, True)
    one._store.manifests.put({LISTED: listed})
    one.later({LISTED: listed})
    wait_until(lambda: not one.fields()["remote_waiting"], 30, "it went up")
    assert one._store.manifests.get([KEY]).found == {KEY: result}
    return listed


def entry_of(remote_server, key: str) -> Any:
    """Return the server's entry of a key."""
    (found,) = (one for one in remote_server.results.values() if f'"key":"{key}"'.encode() in one.stdout_raw)
    return found


def questions(remote_server, since: int) -> list[str]:
    asked = [name.rpartition("/")[2] for name in remote_server.calls[since:]]
    return [name for name in asked if name != "GetCapabilities"]


@pytest.mark.usefixtures("inline")
@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("function", ["SHA256", "BLAKE3"])
def test_a_result_comes_along_with_the_list_that_leads_to_it(
    machine: Make, remote_server, function: str, kept: bool
) -> None:
    from vx.remote.protos import remote_execution_pb2 as reapi

    remote_server.function = reapi.DigestFunction.Value.Value(function)
    one = machine()
    result = made_by(one, b"program", b"said")
    listed = listed_by(one, result)
    there = machine()
    since = len(remote_server.calls)
    found = there.look_up([LISTED], kept=kept)
    assert found.found == {LISTED: listed, KEY: result}
    assert found.contents == {listed.blobs[0].digest: b'{"entries": []}'}
    assert questions(remote_server, since) == ["GetActionResult"]
    assert there._store.manifests.get([KEY]).found == {KEY: result}
    assert there._store.blobs.read(result.blobs[0].digest) == b"program"
    assert (LISTED in there._store.manifests.get([LISTED]).found) is kept
    assert there.hits == 2


@pytest.mark.usefixtures("inline")
def test_large_blobs_of_what_comes_along_are_asked_for_at_once(machine: Make, remote_server) -> None:
    one = machine(timeout_s=30.0)
    result = made_by(one, b"program" * 10_000, b"said")
    listed_by(one, result)
    there = machine(timeout_s=30.0)
    since = len(remote_server.calls)
    assert there.look_up([LISTED]).found[KEY] == result
    assert questions(remote_server, since) == ["GetActionResult", "BatchReadBlobs"]
    assert there._store.blobs.read(result.blobs[0].digest) == b"program" * 10_000


@pytest.mark.usefixtures("inline")
def test_what_is_here_already_is_not_fetched_along(machine: Make, remote_server) -> None:
    one = machine()
    result = made_by(one, b"program" * 10_000)
    listed_by(one, result)
    since = len(remote_server.calls)
    assert one.look_up([LISTED], kept=False).found[KEY] == result
    assert questions(remote_server, since) == ["GetActionResult"]
    assert one.hits == 1


@pytest.mark.usefixtures("inline")
def test_where_what_comes_along_was_evicted_the_list_is_found(machine: Make, remote_server) -> None:
    one = machine()
    result = made_by(one, b"program" * 10_000)
    listed = listed_by(one, result)
    remote_server.blobs.pop(remote_server.digest(b"program" * 10_000).hash)
    there = machine()
    assert there.look_up([LISTED]).found == {LISTED: listed}
    assert there._store.manifests.get([KEY]).found == {}
    assert there.server.failures.count == 0


ANOTHER = "77" * 32


@pytest.mark.usefixtures("inline")
@pytest.mark.parametrize(
    "changed",
    [
        {"key": ANOTHER},
        {"key": "../../etc"},
        {"at": []},
        {"at": ["../../etc"]},
        {"at": [ANOTHER, ANOTHER]},
        {"blobs": [{"name": "x", "digest": "../x", "size": 7}]},
        {"blobs": [{"name": "x", "digest": ANOTHER, "size": -1}]},
        {"note": {"a": [1]}},
        {"contents": {ANOTHER: "not base64!"}},
    ],
)
def test_what_comes_along_of_another_form_makes_a_miss(
    machine: Make, remote_server, changed: dict[str, Any]
) -> None:
    one = machine()
    listed_by(one, made_by(one, b"program"))
    entry = entry_of(remote_server, LISTED)
    note = json.loads(entry.stdout_raw)
    entry.stdout_raw = json.dumps({**note, "along": {**note["along"], **changed}}).encode()
    there = machine()
    assert there.look_up([LISTED]).found == {}
    assert there.server.failures.count == 1
    assert there._store.manifests.get([KEY, ANOTHER]).found == {}


@pytest.mark.usefixtures("inline")
def test_content_of_what_comes_along_that_is_not_the_blobs_is_asked_for(machine: Make, remote_server) -> None:
    one = machine()
    result = made_by(one, b"program")
    listed_by(one, result)
    entry = entry_of(remote_server, LISTED)
    note = json.loads(entry.stdout_raw)
    (ours,) = note["along"]["contents"]
    note["along"]["contents"] = {ours: base64.b64encode(b"malware").decode()}
    entry.stdout_raw = json.dumps(note).encode()
    there = machine()
    assert there.look_up([LISTED]).found[KEY] == result
    assert there._store.blobs.read(ours) == b"program"


@pytest.mark.usefixtures("inline")
def test_where_there_is_no_room_a_result_comes_along_without_its_contents(
    machine: Make, remote_server
) -> None:
    one = machine()
    blob = Blob("out/0", one._store.blobs.put_bytes(b"x" * (10 << 10)), 10 << 10)
    one._store.manifests.put({KEY: (result := Manifest([blob], {"said": "w" * (20 << 10)}))})
    one.later({KEY: result})
    listed_by(one, result)
    note = json.loads(entry_of(remote_server, LISTED).stdout_raw)
    assert note["along"]["contents"] == {}
    assert machine().look_up([LISTED]).found[KEY] == result


@pytest.mark.usefixtures("inline")
def test_a_result_that_says_a_lot_does_not_come_along(machine: Make, remote_server) -> None:
    one = machine()
    one._store.manifests.put({KEY: (result := Manifest([], {"said": "w" * (40 << 10)}))})
    one.later({KEY: result})
    listed = listed_by(one, result)
    note = json.loads(entry_of(remote_server, LISTED).stdout_raw)
    assert note["along"] is None
    assert list(note["contents"]) == [listed.blobs[0].digest]
    there = machine()
    assert there.look_up([LISTED]).found == {LISTED: listed}
    assert there.look_up([KEY]).found == {KEY: result}

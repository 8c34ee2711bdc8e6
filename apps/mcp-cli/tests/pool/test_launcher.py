"""Starting a server: its command, directory, variables and protocol, and each way to fail."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from mcp_cli.pool import freshness, stdio
from mcp_cli.protocol import interfaces as api


def test_a_server_that_exits_at_once_is_told_with_its_stderr(pools) -> None:
    async def work() -> None:
        async with pools.of(pools.fake("--exit-at-once", "9")) as pool:
            with pytest.raises(api.ServerFailed) as raised:
                await pools.events_of(pool, "echo", {"text": "x"})
            assert raised.value.stage == "initialize"
            assert raised.value.reason == "exited with code 9"
            assert raised.value.stderr == ["cannot work today"]

    asyncio.run(work())


def test_a_command_that_is_not_there_is_named(pools) -> None:
    async def work() -> None:
        server = api.Server(name="fake", fingerprint="1", command="no-such-command-here")
        async with pools.of(server) as pool:
            with pytest.raises(api.ServerFailed) as raised:
                await pools.events_of(pool, "echo")
            assert raised.value.stage == "spawn"
            assert "command not found: no-such-command-here" in raised.value.reason

    asyncio.run(work())


def test_a_home_that_does_not_exist_keeps_no_server_from_starting(
    pools, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Containers and build machines have such a HOME; the server then runs in `/`."""
    monkeypatch.setenv("HOME", "/nonexistent")

    async def work() -> None:
        async with pools.of(pools.fake()) as pool:
            assert (await pools.events_of(pool, "cwd"))[-1].text == "/"

    asyncio.run(work())


def test_a_directory_that_cannot_be_entered_is_named_and_not_the_command(
    pools, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """The kernel's message is the same for both, and the command is there."""
    real = stdio.spawn_owned

    def removed_first(*words: Any, **options: Any) -> Any:
        tmp_path.rmdir()
        return real(*words, **options)

    monkeypatch.setattr(stdio, "spawn_owned", removed_first)

    async def work() -> None:
        async with pools.of(pools.fake(cwd=str(tmp_path))) as pool:
            with pytest.raises(api.ServerFailed) as raised:
                await pools.events_of(pool, "echo")
            assert f"No such file or directory: its directory {tmp_path}" in raised.value.reason

    asyncio.run(work())


def test_a_server_that_hangs_in_initialize_is_given_up_and_ended(pools, tmp_path: Any) -> None:
    starts = tmp_path / "starts"

    async def work() -> None:
        server = pools.fake("--hang-initialize", "--start-file", str(starts), start_timeout_s=0.5)
        async with pools.of(server) as pool:
            began = time.monotonic()
            with pytest.raises(api.ServerFailed) as raised:
                await pools.events_of(pool, "echo", {"text": "x"})
            assert "no answer to initialize within 0.5 s" in raised.value.reason
            assert time.monotonic() - began < 30  # and not the 60 s of a server that sets no time
            # There may be two: a server that says nothing may be of an older kind.
            assert not any(pools.alive(int(pid)) for pid in starts.read_text().split())

    asyncio.run(work())


def test_a_server_that_never_reads_is_given_up(pools) -> None:
    async def work() -> None:
        async with pools.of(pools.fake("--deaf", start_timeout_s=0.5)) as pool:
            with pytest.raises(api.ServerFailed) as raised:
                await pools.events_of(pool, "echo", {"text": "x"})
            assert raised.value.stage == "initialize"

    asyncio.run(work())


def test_a_server_of_old_that_survives_initialize_only_is_started_again_for_it(pools) -> None:
    async def work() -> None:
        async with pools.of(pools.fake("--strict-first")) as pool:
            await pools.says(pool, "x")
            (state,) = await pool.servers()
            assert state.starts == 1  # as its users count: the first attempt was ours
            assert state.protocol == "2025-11-25"

    asyncio.run(work())


def test_a_server_gets_its_own_variables_and_few_others(
    pools, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("SOME_TOKEN_OF_THE_SHELL", "x")

    async def work() -> None:
        async with pools.of(pools.fake(env={"MINE": "yes"}, cwd=str(tmp_path))) as pool:
            env = json.loads((await pools.events_of(pool, "env"))[-1].text)
            assert env["MINE"] == "yes"
            assert "PATH" in env
            assert "SOME_TOKEN_OF_THE_SHELL" not in env
            assert (await pools.events_of(pool, "cwd"))[-1].text == str(tmp_path)

    asyncio.run(work())


def test_a_start_that_took_long_to_fail_is_not_waited_for_again_at_once(
    pools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        monkeypatch.setattr(freshness, "SLOW_START_S", 0.2)
        starts = tmp_path / "starts"
        server = pools.fake("--deaf", "--start-file", str(starts), start_timeout_s=0.4, missed=["GH_TOKEN"])
        async with pools.of(server) as pool:
            with pytest.raises(api.ServerFailed) as first:
                await pool.info("fake", "1")
            assert "still runs; not passed to it: GH_TOKEN (pass_env)" in first.value.reason
            before = starts.read_text()
            with pytest.raises(api.ServerFailed) as second:
                await pool.info("fake", "1")
            assert starts.read_text() == before
            assert "s ago" in second.value.reason
            assert "mcp-cli restart fake tries now" in second.value.reason
            with pytest.raises(api.ServerFailed) as third:
                await pool.restart("fake", "1")
            assert "s ago" not in third.value.reason
            assert starts.read_text() != before

    asyncio.run(work())


@pytest.mark.parametrize("revision", ["2025-06-18", "2025-11-25"])
def test_a_server_is_held_to_a_revision(pools, revision: str) -> None:
    async def work() -> None:
        async with pools.of(pools.fake("--strict-first", protocol=revision)) as pool:
            assert (await pool.info("fake", "1")).protocol == revision
            assert (await pool.info("fake", "1")).starts == 1

    asyncio.run(work())


def test_a_server_that_speaks_another_revision_than_it_is_held_to_is_refused(pools) -> None:
    async def work() -> None:
        async with pools.of(pools.fake(protocol="2026-07-28")) as pool:
            with pytest.raises(api.ServerFailed, match="is held to 2026-07-28"):
                await pool.info("fake", "1")

    asyncio.run(work())

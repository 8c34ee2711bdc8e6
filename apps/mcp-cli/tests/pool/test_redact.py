"""Secrets of a definition in a server's own output."""

from __future__ import annotations

import asyncio


def test_secrets_are_not_told_on(pools) -> None:
    async def work() -> None:
        async with pools.of(pools.fake(env={"API_KEY": "hunter2hunter2"})) as pool:
            events = await pools.events_of(pool, "tell", {"text": "using key hunter2hunter2 now"})

            async def wrote() -> bool:
                return bool((await pool.servers())[0].stderr)

            await pools.until(wrote)
            (state,) = await pool.servers()
            assert state.stderr == ["using key [secret] now"]
            assert all("hunter2" not in event.text for event in events)
            assert "hunter2" not in pools.words_of(state.pid)

    asyncio.run(work())


def test_the_password_of_a_url_is_not_told_on(pools) -> None:
    async def work() -> None:
        server = pools.fake(env={"DB": "postgres://u:s3cret99@h/db"})
        async with pools.of(server) as pool:
            await pools.events_of(pool, "tell", {"text": "cannot reach postgres://u:s3cret99@h/db"})
            (state,) = await pool.servers()
            assert "s3cret99" not in "".join(state.stderr)
            assert "cannot reach" in "".join(state.stderr)

    asyncio.run(work())

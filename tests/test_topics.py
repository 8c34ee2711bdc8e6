"""Broadcast topics: bounded, whatever their readers do, and resumed by a cursor."""

import asyncio
import threading

import pytest

from daemonry.topics import Topic


def collected(topic, count, **options):
    async def read():
        found = []
        async with asyncio.timeout(10):
            async for one in topic.read(**options):
                found.append(one)
                if len(found) == count:
                    return found
        return found

    return asyncio.run(read())


def test_a_topic_keeps_the_last_values():
    topic = Topic(keep=3)
    assert (topic.last, topic.recent(2)) == (None, [])
    for number in range(5):
        topic.publish(number)
    assert topic.last == 4
    assert topic.recent(2) == [3, 4]
    assert topic.recent(9) == [2, 3, 4]
    assert topic.recent(0) == []


def test_a_reader_begins_with_the_last_ones_if_asked():
    topic = Topic(keep=3)
    for number in range(5):
        topic.publish(number)
    assert [one.value for one in collected(topic, 2, last=2)] == [3, 4]
    assert [one.value for one in collected(topic, 3, last=9)] == [2, 3, 4]


def test_a_reader_resumes_behind_its_cursor():
    topic = Topic(keep=10)
    cursors = [topic.publish(number) for number in range(5)]
    assert topic.cursor == cursors[-1]
    found = collected(topic, 2, after=cursors[2])
    assert [(one.cursor, one.value, one.missed) for one in found] == [(cursors[3], 3, 0), (cursors[4], 4, 0)]


def test_what_the_ring_dropped_is_counted():
    topic = Topic(keep=2)
    cursor = topic.publish(0)
    for number in range(1, 8):
        topic.publish(number)
    found = collected(topic, 2, after=cursor)
    assert [(one.value, one.missed) for one in found] == [(6, 5), (7, 0)]


def test_a_cursor_of_an_earlier_process_gets_all_that_is_kept():
    before, topic = Topic(keep=3), Topic(keep=3)
    cursor = before.publish("old")
    topic.publish("a")
    topic.publish("b")
    assert [one.value for one in collected(topic, 2, after=cursor)] == ["a", "b"]


@pytest.mark.parametrize("cursor", ["x", "-1", "abc-", "abc-x", "abc-" + "9" * 40, "5"])
def test_what_is_no_cursor_is_refused(cursor):
    with pytest.raises(ValueError, match="is not a cursor"):
        collected(Topic(), 1, after=cursor)


def test_a_cursor_from_the_future_waits_for_the_next_value():
    topic = Topic()
    epoch = topic.publish("a").partition("-")[0]

    async def read():
        reader = aiter(topic.read(after=f"{epoch}-99"))
        waiting = asyncio.ensure_future(anext(reader))
        await asyncio.sleep(0)
        topic.publish("b")
        return (await waiting).value

    assert asyncio.run(read()) == "b"


def test_a_slow_reader_costs_nothing_and_skips():
    """A million values pass it, and the topic holds as many as it keeps."""

    async def scenario():
        topic = Topic(keep=100)
        slow = aiter(topic.read())
        waiting = asyncio.ensure_future(anext(slow))
        await asyncio.sleep(0)
        for number in range(100_000):
            topic.publish(number)
        first = await waiting
        second = await anext(slow)
        return topic, first, second

    topic, first, second = asyncio.run(scenario())
    assert len(topic.recent(1_000_000)) == 100
    assert (first.missed, first.value) == (99_900, 99_900)
    assert second.missed == 0
    assert topic._waiting == []


def test_readers_follow_values_of_other_threads_and_end_with_the_topic():
    async def scenario():
        topic = Topic(keep=1000)

        async def follow():
            return [value async for value in topic.values()]

        readers = [asyncio.create_task(follow()) for _ in range(3)]
        await asyncio.sleep(0)

        def publish():
            for number in range(500):
                topic.publish(number)
            topic.close()
            topic.close()

        thread = threading.Thread(target=publish)
        thread.start()
        async with asyncio.timeout(20):
            found = await asyncio.gather(*readers)
        thread.join()
        return topic, found

    topic, found = asyncio.run(scenario())
    assert found == [list(range(500))] * 3
    with pytest.raises(RuntimeError, match="closed"):
        topic.publish(1)


def test_a_reader_that_goes_leaves_nothing():
    async def scenario():
        topic = Topic()
        reader = asyncio.create_task(anext(aiter(topic.read())))
        await asyncio.sleep(0)
        assert len(topic._waiting) == 1
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
        return topic._waiting

    assert asyncio.run(scenario()) == []


def test_a_topic_keeps_at_least_one():
    with pytest.raises(ValueError, match="at least one"):
        Topic(keep=0)

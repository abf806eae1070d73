from __future__ import annotations

import asyncio

import pytest

from agentphone_async.recordings.pipeline import Closed, LongestFirst, Queue


async def settle() -> None:
    """Let every task that can run do so."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_items_pass_in_order_and_the_end_follows_the_last():
    queue = Queue[int](3)
    for item in (1, 2, 3):
        await queue.put(item)
    queue.done()
    assert [await queue.get() for _ in range(3)] == [1, 2, 3]
    with pytest.raises(Closed):
        await queue.get()


async def test_put_waits_while_the_queue_is_full():
    queue = Queue[int](1)
    await queue.put(1)
    second = asyncio.create_task(queue.put(2))
    await settle()
    assert not second.done()
    assert queue.held == 1
    assert await queue.get() == 1
    await second
    assert await queue.get() == 2


async def test_it_closes_only_when_every_producer_is_done():
    queue = Queue[int](1, producers=2)
    getter = asyncio.create_task(queue.get())
    queue.done()
    await settle()
    assert not getter.done()
    queue.done()
    with pytest.raises(Closed):
        await getter


async def test_closing_it_wakes_everyone_who_waits_for_an_item():
    queue = Queue[int](1, producers=3)
    getters = [asyncio.create_task(queue.get()) for _ in range(3)]
    await settle()
    queue.close()
    results = await asyncio.gather(*getters, return_exceptions=True)
    assert [type(result) for result in results] == [Closed] * 3


async def test_drain_takes_what_is_there_and_lets_waiting_producers_go_on():
    queue = Queue[int](2)
    producers = [asyncio.create_task(queue.put(item)) for item in range(4)]
    await settle()
    assert await queue.drain(10) == [0, 1]
    await asyncio.gather(*producers)
    assert await queue.drain(1) == [2]
    assert await queue.drain(10) == [3]


async def test_a_getter_cancelled_as_it_is_woken_passes_the_item_on():
    queue = Queue[int](1)
    first = asyncio.create_task(queue.get())
    second = asyncio.create_task(queue.get())
    await settle()
    await queue.put(7)  # wakes the first
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert await asyncio.wait_for(second, 1) == 7


async def test_a_producer_cancelled_while_it_waits_leaves_no_trace():
    queue = Queue[int](1)
    await queue.put(1)
    waiting = asyncio.create_task(queue.put(2))
    await settle()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await queue.get() == 1
    await queue.put(3)
    assert await queue.get() == 3


async def test_the_items_decide_the_order():
    queue = Queue[float](4, items=LongestFirst[float](lambda seconds: seconds, 8))
    for seconds in (10.0, 300.0, 60.0):
        await queue.put(seconds)
    assert await queue.drain(4) == [300.0, 60.0, 10.0]


async def test_drain_lingers_for_more_but_not_when_it_is_full_or_nothing_will_come(monkeypatch):
    queue = Queue[int](4)
    slept = []

    async def sleep(seconds):
        slept.append(seconds)
        await queue.put(2)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    await queue.put(1)
    assert await queue.drain(4, linger=0.5) == [1, 2]
    await queue.put(3)
    await queue.put(4)
    assert await queue.drain(2, linger=0.5) == [3, 4]
    await queue.put(5)
    queue.done()
    assert await queue.drain(4, linger=0.5) == [5]
    assert slept == [0.5]

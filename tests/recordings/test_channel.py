from __future__ import annotations

import asyncio

import pytest

from agentphone_async.recordings.channel import Channel, Closed
from agentphone_async.recordings.lookahead import LookAhead


async def settle() -> None:
    """Let every task that can run do so."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_items_pass_in_order_and_the_end_follows_the_last():
    channel = Channel[int](3)
    for item in (1, 2, 3):
        await channel.put(item)
    channel.done()
    assert [await channel.get() for _ in range(3)] == [1, 2, 3]
    with pytest.raises(Closed):
        await channel.get()


async def test_put_waits_while_the_channel_is_full():
    channel = Channel[int](1)
    await channel.put(1)
    second = asyncio.create_task(channel.put(2))
    await settle()
    assert not second.done()
    assert len(channel) == 1
    assert await channel.get() == 1
    await second
    assert await channel.get() == 2


async def test_it_closes_only_when_every_maker_is_done():
    channel = Channel[int](1, makers=2)
    getter = asyncio.create_task(channel.get())
    channel.done()
    await settle()
    assert not getter.done()
    channel.done()
    with pytest.raises(Closed):
        await getter


async def test_abandoning_it_wakes_everyone_who_waits_for_an_item():
    channel = Channel[int](1, makers=3)
    getters = [asyncio.create_task(channel.get()) for _ in range(3)]
    await settle()
    channel.abandon()
    results = await asyncio.gather(*getters, return_exceptions=True)
    assert [type(result) for result in results] == [Closed] * 3


async def test_drain_takes_what_is_there_and_lets_waiting_makers_go_on():
    channel = Channel[int](2)
    makers = [asyncio.create_task(channel.put(item)) for item in range(4)]
    await settle()
    assert await channel.drain(10) == [0, 1]
    await asyncio.gather(*makers)
    assert await channel.drain(1) == [2]
    assert await channel.drain(10) == [3]


async def test_a_getter_cancelled_as_it_is_woken_passes_the_item_on():
    channel = Channel[int](1)
    first = asyncio.create_task(channel.get())
    second = asyncio.create_task(channel.get())
    await settle()
    await channel.put(7)  # wakes the first
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert await asyncio.wait_for(second, 1) == 7


async def test_a_maker_cancelled_while_it_waits_leaves_no_trace():
    channel = Channel[int](1)
    await channel.put(1)
    waiting = asyncio.create_task(channel.put(2))
    await settle()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await channel.get() == 1
    await channel.put(3)
    assert await channel.get() == 3


async def test_a_shelf_decides_the_order():
    channel = Channel[float](4, shelf=LookAhead[float](4, lambda seconds: seconds))
    for seconds in (10.0, 300.0, 60.0):
        await channel.put(seconds)
    assert await channel.drain(4) == [300.0, 60.0, 10.0]


async def test_drain_lingers_for_more_but_not_when_it_is_full_or_nothing_will_come(monkeypatch):
    channel = Channel[int](4)
    slept = []

    async def sleep(seconds):
        slept.append(seconds)
        await channel.put(2)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    await channel.put(1)
    assert await channel.drain(4, linger=0.5) == [1, 2]
    await channel.put(3)
    await channel.put(4)
    assert await channel.drain(2, linger=0.5) == [3, 4]
    await channel.put(5)
    channel.done()
    assert await channel.drain(4, linger=0.5) == [5]
    assert slept == [0.5]

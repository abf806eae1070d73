"""What a valve lets through, and what it lets go of."""

from __future__ import annotations

import asyncio

import pytest

from agentphone_async.recordings.valve import LeftError, Valve


async def one():
    return 1


async def test_open_it_is_not_there():
    assert await Valve().through(one) == 1


async def test_closed_it_lets_finish_what_is_inside_and_nothing_more_begin():
    valve, go = Valve(), asyncio.Event()
    inside = asyncio.create_task(valve.through(go.wait))
    await asyncio.sleep(0)
    valve.close()
    with pytest.raises(LeftError):
        await valve.through(one)
    go.set()
    assert await inside


async def test_dropping_lets_go_of_what_is_inside_after_it_has_tidied_up():
    valve = Valve()
    tidy = []

    async def work():
        try:
            await asyncio.Event().wait()
        finally:
            tidy.append(valve.closed)

    inside = asyncio.create_task(valve.through(work))
    await asyncio.sleep(0)
    valve.drop()
    with pytest.raises(LeftError):
        await inside
    assert tidy == [True]


async def test_a_cancellation_of_somebody_elses_is_no_left_over():
    valve = Valve()
    inside = asyncio.create_task(valve.through(asyncio.Event().wait))
    await asyncio.sleep(0)
    inside.cancel()
    with pytest.raises(asyncio.CancelledError):
        await inside


def test_listeners_hear_of_each_once():
    valve = Valve()
    heard = []
    valve.listeners.add(lambda: heard.append((valve.closed, valve.dropping)))
    for act in (valve.close, valve.close, valve.drop, valve.drop, valve.close):
        act()
    assert heard == [(True, False), (True, True)]

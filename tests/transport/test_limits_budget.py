from __future__ import annotations

import asyncio
import random

import pytest

from agentphone_async.transport.budget import Budget


async def turn():
    for _ in range(5):
        await asyncio.sleep(0)


async def test_what_is_free_is_lent_without_a_task_switch():
    budget = Budget(100)
    with pytest.raises(StopIteration):
        budget.acquire(100).send(None)
    assert budget.held == 100
    assert not budget.try_acquire(1)
    budget.release(40)
    assert budget.try_acquire(40)


async def test_nobody_overtakes_a_large_request():
    budget = Budget(100)
    await budget.acquire(60)
    large = asyncio.create_task(budget.acquire(80))
    await turn()
    small = asyncio.create_task(budget.acquire(10))
    await turn()
    assert not budget.try_acquire(1)
    assert not small.done()
    budget.release(60)
    await turn()
    assert large.done()
    assert small.done()


async def test_more_than_the_total_is_lent_when_nothing_else_is_out():
    budget = Budget(100)
    await budget.acquire(1)
    huge = asyncio.create_task(budget.acquire(1000))
    await turn()
    assert not huge.done()
    budget.release(1)
    await huge
    assert budget.held == 1000
    assert not budget.try_acquire(1)
    budget.release(1000)
    assert budget.held == 0


@pytest.mark.parametrize(
    "moment", ["while waiting", "in the moment of the grant", "released first"]
)
async def test_a_cancelled_waiter_leaves_nothing_behind(moment):
    budget = Budget(100)
    await budget.acquire(100)
    first = asyncio.create_task(budget.acquire(80))
    second = asyncio.create_task(budget.acquire(30))
    await turn()
    if moment == "while waiting":
        first.cancel()
        await turn()
        budget.release(100)
    elif moment == "released first":
        budget.release(100)
        first.cancel()
    else:
        first.cancel()
        budget.release(100)
    await turn()
    assert first.cancelled()
    assert second.done()
    assert budget.held == 30


async def test_never_more_than_the_total_under_random_demand():
    rng = random.Random(5)
    budget = Budget(1000)
    peak = 0

    async def worker():
        nonlocal peak
        for _ in range(50):
            amount = rng.randint(1, 600)
            await budget.acquire(amount)
            try:
                peak = max(peak, budget.held)
                await asyncio.sleep(0)
            finally:
                budget.release(amount)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(worker()) for _ in range(20)]
        await turn()
        for task in tasks[::5]:
            task.cancel()
    assert 600 < peak <= 1000
    assert budget.held == 0


def test_misuse_says_so():
    with pytest.raises(ValueError, match="greater than 0"):
        Budget(0)
    with pytest.raises(RuntimeError, match="only 0 are out"):
        Budget(1).release(1)

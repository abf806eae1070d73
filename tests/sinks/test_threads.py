"""Hops to a thread that no cancellation tears: whoever cleans up finds the disk at rest."""

from __future__ import annotations

import asyncio
import threading

import anyio
import pytest

from agentphone_async.sinks.threads import FilePool


class Slow:
    """Work in a thread that begins and ends when a test says so."""

    def __init__(self):
        self.begun = threading.Event()
        self.go = threading.Event()
        self.ended = False

    def __call__(self):
        self.begun.set()
        assert self.go.wait(10)
        self.ended = True
        return "result"


@pytest.fixture
def pool():
    made = FilePool(2)
    yield made
    made.close()


@pytest.fixture
def slow():
    made = Slow()
    yield made
    made.go.set()


async def turns(count=20):
    for _ in range(count):
        await asyncio.sleep(0)


async def test_results_and_errors_pass(pool):
    assert await pool.run(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await pool.run(divmod, 7, 0)


async def test_a_cancellation_waits_for_the_thread(pool, slow):
    task = asyncio.create_task(pool.run(slow))
    assert await asyncio.to_thread(slow.begun.wait, 10)
    for _ in range(3):  # the first one, and impatient ones
        task.cancel()
        await turns()
        assert not task.done()
    slow.go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert slow.ended


async def test_a_scope_of_anyio_waits_too_and_does_not_spin(pool, slow):
    loop = asyncio.get_running_loop()
    with anyio.CancelScope() as scope:

        async def release():
            assert await asyncio.to_thread(slow.begun.wait, 10)
            scope.cancel()
            await turns(50)
            # A spinning task is cancelled, and so scheduled again, at every turn of the loop.
            ready = [len(loop._ready) for _ in [await asyncio.sleep(0) for _ in range(50)]]
            assert sum(ready) < 50
            slow.go.set()

        helper = asyncio.create_task(release())
        await pool.run(slow)
    assert scope.cancelled_caught
    assert slow.ended
    await helper


async def test_a_timeout_ends_after_the_thread(pool, slow):
    loop = asyncio.get_running_loop()
    loop.call_later(0.05, slow.go.set)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await pool.run(slow)
    assert slow.ended


async def test_an_error_in_the_thread_after_a_cancellation_is_not_reported_as_lost(pool, slow):
    reported = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))

    def work():
        slow()
        raise ZeroDivisionError

    task = asyncio.create_task(pool.run(work))
    assert await asyncio.to_thread(slow.begun.wait, 10)
    task.cancel()
    slow.go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    del task
    await turns()
    assert reported == []


async def test_work_that_waits_for_a_thread_is_done_all_the_same(pool):
    slow = [Slow(), Slow()]
    busy = [asyncio.create_task(pool.run(work)) for work in slow]
    late = Slow()
    late.go.set()
    task = asyncio.create_task(pool.run(late))
    await turns()
    task.cancel()
    for work in slow:
        work.go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert late.ended
    assert await asyncio.gather(*busy) == ["result", "result"]

"""What a valve lets through, and what it lets go of."""

from __future__ import annotations

import asyncio

import pytest

from agentphone_async.recordings.valve import LeftError, Valve


async def one(passage):
    passage.begin()
    return 1


async def turn():
    await asyncio.sleep(0)


class Transfer:
    """Waits for its turn, then for its end."""

    def __init__(self, valve):
        self.turn, self.end = asyncio.Event(), asyncio.Event()
        self.tidied = False
        self.task = asyncio.create_task(valve.through(self))

    async def __call__(self, passage):
        self.passage = passage
        try:
            await self.turn.wait()
            passage.begin()
            await self.end.wait()
            return "done"
        finally:
            self.tidied = True


async def waiting_and_under_way(valve):
    waiting, under_way = Transfer(valve), Transfer(valve)
    under_way.turn.set()
    await turn()
    await turn()
    return waiting, under_way


async def test_open_it_is_not_there():
    assert await Valve().through(one) == 1


async def test_closed_it_lets_nothing_begin():
    valve = Valve()
    valve.close()
    with pytest.raises(LeftError):
        await valve.through(one)


async def test_closing_lets_finish_what_is_under_way_and_lets_go_of_what_waits():
    valve = Valve()
    waiting, under_way = await waiting_and_under_way(valve)
    valve.close()
    with pytest.raises(LeftError):
        await waiting.task
    assert waiting.tidied
    under_way.end.set()
    assert await under_way.task == "done"


async def test_whose_turn_comes_in_the_same_moment_is_too_late():
    valve = Valve()
    waiting, _ = await waiting_and_under_way(valve)
    waiting.turn.set()
    await turn()  # it runs before it is cut
    valve.closed = True
    with pytest.raises(LeftError):
        waiting.passage.begin()
    valve.drop()
    with pytest.raises(LeftError):
        await waiting.task


async def test_an_attempt_in_vain_has_to_wait_again():
    valve = Valve()
    _, under_way = await waiting_and_under_way(valve)
    under_way.passage.wait()
    valve.close()
    with pytest.raises(LeftError):
        await under_way.task


async def test_an_attempt_in_vain_after_the_close_was_the_last():
    valve = Valve()
    _, under_way = await waiting_and_under_way(valve)
    valve.close()
    under_way.passage.wait()
    with pytest.raises(LeftError):
        await under_way.task


async def test_dropping_lets_go_of_everything_after_it_has_tidied_up():
    valve = Valve()
    both = await waiting_and_under_way(valve)
    valve.drop()
    for transfer in both:
        with pytest.raises(LeftError):
            await transfer.task
        assert transfer.tidied


async def test_what_is_worth_finishing_is_finished_unless_it_is_dropped():
    valve, go = Valve(), asyncio.Event()
    valve.close()
    inside = asyncio.create_task(valve.to_the_end(go.wait))
    await turn()
    go.set()
    assert await inside
    stuck = asyncio.create_task(valve.to_the_end(asyncio.Event().wait))
    await turn()
    valve.drop()
    for late in (stuck, valve.to_the_end(go.wait)):
        with pytest.raises(LeftError):
            await late


async def test_a_cancellation_of_somebody_elses_is_no_left_over():
    valve = Valve()
    inside = Transfer(valve)
    await turn()
    inside.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await inside.task


async def test_of_two_cancellations_the_one_from_outside_counts():
    valve = Valve()
    inside = Transfer(valve)
    await turn()
    valve.drop()
    inside.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await inside.task
    assert inside.task.cancelled()


async def test_letting_go_leaves_no_trace_in_the_task():
    """Neither when it worked nor when something else came of it."""
    for ending in (None, ZeroDivisionError):
        valve = Valve()

        async def work(_, ending=ending, valve=valve):
            valve.drop()  # by the transfer itself, as a hook that it calls may do
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if ending is not None:
                    raise ending from None
                raise

        with pytest.raises(ending or LeftError):
            await valve.through(work)
        task = asyncio.current_task()
        assert task.cancelling() == 0
        await asyncio.sleep(0)


async def test_what_ends_in_the_moment_in_which_it_is_let_go_of_has_ended():
    valve = Valve()

    async def work(passage):
        passage.begin()
        valve.drop()
        return 1

    assert await valve.through(work) == 1
    await asyncio.sleep(0)
    await asyncio.sleep(0)

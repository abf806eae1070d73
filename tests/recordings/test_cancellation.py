"""Cancelling at every stage of the way: it is never a result, waits for threads, leaves nothing."""

from __future__ import annotations

import asyncio
import threading
from contextlib import aclosing, suppress

import anyio
import pytest

from agentphone_async import LocalSink
from agentphone_async.sinks import local, uploads
from tests.support.downloads import files, impatient, open_files, partial, wave
from tests.support.raw_server import RawServer, respond, then_hold

SMALL = wave(300_000)
LARGE = wave(6_000_000)


def cut(body, kept):
    whole = respond(200, body, content_type="audio/wav")
    return whole[: len(whole) - len(body) + kept]


class Gate:
    """Holds a thread at a place until it is opened."""

    def __init__(self):
        self.reached = threading.Event()
        self.opened = threading.Event()
        self.passed = 0

    def guard(self, real):
        def guarded(*args, **kwargs):
            self.reached.set()
            assert self.opened.wait(10)
            try:
                return real(*args, **kwargs)
            finally:
                self.passed += 1

        return guarded

    async def is_reached(self):
        # Bounded, since a loop does not close before the threads that it started are done.
        assert await asyncio.to_thread(self.reached.wait, 10)


@pytest.fixture
def gate():
    made = Gate()
    yield made
    made.opened.set()


async def turns(count=30):
    for _ in range(count):
        await asyncio.sleep(0)


async def fetch(client, folder):
    await client.fetch_recording("call_x", folder)


async def download(client, folder):
    async with aclosing(client.download_recordings(["call_x"] * 3, folder)) as outcomes:
        async for _ in outcomes:
            pass


async def download_carelessly(client, folder):
    """Without ``aclosing``, as most people write it."""
    async for _ in client.download_recordings(["call_x"] * 3, folder):
        pass


WAYS = [fetch, download, download_carelessly]


def assert_clean(client, folder, *, published=()):
    assert set(files(folder).values()) <= set(published)
    assert partial(folder) == []
    assert open_files(folder) == []
    assert client._budget.held == 0
    assert client.session.limits.slots.held == 0
    assert not client.session.limits.slots.waiters
    ours = [task for task in asyncio.all_tasks() if task.get_name().startswith("agentphone")]
    assert ours == []


async def cancelled(task):
    """Cancelled, and not with a result or another error."""
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()


NETWORK = {
    "head": then_hold(),
    "inside the head": then_hold(b"HTTP/1.1 200 OK\r\nContent-Ty"),
    "body": then_hold(cut(SMALL, 100_000)),
    "large body": then_hold(cut(LARGE, 5_500_000)),
    "refusal": then_hold(respond(500, content_length="100")),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("script", NETWORK.values(), ids=NETWORK)
@pytest.mark.parametrize("times", [1, 2])
async def test_while_the_network_is_waited_for(way, script, times, tmp_path):
    async with RawServer(script) as server, impatient(server.base_url) as client:
        task = asyncio.create_task(way(client, tmp_path))
        await server.until(lambda: len(server.requests) > 0)
        if script is NETWORK["large body"]:
            while not files(tmp_path):
                await asyncio.sleep(0)
        await turns()
        for _ in range(times):
            task.cancel()
            await asyncio.sleep(0)
        await cancelled(task)
        assert_clean(client, tmp_path)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("place", "body"),
    [
        ("create", SMALL),
        ("create", LARGE),
        ("write_all", SMALL),
        ("write_all", LARGE),
        ("sync_many", SMALL),
        ("link_or_replace", SMALL),
        ("link_or_replace", LARGE),
        ("sync_folder", SMALL),
        ("make_folder", SMALL),
    ],
)
@pytest.mark.parametrize("times", [1, 3])
async def test_while_a_thread_works_on_the_disk(
    way, place, body, times, gate, monkeypatch, tmp_path
):
    guarded = gate.guard(getattr(local, place))
    monkeypatch.setattr(local, place, guarded)
    monkeypatch.setattr(uploads, place, guarded, raising=False)
    script = respond(200, body, content_type="audio/wav")
    async with RawServer(script) as server, impatient(server.base_url) as client:
        task = asyncio.create_task(way(client, tmp_path))
        await gate.is_reached()
        for _ in range(times):
            task.cancel()
            await turns()
        assert not task.done()  # the thread is not left alone with the disk
        gate.opened.set()
        await cancelled(task)
        assert gate.passed
        assert_clean(client, tmp_path, published=[body])


@pytest.mark.parametrize("way", WAYS)
async def test_while_clearing_up(way, gate, monkeypatch, tmp_path):
    """The second cancellation comes while the first one's temp file is being removed."""
    script = then_hold(cut(LARGE, 5_500_000))
    async with RawServer(script) as server, impatient(server.base_url) as client:
        task = asyncio.create_task(way(client, tmp_path))
        while not files(tmp_path):
            await asyncio.sleep(0)
        monkeypatch.setattr(uploads, "remove", gate.guard(uploads.remove))
        task.cancel()
        await gate.is_reached()
        for _ in range(3):
            task.cancel()
            await turns()
        gate.opened.set()
        await cancelled(task)
        assert_clean(client, tmp_path)


async def test_what_has_arrived_and_waits_to_be_published_goes(gate, monkeypatch, tmp_path):
    """Uploads that are staged behind batches that are stuck; those hold no thread that writes."""
    monkeypatch.setattr(LocalSink, "_sync_and_link", gate.guard(LocalSink._sync_and_link))
    body = wave(4_500_000)
    script = respond(200, body, content_type="audio/wav")
    async with RawServer(script) as server, impatient(server.base_url) as client:
        given = [f"call_{number}" for number in range(6)]
        outcomes = client.download_recordings(given, tmp_path, concurrency=3)
        task = asyncio.create_task(anext(outcomes))
        await gate.is_reached()
        # No reading of files while they come: each would be taken from the threads that write them.
        while len(list(tmp_path.iterdir())) < 6:
            await asyncio.sleep(0)
        for _ in range(2):
            task.cancel()
            await turns()
        gate.opened.set()
        await cancelled(task)
        assert_clean(client, tmp_path, published=[body])


async def test_while_leaving_the_loop(gate, monkeypatch, tmp_path):
    """The consumer has left in peace; the cancellation that comes then is its own."""
    script = respond(200, SMALL, content_type="audio/wav")
    async with RawServer(script) as server, impatient(server.base_url) as client:
        monkeypatch.setattr(LocalSink, "_discard_all", gate.guard(LocalSink._discard_all))
        place = client.place(tmp_path)
        monkeypatch.setattr("agentphone_async.client.place_of", lambda *_, **__: place)
        outcomes = client.download_recordings([f"call_{n}" for n in range(3)], tmp_path)
        await anext(outcomes)
        left = tmp_path / "left"
        left.touch()
        place.sink._unpublished[str(left)] = None
        task = asyncio.create_task(outcomes.aclose())
        await gate.is_reached()
        task.cancel()
        await turns()
        assert not task.done()
        gate.opened.set()
        await cancelled(task)
        assert_clean(client, tmp_path, published=[SMALL])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("body", [SMALL, LARGE], ids=["gathered", "streamed"])
async def test_at_any_turn_of_the_loop(way, body, tmp_path):
    """However many turns a transfer has had: after a cancellation the folder is whole or empty."""
    script = respond(200, body, content_type="audio/wav")
    async with RawServer(script) as server, impatient(server.base_url) as client:
        for count in range(0, 60, 3):
            folder = tmp_path / str(count)
            task = asyncio.create_task(way(client, folder))
            await turns(count)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            assert_clean(client, folder, published=[body])


@pytest.mark.parametrize("way", WAYS)
async def test_by_a_timeout(way, tmp_path):
    script = then_hold(cut(LARGE, 5_500_000))
    async with RawServer(script) as server, impatient(server.base_url) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await way(client, tmp_path)
        assert_clean(client, tmp_path)


@pytest.mark.parametrize("way", WAYS)
async def test_by_a_scope_of_anyio(way, tmp_path):
    script = then_hold(cut(LARGE, 5_500_000))
    async with RawServer(script) as server, impatient(server.base_url) as client:
        with anyio.move_on_after(0.1) as scope:
            await way(client, tmp_path)
        assert scope.cancelled_caught
        assert_clean(client, tmp_path)


async def test_by_a_group_whose_other_task_fails(tmp_path):
    script = then_hold(cut(LARGE, 5_500_000))

    async def fail(server):
        await server.until(lambda: len(server.requests) > 0)
        raise ZeroDivisionError

    async with RawServer(script) as server, impatient(server.base_url) as client:

        async def together():
            async with asyncio.TaskGroup() as group:
                group.create_task(fetch(client, tmp_path))
                group.create_task(download(client, tmp_path / "many"))
                group.create_task(fail(server))

        with pytest.raises(ExceptionGroup) as caught:
            await together()
        assert [type(error) for error in caught.value.exceptions] == [ZeroDivisionError]
        assert_clean(client, tmp_path)


async def test_while_waiting_for_a_slot_or_for_memory(tmp_path):
    script = respond(200, SMALL, content_type="audio/wav")
    async with (
        RawServer(script) as server,
        impatient(server.base_url, connections=1) as client,
    ):
        budget, limits = client._budget, client.session.limits
        await budget.acquire(budget.total)
        first = asyncio.create_task(fetch(client, tmp_path))  # has the slot, waits for memory
        await server.until(lambda: len(server.requests) > 0)
        second = asyncio.create_task(fetch(client, tmp_path))  # waits for the slot
        while not limits.slots.waiters:
            await asyncio.sleep(0)
        second.cancel()
        await cancelled(second)
        first.cancel()
        await cancelled(first)
        budget.release(budget.total)
        assert_clean(client, tmp_path)
        await fetch(client, tmp_path)
        assert len(files(tmp_path)) == 1


async def test_while_pausing_before_another_attempt(tmp_path):
    script = respond(503, retry_after="20")
    async with RawServer(script) as server, impatient(server.base_url) as client:
        one = asyncio.create_task(fetch(client, tmp_path))
        many = asyncio.create_task(download(client, tmp_path))
        while not client.session.limits.paused_for:
            await asyncio.sleep(0)
        one.cancel()
        many.cancel()
        await cancelled(one)
        await cancelled(many)
        assert_clean(client, tmp_path)


async def test_while_polling_for_a_recording_that_is_not_there_yet(tmp_path):
    async with RawServer(respond(404)) as server, impatient(server.base_url) as client:
        task = asyncio.create_task(client.fetch_recording("call_x", tmp_path, wait=60))
        await server.until(lambda: len(server.requests) > 0)
        await turns()
        task.cancel()
        await cancelled(task)
        assert_clean(client, tmp_path)


async def test_while_the_calls_are_waited_for(tmp_path):
    closed = []

    async def silent():
        try:
            yield "call_x"
            await asyncio.get_running_loop().create_future()
        finally:
            closed.append(True)

    async with RawServer(respond(404)) as server, impatient(server.base_url) as client:
        outcomes = client.download_recordings(silent(), tmp_path)
        await anext(outcomes)
        task = asyncio.create_task(anext(outcomes))
        await turns()
        task.cancel()
        await cancelled(task)
        await outcomes.aclose()
        assert closed == [True]
        assert_clean(client, tmp_path)

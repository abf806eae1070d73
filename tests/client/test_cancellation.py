"""Giving up at any moment leaves no connection, no slot and no task behind."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from tests.support.raw_server import Connection, RawRequest, RawServer, respond, then_hold

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
TURN = b'event: turn\ndata: {"role": "user", "content": "yes"}\n\n'
PART = b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"


@pytest.fixture(autouse=True)
async def nothing_is_left() -> AsyncIterator[None]:
    before = asyncio.all_tasks()
    yield
    gc.collect()
    for _ in range(5):
        await asyncio.sleep(0)  # a closed transport tells its tasks in the next turns of the loop
    assert asyncio.all_tasks() - before <= {asyncio.current_task()}


async def cancelled(work: asyncio.Task[object]) -> None:
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work


@pytest.mark.parametrize("sent", [b"", PART], ids=["head", "body"])
async def test_a_request(client_of, sent: bytes):
    async with RawServer(then_hold(sent)) as server:
        client = client_of(server.base_url)
        work = asyncio.ensure_future(client.calls.get("c"))
        await server.until(lambda: bool(server.requests))
        await cancelled(work)
        await server.left()
        assert client.session.limits.slots.held == 0


async def test_a_pause_between_attempts(client_of):
    async with RawServer(respond(429, retry_after="100")) as server:
        from agentphone_async import RetryPolicy

        client = client_of(server.base_url, retry=RetryPolicy())
        sleeping = asyncio.Event()

        async def sleep(_: float) -> None:
            sleeping.set()
            await asyncio.get_running_loop().create_future()

        client.session.limits._stop._sleep = sleep
        work = asyncio.ensure_future(client.calls.get("c"))
        await sleeping.wait()
        await cancelled(work)
        assert client.session.limits.slots.held == 0


async def test_cancellation_is_never_tried_again_nor_turned_into_an_error(client_of):
    async with RawServer(then_hold()) as server:
        client = client_of(server.base_url)
        work = asyncio.ensure_future(client.calls.get("c"))
        await server.until(lambda: bool(server.requests))
        await cancelled(work)
        assert len(server.requests) == 1


async def test_a_timeout_of_the_callers(client_of):
    async with RawServer(then_hold()) as server:
        client = client_of(server.base_url)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await client.calls.get("c")
        assert client.session.limits.slots.held == 0


async def test_a_stream_that_is_broken_out_of(client_of):
    async with RawServer(then_hold(HEAD + TURN)) as server:
        client = client_of(server.base_url)
        async for event in client.calls.stream_transcript("c"):
            assert event.event == "turn"
            break
        await server.left()


async def test_a_stream_that_is_closed(client_of):
    async with RawServer(then_hold(HEAD + TURN)) as server:
        client = client_of(server.base_url)
        async with aclosing(client.calls.stream_transcript("c")) as events:
            await anext(events)
        await server.left()


async def test_a_stream_that_is_cancelled_while_it_waits(client_of):
    async with RawServer(then_hold(HEAD + TURN)) as server:
        client = client_of(server.base_url)
        seen = asyncio.Event()

        async def follow() -> None:
            async for _ in client.calls.stream_transcript("c"):
                seen.set()

        work = asyncio.ensure_future(follow())
        await seen.wait()
        await cancelled(work)
        await server.left()
        assert len(server.requests) == 1


async def test_a_stream_that_is_cancelled_while_it_opens(client_of):
    async with RawServer(then_hold()) as server:
        client = client_of(server.base_url)
        work = asyncio.ensure_future(anext(client.calls.stream_transcript("c")))
        await server.until(lambda: bool(server.requests))
        await cancelled(work)
        await server.left()
        assert client.session.limits.slots.held == 0


async def test_a_stream_that_ends_closes_its_connection_before_the_caller_is_told(client_of):
    ended = b'event: ended\ndata: {"callId": "c"}\n\n'
    async with RawServer(then_hold(HEAD + ended)) as server:
        client = client_of(server.base_url)
        async with aclosing(client.calls.stream_transcript("c")) as events:
            assert (await anext(events)).event == "ended"
            await server.left()


def page(start: int, count: int) -> bytes:
    rows = [{"id": f"call_{number}"} for number in range(start, start + count)]
    return respond(body={"data": rows, "hasMore": True, "total": 1000})


async def hold_the_second_page(connection: Connection, request: RawRequest) -> None:
    if "offset=0" in request.target:
        await connection.send(page(0, 10))
    else:
        await connection.wait_gone()


async def test_a_listing_that_is_broken_out_of_while_it_fetches_ahead(client_of):
    async with RawServer(hold_the_second_page) as server, asyncio.timeout(5):
        client = client_of(server.base_url)  # whose own time-outs would come much later
        async with aclosing(client.calls.list(10).__aiter__()) as calls:
            async for call in calls:
                if call.id == "call_7":
                    await server.until(lambda: len(server.requests) == 2)
                    break
        assert client.session.limits.slots.held == 0
        for connection in server.connections[1:]:
            await connection.gone.wait()


async def test_a_listing_that_is_left_early_asks_for_one_page_only(client_of):
    async with RawServer(hold_the_second_page) as server:
        client = client_of(server.base_url)
        async with aclosing(client.calls.list(10).__aiter__()) as calls:
            async for call in calls:
                if call.id == "call_2":
                    break
        assert len(server.requests) == 1


async def test_a_listing_that_is_cancelled(client_of):
    async with RawServer(hold_the_second_page) as server:
        client = client_of(server.base_url)

        async def walk() -> None:
            async for _ in client.calls.list(10):
                pass

        work = asyncio.ensure_future(walk())
        await server.until(lambda: len(server.requests) == 2)
        await cancelled(work)
        assert client.session.limits.slots.held == 0


async def test_a_page_ahead_that_fails_unseen_is_no_complaint(client_of, caplog):
    async with RawServer(page(0, 10), respond(404)) as server:
        client = client_of(server.base_url)
        async with aclosing(client.calls.list(10).__aiter__()) as calls:
            async for call in calls:
                if call.id == "call_7":
                    await server.until(lambda: len(server.requests) == 2)
                    break
    gc.collect()
    assert not [record for record in caplog.records if record.name == "asyncio"]


async def test_recording_streams(client_of):
    part = b"HTTP/1.1 200 OK\r\nContent-Type: audio/wav\r\nContent-Length: 99\r\n\r\n"
    head = b"RIFF\x5b\0\0\0WAVE".ljust(64, b"\0")
    async with RawServer(then_hold(part + head)) as server:
        client = client_of(server.base_url)
        async with aclosing(client.stream_recording("c")) as chunks:
            assert await anext(chunks) == head, "what can be judged is not held back"
        await server.left()

"""A POST that may have been accepted is never sent twice; a server that counts calls proves it."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest

from agentphone_async import (
    ConnectionFailedError,
    RateLimitError,
    RetryPolicy,
    ServerError,
    TimedOutError,
    UnexpectedResponseError,
)
from tests.conftest import BRISK, SHORT, Sleeps, timeless
from tests.support.raw_server import (
    Connection,
    Item,
    RawRequest,
    RawServer,
    respond,
    then_close,
    then_hold,
    then_reset,
)

PLACED = respond(body={"id": "call_new", "status": "queued"})


def posts(server: RawServer) -> int:
    return sum(request.method == "POST" for request in server.requests)


NEVER_TWICE: list[tuple[str, Item, type[Exception]]] = [
    ("silence after sending", then_hold(), TimedOutError),
    ("head cut", then_hold(b"HTTP/1.1 200 OK\r\nContent-"), TimedOutError),
    ("body silent", then_hold(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"), TimedOutError),
    ("closed after sending", then_close(), ConnectionFailedError),
    ("reset after sending", then_reset(), ConnectionFailedError),
    ("reset in the head", then_reset(b"HTTP/1.1 200"), ConnectionFailedError),
    (
        "body cut",
        then_close(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"),
        ConnectionFailedError,
    ),
    ("500", respond(500, {"detail": "oops"}), ServerError),
    ("502 HTML", respond(502, b"<html>", content_type="text/html"), ServerError),
    ("503", respond(503, b"", retry_after="0"), ServerError),
    ("504", respond(504), ServerError),
    ("408", respond(408), Exception),
    ("not HTTP", then_close(b"220 smtp.example.com\r\n\r\n"), UnexpectedResponseError),
    ("200 HTML", respond(200, b"<html>", content_type="text/html"), UnexpectedResponseError),
]


@pytest.mark.parametrize(
    ("fault", "error"), [case[1:] for case in NEVER_TWICE], ids=[case[0] for case in NEVER_TWICE]
)
async def test_a_call_that_may_have_been_placed_is_not_placed_again(client_of, fault, error):
    async with RawServer(fault, PLACED) as server:
        client = client_of(server.base_url, timeouts=SHORT)
        with pytest.raises(error) as caught:
            await client.calls.make("agt", "+1555")
        assert posts(server) == 1
        assert caught.value.attempts == 1
        assert caught.value.method == "POST"
        assert getattr(caught.value, "sent", True) is True


@pytest.mark.parametrize("ask", ["make", "web", "end", "enable"])
async def test_it_holds_for_every_post(client_of, ask: str):
    async with RawServer(then_reset(), PLACED) as server:
        client = client_of(server.base_url)
        work = {
            "make": lambda: client.calls.make("agt", "+1555"),
            "web": lambda: client.calls.create_web_call("agt"),
            "end": lambda: client.calls.end("c"),
            "enable": client.account.enable_recording,
        }[ask]
        with pytest.raises(ConnectionFailedError):
            await work()
        assert posts(server) == 1


async def test_after_a_429_it_is_sent_again(client_of, sleeps: Sleeps):
    busy = respond(429, {"detail": "slow down"}, retry_after="3")
    async with RawServer(busy, busy, PLACED) as server:
        client = client_of(server.base_url)
        timeless(client, sleeps, RetryPolicy(first_delay=0.001))
        call = await client.calls.make("agt", "+1555")
        assert call.id == "call_new"
        assert posts(server) == 3
        assert [round(seconds) for seconds in sleeps if seconds >= 1] == [3, 3]


async def test_a_429_for_ever_ends(client_of, sleeps: Sleeps):
    async with RawServer(respond(429)) as server:
        client = client_of(server.base_url)
        timeless(client, sleeps)
        with pytest.raises(RateLimitError) as caught:
            await client.calls.make("agt", "+1555")
        assert posts(server) == caught.value.attempts == BRISK.attempts


async def test_a_refused_connection_is_tried_again(client_of, sleeps: Sleeps):
    """Nothing listens at first; the server appears while the client pauses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    placed = 0

    async def place(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal placed
        await reader.readuntil(b"\r\n\r\n")
        placed += 1
        writer.write(PLACED)
        await writer.drain()
        writer.close()

    async with contextlib.AsyncExitStack() as stack:

        async def sleep(seconds: float) -> None:
            await sleeps(seconds)
            if len(sleeps) == 1:
                server = await asyncio.start_server(place, "127.0.0.1", port)
                await stack.enter_async_context(server)

        client = client_of(f"http://127.0.0.1:{port}")
        timeless(client, sleeps)
        client.session.limits._stop._sleep = sleep
        assert (await client.calls.make("agt", "+1555")).id == "call_new"
        assert placed == 1


async def test_a_refused_connection_for_ever_says_that_nothing_was_sent(client_of, sleeps: Sleeps):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        client = client_of(f"http://127.0.0.1:{probe.getsockname()[1]}")
    timeless(client, sleeps)
    with pytest.raises(ConnectionFailedError) as caught:
        await client.calls.make("agt", "+1555")
    assert caught.value.sent is False


async def test_a_keep_alive_that_has_died_is_not_used_for_a_post(client_of):
    """The server closes the idle connection; a POST on it would be lost without a trace."""
    idle = asyncio.Event()

    async def answer_then_die(connection: Connection, request: RawRequest) -> None:
        await connection.send(PLACED)
        if request.method == "GET":
            await idle.wait()
            connection.close()

    async with RawServer(answer_then_die) as server:
        client = client_of(server.base_url)
        await client.calls.get("call_new")
        idle.set()
        call = await client.calls.make("agt", "+1555")
        assert call.id == "call_new"
        assert posts(server) == 1
        assert len(server.connections) == 2


async def test_posts_never_share_a_connection(client_of):
    async with RawServer(PLACED) as server:
        client = client_of(server.base_url)
        for _ in range(3):
            await client.calls.make("agt", "+1555")
        assert [request.connection for request in server.requests] == [0, 1, 2]


async def test_gets_do_share_one(client_of):
    async with RawServer(PLACED) as server:
        client = client_of(server.base_url)
        for _ in range(3):
            await client.calls.get("call_new")
        assert [request.connection for request in server.requests] == [0, 0, 0]


async def test_the_emulator_has_placed_one_call_whatever_it_answered(emulator, client):
    agent = emulator.agents[0].id
    emulator.fail(route="create_call", status=500, processed=True, times=1)
    with pytest.raises(ServerError):
        await client.calls.make(agent, "+14155550100")
    assert len(emulator.placed_calls) == 1
    emulator.fail(route="create_call", reset="connection", processed=True, times=1)
    with pytest.raises(ConnectionFailedError):
        await client.calls.make(agent, "+14155550100")
    assert len(emulator.placed_calls) == 2
    assert emulator.requests.count("create_call") == 2

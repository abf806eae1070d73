"""Time-outs of a session: connecting, a head that never comes, bodies that fall silent or drip."""

from __future__ import annotations

import asyncio
import socket

import pytest

from agentphone_async import (
    ConnectionFailedError,
    TimedOutError,
    Timeouts,
)
from agentphone_async.protocol import endpoints
from agentphone_async.protocol.endpoints import Request
from tests.conftest import SHORT
from tests.support.raw_server import (
    Connection,
    RawRequest,
    RawServer,
    respond,
    then_hold,
)


@pytest.fixture(params=["public", "with the key"])
def asked(request: pytest.FixtureRequest) -> Request:
    """Both kinds of requests; recordings may take a way of their own through the transport."""
    if request.param == "public":
        return endpoints.get_recording("c")
    return endpoints.get_transcript("c")


async def test_connecting_takes_too_long(client_of, asked):
    """The listener's queue is full, so that the handshake is never completed."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        fillers = [socket.socket() for _ in range(4)]
        try:
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(address)
            timeouts = Timeouts(connect=0.1, read=5, head=5)
            client = client_of(f"http://127.0.0.1:{address[1]}", timeouts=timeouts)
            with pytest.raises(TimedOutError, match="connecting to") as caught:
                await client.session._send_once(
                    client.session.ready().pooled,
                    asked,
                    f"http://127.0.0.1:{address[1]}/",
                    None,
                    at_home=True,
                )
            assert caught.value.sent is False
        finally:
            for filler in fillers:
                filler.close()


async def test_a_name_that_does_not_resolve(client_of, asked, monkeypatch):
    async def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    client = client_of("https://api.invalid")
    client.session.open()
    monkeypatch.setattr(client.session._clients.pooled.connector._resolver, "resolve", fail)
    with pytest.raises(ConnectionFailedError, match="the name does not resolve") as caught:
        await client.session.send(asked)
    assert caught.value.sent is False
    assert "api.invalid" in str(caught.value)


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nX: "])
async def test_a_head_that_never_comes(client_of, asked, sent: bytes):
    async with RawServer(then_hold(sent)) as server:
        with pytest.raises(TimedOutError, match="did not answer GET /v1/calls/c/"):
            await client_of(server.base_url, timeouts=SHORT).session.send(asked)
        await server.left()


async def test_a_head_that_drips_is_bounded_as_a_whole(client_of, asked):
    """Each byte re-arms the idle time-out; the limit on the head does not care."""

    async def drip(connection: Connection, _: RawRequest) -> None:
        await connection.send(b"HTTP/1.1 200 OK\r\nX: ")
        gone = asyncio.ensure_future(connection.wait_gone())
        while not gone.done():
            await connection.send(b"x")
            await asyncio.wait((gone,), timeout=0.02)

    timeouts = Timeouts(connect=0.1, read=10, head=0.1)
    async with RawServer(drip) as server:
        with pytest.raises(TimedOutError):
            await client_of(server.base_url, timeouts=timeouts).session.send(asked)


async def test_a_body_that_falls_silent(client_of, asked):
    part = b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nRIFF"
    async with RawServer(then_hold(part)) as server:
        client = client_of(server.base_url, timeouts=Timeouts(read=0.1))
        async with await client.session.send(asked) as answer:
            with pytest.raises(TimedOutError, match="did not answer"):
                await answer.body()
        await server.left()


async def test_a_body_below_the_minimum_speed(client_of, asked):
    """A byte now and then satisfies every idle time-out; the speed does not."""

    async def drip(connection: Connection, _: RawRequest) -> None:
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n")
        gone = asyncio.ensure_future(connection.wait_gone())
        while not gone.done():
            await connection.send(b"x")
            await asyncio.wait((gone,), timeout=0.01)

    timeouts = Timeouts(minimum_speed=1000_000, minimum_speed_window=0.1)
    async with RawServer(drip) as server:
        client = client_of(server.base_url, timeouts=timeouts)
        async with await client.session.send(asked) as answer:
            with pytest.raises(TimedOutError, match="counts as stalled"):
                await answer.body()
        await server.left()


async def test_a_reader_of_ours_that_is_slow_is_not_a_slow_server(client_of, asked):
    """Only the time spent waiting for the server counts."""
    size = 4 * 1024 * 1024
    async with RawServer(respond(body=bytes(size), content_type="audio/wav")) as server:
        timeouts = Timeouts(minimum_speed=100_000_000, minimum_speed_window=0.05)
        client = client_of(server.base_url, timeouts=timeouts)
        received = 0
        async with await client.session.send(asked) as answer:
            async for piece in answer.chunks():
                received += len(piece)
                if received < 500_000:
                    await asyncio.sleep(0.1)
        assert received == size


async def test_a_long_poll_may_be_silent_and_slow_for_as_long_as_it_asked(client_of):
    """The head may come at once and the body when the call ends."""
    release = asyncio.Event()
    waits: list[float | None] = []

    async def hold(connection: Connection, _: RawRequest) -> None:
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n")
        await release.wait()
        await connection.send(b'{"id":"call_1"}')

    async with RawServer(hold) as server:
        client = client_of(server.base_url, timeouts=Timeouts(read=0.05, head=0.05))
        poll = asyncio.ensure_future(client.calls.get("call_1", wait=10))
        await server.until(lambda: bool(server.requests))
        # Longer than our own time-outs, far shorter than the poll.
        done, _ = await asyncio.wait((poll,), timeout=0.2)
        assert not done
        release.set()
        assert (await poll).id == "call_1"
    assert waits == []

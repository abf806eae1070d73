"""The fast path does what the ordinary way does, whatever the server does; only faster."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, aclosing
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import pytest
import trustme
import uvloop

from agentphone_async import Settings, Timeouts
from agentphone_async.errors import AgentPhoneError, ConnectionFailedError, TimedOutError
from agentphone_async.protocol import endpoints
from agentphone_async.transport.session import Session
from tests.support.raw_server import (
    Connection,
    Item,
    RawRequest,
    RawServer,
    chunk,
    respond,
    then_close,
    then_hold,
    then_reset,
)

KEY = "sk_test_never_sent"
# A handshake may take its time: it waits for the processor, not for an answer.
IMPATIENT = Timeouts(connect=0.6, read=0.15, head=0.15, minimum_speed_window=0.1)
PATIENT = Timeouts(connect=5, read=5, head=5, minimum_speed_window=5)
WAV = respond(body=b"RIFF" * 100, content_type="audio/wav")
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: audio/wav\r\n"
LARGE = bytes(range(256)) * 4096
LARGE_HEAD = HEAD + b"Content-Length: %d\r\n\r\n" % len(LARGE)


async def drip(connection: Connection, _: RawRequest) -> None:
    """A head that goes on and on, and never ends."""
    await connection.send(b"HTTP/1.1 200 OK\r\nX: y")
    gone = asyncio.ensure_future(connection.wait_gone())
    while not gone.done():
        await connection.send(b"y")
        await asyncio.wait({gone}, timeout=0.03)


BEHAVIOURS: dict[str, tuple[Item, ...]] = {
    "a recording": (WAV,),
    "a large one": (respond(body=LARGE, content_type="audio/wav"),),
    "a large one, cut off": (then_close(LARGE_HEAD + LARGE[:-1]),),
    "a large one, reset": (then_reset(LARGE_HEAD + LARGE[:400_000]),),
    "a large one, closed unasked": (then_close(LARGE_HEAD + LARGE),),
    "a large one and more": (LARGE_HEAD + LARGE + b"surplus", WAV),
    "a large one, closed as told": (
        then_close(respond(body=LARGE, content_type="audio/wav", connection="close")),
    ),
    "a large refusal": (respond(404, b"no" * 300_000),),
    "an empty one": (respond(body=b""),),
    "no recording": (respond(404, {"error": {"message": "none"}}),),
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n",),
    "too many requests": (respond(429, b"slow down", retry_after="3"),),
    "chunked": (
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunk(b"RI") + chunk(b"FF") + chunk(b""),
    ),
    "a bad chunk": (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nRIFF",),
    "no length": (then_close(HEAD + b"\r\nRIFF"),),
    "old HTTP": (then_close(b"HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nRIFF"),),
    "gzip, unasked": (respond(body=gzip.compress(LARGE), content_encoding="gzip"),),
    "unknown coding": (respond(body=b"RIFF", content_encoding="zstd"),),
    "connection: close": (then_close(respond(body=b"RIFF", connection="close")),),
    "closed after each answer": (then_close(WAV),),
    "interim heads": (b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + WAV,),
    "a redirect": (respond(302, location="/elsewhere"), WAV, respond(307, location="/b"), WAV),
    "endless redirects": (respond(302, location="/again"),),
    "surplus bytes": (WAV + b"and more", WAV),
    "cut off": (then_close(HEAD + b"Content-Length: 400\r\n\r\nRIFF"),),
    "reset in the body": (then_reset(HEAD + b"Content-Length: 400\r\n\r\n"),),
    "reset at once": (then_reset(),),
    "closed at once": (then_close(),),
    "closed at once, once": (WAV, then_close(), WAV),
    "closed inside the head": (then_close(b"HTTP/1.1 200 OK\r\nContent-"),),
    "no HTTP": (then_close(b"SSH-2.0-OpenSSH_9.2\r\n"),),
    "a bad status": (respond(200).replace(b"200", b"2OO"),),
    "a bad length": (respond(content_length="-5"),),
    "two lengths": (HEAD + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nRIFFX",),
    "the same length twice": (HEAD + b"Content-Length: 4\r\nContent-Length: 4\r\n\r\nRIFF",),
    "kept alive": (respond(body=b"RIFF", connection="Keep-Alive"),),
    "spaces around": (HEAD + b"X:  \ty z \t \r\nY:\r\nContent-Length:\t4 \r\n\r\nRIFF",),
    "a folded header": (HEAD + b"X: y\r\n z\r\nContent-Length: 4\r\n\r\nRIFF",),
    "a space before the colon": (HEAD + b"X : y\r\nContent-Length: 4\r\n\r\nRIFF",),
    "bare line feeds": (HEAD + b"X: y\nZ: a\r\nContent-Length: 4\r\n\r\nRIFF",),
    "a bare return": (HEAD + b"X: y\rContent-Length: 4\r\nContent-Length: 5\r\n\r\nRIFFX",),
    "letters that are not ASCII": (respond(body=b"RIFF", x="\xe4"),),
    "a header without a name": (HEAD + b": y\r\nContent-Length: 4\r\n\r\nRIFF",),
    "no reason": (b"HTTP/1.1 200\r\nContent-Length: 4\r\n\r\nRIFF",),
    "a huge header": (respond(x_big="x" * 100_000),),
}

SILENCES: dict[str, tuple[Item, ...]] = {
    "no head": (then_hold(),),
    "half a head": (then_hold(b"HTTP/1.1 200 OK\r\nContent-"),),
    "a head that drips": (drip,),
    "half a large body": (then_hold(LARGE_HEAD + LARGE[:400_000]),),
    "half a body": (then_hold(HEAD + b"Content-Length: 400\r\n\r\nRIFF"),),
}

T = TypeVar("T")
LoopFactory: TypeAlias = Callable[[], asyncio.AbstractEventLoop]
Secured: TypeAlias = tuple[ssl.SSLContext | None, str | None]

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="module")
def tls(tmp_path_factory) -> tuple[ssl.SSLContext, str]:
    ca = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    ca.cert_pem.write_to_path(str(path))
    return context, str(path)


@pytest.fixture(autouse=True)
def few_authorities(tls, monkeypatch) -> None:
    """The system's hundreds of authorities take longer to load than most of these tests."""
    monkeypatch.setenv("SSL_CERT_FILE", tls[1])
    monkeypatch.setenv("SSL_CERT_DIR", str(Path(tls[1]).parent / "none"))


@pytest.fixture(params=LOOPS)
def loop_factory(request) -> LoopFactory:
    return LOOPS[request.param]


@pytest.fixture(params=["http", "https"])
def secured(request, tls) -> Secured:
    return tls if request.param == "https" else (None, None)


def session_to(
    server: RawServer,
    ca_file: str | None = None,
    timeouts: Timeouts = PATIENT,
    *,
    path: bool = True,
) -> Session:
    session = Session(Settings(KEY, server.base_url, ca_file=ca_file, timeouts=timeouts))
    session.open()
    clients = session._clients
    assert clients is not None
    assert clients.fast is not None, "this aiohttp has not got what the fast path needs"
    if not path:
        session._clients = clients._replace(fast=None)
    return session


async def ask(session: Session, call_id: str = "call_1") -> tuple[object, ...]:
    """What a caller sees of one request."""
    try:
        async with await session.send(endpoints.get_recording(call_id)) as answer:
            # White space around is no part of a value (RFC 9110, 5.5); older parsers leave it.
            headers = sorted(
                (name.lower(), value.strip()) for name, value in answer.headers.items()
            )
            body = await answer.body()
            return answer.status, headers, body if len(body) < 4096 else sha256(body).digest()
    except AgentPhoneError as error:
        return type(error), str(error), error.transient, getattr(error, "sent", None)


async def account(
    script: tuple[Item, ...], secured: Secured, timeouts: Timeouts, *, path: bool
) -> list[str]:
    """What caller and server see of two requests in a row; of one if it is a test of patience."""
    context, ca_file = secured
    async with RawServer(*script, tls=context) as server:
        session = session_to(server, ca_file, timeouts, path=path)
        seen = [await ask(session)]
        if timeouts is PATIENT:
            seen.append(await ask(session))
        await session.aclose()
        sent = [
            (request.method, request.target, sorted(request.headers.items()), request.connection)
            for request in server.requests
        ]
        happened = [*seen, *sent, len(server.connections)]
        # With the address: a bare port, such as 45678, also occurs in a body of all bytes.
        return [str(part).replace(f"127.0.0.1:{server.port}", "HOST") for part in happened]


def in_time(loop_factory: LoopFactory, work: Coroutine[Any, Any, T]) -> T:
    """Run something; what takes longer than the longest patience in it fails."""
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(asyncio.wait_for(work, 4))


def both_ways(
    loop_factory: LoopFactory, script: tuple[Item, ...], secured: Secured, timeouts: Timeouts
) -> list[list[str]]:
    async def both() -> list[list[str]]:
        ways = [account(script, secured, timeouts, path=path) for path in (True, False)]
        return await asyncio.gather(*ways)

    return in_time(loop_factory, both())


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_the_fast_path_gives_what_a_session_gives(behaviour, loop_factory, secured):
    fast, ordinary = both_ways(loop_factory, BEHAVIOURS[behaviour], secured, PATIENT)
    assert fast == ordinary


@pytest.mark.parametrize("silence", SILENCES)
def test_the_fast_path_waits_no_longer_than_a_session(silence, loop_factory, secured):
    fast, ordinary = both_ways(loop_factory, SILENCES[silence], secured, IMPATIENT)
    assert "TimedOutError" in fast[0]
    assert fast == ordinary


@pytest.mark.parametrize("limit", [None, "1G"])
def test_a_large_body_comes_in_pieces_of_the_size_that_is_asked_for(limit, loop_factory, secured):
    """And its bytes are told of as they come. Within a byte rate the pieces are small."""

    async def two_of_them() -> None:
        async with RawServer(LARGE_HEAD + LARGE, tls=secured[0]) as server:
            settings = Settings(base_url=server.base_url, ca_file=secured[1], bwlimit=limit)
            async with Session(settings) as session:
                for _ in range(2):
                    told: list[int] = []
                    async with await session.send(endpoints.get_recording("call_1")) as answer:
                        pieces = [piece async for piece in answer.chunks(700_000, told.append)]
                    assert b"".join(pieces) == LARGE
                    assert sum(told) == len(LARGE)
                    assert len(told) > 2
                    assert max(map(len, pieces)) == (64 * 1024 if limit else 700_000)
                assert len(server.connections) == 1

    in_time(loop_factory, two_of_them())


def test_connecting_is_bounded(loop_factory):
    async def to_a_backlog_that_is_full() -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(0)
            address = listener.getsockname()
            async with AsyncExitStack() as stack:
                for _ in range(4):
                    filler = stack.enter_context(socket.socket())
                    filler.setblocking(False)
                    filler.connect_ex(address)
                url = f"http://127.0.0.1:{address[1]}"
                session = await stack.enter_async_context(
                    Session(Settings(base_url=url, timeouts=Timeouts(connect=0.15)))
                )
                kind, _, _, sent = await ask(session)
                assert kind is TimedOutError
                assert sent is False

    in_time(loop_factory, to_a_backlog_that_is_full())


def test_nobody_listening(loop_factory):
    async def there() -> tuple[object, ...]:
        async with RawServer(WAV) as server:
            url = server.base_url
        async with Session(Settings(base_url=url)) as session:
            return await ask(session)

    kind, _, _, sent = in_time(loop_factory, there())
    assert kind is ConnectionFailedError
    assert sent is False


@pytest.mark.parametrize("when", ["waiting for the head", "inside the body"])
def test_a_cancelled_request_closes_its_connection(when, loop_factory, secured):
    context, ca_file = secured
    first = b"" if when == "waiting for the head" else HEAD + b"Content-Length: 9\r\n\r\nRIFF"

    async def cancelled() -> None:
        async with (
            RawServer(then_hold(first), WAV, tls=context) as server,
            aclosing(session_to(server, ca_file)) as session,
        ):
            asking = asyncio.create_task(ask(session))
            await server.until(lambda: len(server.requests) == 1)
            if first:
                while not _reading(asking):
                    await asyncio.sleep(0)
            asking.cancel()
            await asyncio.wait({asking})
            assert asking.cancelled()
            await server.left()
            assert (await ask(session))[0] == 200
            assert len(server.connections) == 2

    in_time(loop_factory, cancelled())


def _reading(task: asyncio.Task[object]) -> bool:
    """Whether a task has got as far as the body."""
    frames = []
    waiting = task.get_coro()
    while waiting is not None and hasattr(waiting, "cr_await"):
        frames.append(waiting.cr_code.co_name)
        waiting = waiting.cr_await
    return "body" in frames


def test_one_connection_carries_many_recordings_and_other_requests_share_it(loop_factory, secured):
    context, ca_file = secured

    recordings = [respond(body=b"RIFF" * size, content_type="audio/wav") for size in range(20, 25)]

    async def many() -> None:
        async with (
            RawServer(*recordings, WAV, tls=context) as server,
            aclosing(session_to(server, ca_file)) as session,
        ):
            for number in range(5):
                assert (await ask(session, f"call_{number}"))[0] == 200
            async with await session.send(endpoints.get_call("call_1")) as answer:
                await answer.body()
            assert len(server.connections) == 1
            keys = ["authorization" in request.headers for request in server.requests]
            assert keys == [False] * 5 + [True]

    in_time(loop_factory, many())


async def test_a_body_that_is_not_read_to_its_end_costs_its_connection():
    async with (
        RawServer(respond(body=LARGE), WAV) as server,
        aclosing(session_to(server)) as session,
    ):
        async with await session.send(endpoints.get_recording("call_1")) as answer:
            assert answer.status == 200
        await server.left()
        assert (await ask(session))[0] == 200
        assert len(server.connections) == 2


async def test_a_base_url_with_a_prefix_and_an_id_that_needs_encoding():
    async with RawServer(WAV) as server:
        async with Session(Settings(base_url=server.base_url + "/pre%20fix/")) as session:
            await ask(session, "call/\u00fc\r\nX: y")
        assert server.requests[0].target == (
            "/pre%20fix/v1/calls/call%2F%C3%BC%0D%0AX%3A%20y/recording"
        )


# ------------------------------------------------------------------------ when there is no path

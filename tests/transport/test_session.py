"""One request on the wire: redirects, TLS, time-outs, codings, broken HTTP."""

from __future__ import annotations

import asyncio
import gzip
from contextlib import AsyncExitStack, aclosing

import aiohttp
import pytest

from agentphone_async import (
    AuthenticationError,
    ConfigurationError,
    ConnectionFailedError,
    NotFoundError,
    ServerError,
    UnexpectedResponseError,
)
from agentphone_async.transport import answer as answer_module
from tests.conftest import BRISK, SHORT
from tests.support.downloads import wave
from tests.support.raw_server import (
    Connection,
    RawRequest,
    RawServer,
    chunk,
    respond,
    then_close,
    then_hold,
    then_reset,
)

CALL = respond(body={"id": "call_1"})


WAV = respond(body=b"RIFF", content_type="audio/wav")


RECORDING = wave(16_044)


async def test_redirects_on_the_same_host_are_followed(client_of):
    async with RawServer(
        respond(301, location="/a"), respond(308, b"moved", location="b?x=%2F"), WAV
    ) as server:
        recording = await client_of(server.base_url).calls.get_recording("c")
        assert recording.content == b"RIFF"
        assert [request.target for request in server.requests] == [
            "/v1/calls/c/recording",
            "/a",
            "/b?x=%2F",
        ]


async def test_a_redirect_loop_ends(client_of):
    async with RawServer(respond(302, location="/again")) as server:
        with pytest.raises(UnexpectedResponseError, match="more than 5 in a row"):
            await client_of(server.base_url).calls.get_recording("c")
        assert len(server.requests) == 6


async def test_a_redirect_with_credentials_or_from_tls_to_none_is_refused(client_of, tls):
    context, ca_file = tls
    async with RawServer(WAV) as plain:
        for location in (plain.base_url, f"http://me:pw@127.0.0.1:{plain.port}/"):
            async with RawServer(respond(302, location=location), tls=context) as server:
                with pytest.raises(UnexpectedResponseError, match="not followed"):
                    await client_of(server.base_url, ca_file=ca_file).calls.get_recording("c")
        assert plain.requests == []


async def test_an_address_that_the_api_redirects_to_is_no_outage_of_the_api(client_of):
    """Whoever is away is named, and the others continue."""
    async with RawServer(respond(302, location="http://localhost:1/a.wav")) as server:
        client = client_of(server.base_url)
        with pytest.raises(ConnectionFailedError) as caught:
            await client.calls.get_recording("c")
        assert str(caught.value).startswith("cannot connect to localhost:1: ")
        assert str(caught.value).endswith("; the API redirects there")
        assert caught.value.attempts == len(server.requests) == 3
        assert not client.session.limits.in_outage
        assert caught.value.sent, "to the API, whose outage this is not"


@pytest.mark.parametrize("location", ["http://127.0.0.1:99999/", "https://a..b/", "/\x01"])
async def test_a_redirect_to_nonsense_is_one_error_like_others(client_of, location):
    async with RawServer(respond(302, location=location)) as server:
        with pytest.raises(UnexpectedResponseError):
            await client_of(server.base_url).calls.get_recording("c")


async def test_streams_that_nobody_reads_do_not_use_up_the_pool(client_of):
    beginning = wave(300)[:100]  # enough to see that it is audio
    held = respond(body=wave(300), content_type="audio/wav")[:-200]
    page = respond(body={"data": [], "hasMore": False})
    async with (
        RawServer(then_hold(held), then_hold(held), page) as server,
        AsyncExitStack() as stack,
    ):
        client = client_of(server.base_url, connections=2)
        for number in range(2):
            stream = await stack.enter_async_context(
                aclosing(client.stream_recording(f"call_{number}"))
            )
            assert await anext(stream) == beginning
        assert (await client.calls.list()).data == []


@pytest.mark.parametrize("way", ["in memory", "stream", "to disk"])
async def test_every_way_to_a_recording_keeps_to_the_byte_rate(client_of, tmp_path, way):
    taken = []

    async def take_bytes(size):
        taken.append(size)

    async with RawServer(respond(body=RECORDING, content_type="audio/wav")) as server:
        client = client_of(server.base_url, bwlimit="100M")
        client.session.limits.take_bytes = take_bytes
        match way:
            case "in memory":
                await client.calls.get_recording("c")
            case "stream":
                assert (
                    b"".join([chunk async for chunk in client.stream_recording("c")]) == RECORDING
                )
            case _:
                await client.fetch_recording("c", tmp_path)
    assert sum(taken) == len(RECORDING)


async def test_a_recording_in_memory_may_be_as_large_as_the_limit(client_of, monkeypatch):
    monkeypatch.setattr(answer_module, "LARGEST_REPLY", 10)
    async with RawServer(respond(body=RECORDING, content_type="audio/wav")) as server:
        exact = client_of(server.base_url, max_file_size=len(RECORDING))
        assert len(await exact.calls.get_recording("c")) == len(RECORDING)
        tight = client_of(server.base_url, max_file_size=len(RECORDING) - 1)
        with pytest.raises(UnexpectedResponseError, match="over 16043 bytes"):
            await tight.calls.get_recording("c")


CODED = [
    (401, AuthenticationError, 1),
    (404, NotFoundError, 1),
    (500, ServerError, 3),
    (504, ServerError, 3),
]


@pytest.mark.parametrize("coding", ["br", "gzip"])
@pytest.mark.parametrize(("status", "kind", "attempts"), CODED)
async def test_an_error_whose_body_cannot_be_decoded_is_what_its_status_says(
    client_of, status, kind, attempts, coding
):
    body = respond(status, b"\x1b\x00", content_encoding=coding)
    async with RawServer(body) as server:
        with pytest.raises(kind) as caught:
            await client_of(server.base_url).calls.get("c")
        assert caught.value.attempts == len(server.requests) == attempts


async def test_the_large_body_of_a_redirect_is_not_waited_for(client_of):
    endless = b"HTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Length: 99999999\r\n\r\n"
    async with RawServer(then_hold(endless), WAV) as server:
        await client_of(server.base_url).calls.get_recording("c")
        await server.left()


@pytest.mark.parametrize("coding", ["gzip", "x-gzip"])
async def test_gzip_that_nobody_asked_for_is_decoded(client_of, coding: str):
    packed = gzip.compress(b'{"id": "call_1"}')
    async with RawServer(respond(body=packed, content_encoding=coding)) as server:
        call = await client_of(server.base_url).calls.get("call_1")
        assert server.requests[0].headers["accept-encoding"] == "identity"
    assert call.id == "call_1"


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("br", b"xx"),
        ("gzip", b"no gzip at all"),
        ("gzip", gzip.compress(b"{}", mtime=0)[:-3]),
        ("gzip", gzip.compress(b"{}", mtime=0) + b"x"),
        ("gzip, gzip", gzip.compress(b"{}", mtime=0)),
    ],
    ids=["unknown", "another", "cut", "something behind", "once too few"],
)
async def test_codings_that_cannot_be_decoded(client_of, coding: str, body: bytes):
    async with RawServer(respond(body=body, content_encoding=coding)) as server:
        with pytest.raises(UnexpectedResponseError):
            await client_of(server.base_url).calls.get("call_1")
        assert len(server.requests) == 1


async def test_a_gzip_bomb_is_bounded(client_of, asked, monkeypatch):
    monkeypatch.setattr(answer_module, "LARGEST_REPLY", 4 * 1024 * 1024)
    bomb = gzip.compress(bytes(64 * 1024 * 1024))
    async with RawServer(respond(body=bomb, content_encoding="gzip")) as server:
        client = client_of(server.base_url)
        answer = await client.session.send(asked)
        async with answer:
            with pytest.raises(UnexpectedResponseError, match="over 4194304 bytes"):
                await answer.body(4 * 1024 * 1024)


async def test_an_endless_reply_is_bounded(client_of, asked):
    async def flood(connection: Connection, _: RawRequest) -> None:
        await connection.send(b"HTTP/1.1 200 OK\r\n\r\n")
        while not connection.gone.is_set():
            await connection.send(b"x" * 65536)

    async with RawServer(flood) as server:
        client = client_of(server.base_url)
        async with await client.session.send(asked) as answer:
            with pytest.raises(UnexpectedResponseError, match="over 1000000 bytes"):
                await answer.body(1_000_000)


BROKEN = [
    ("another protocol", then_close(b"SSH-2.0-OpenSSH_9\r\n\r\n"), UnexpectedResponseError),
    ("no status", then_close(b"HTTP/1.1 abc OK\r\n\r\n"), UnexpectedResponseError),
    (
        "header bomb",
        then_close(b"HTTP/1.1 200 OK\r\n" + b"X: " + b"x" * 100_000 + b"\r\n\r\n"),
        UnexpectedResponseError,
    ),
    (
        "two lengths",
        then_close(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}"),
        UnexpectedResponseError,
    ),
    (
        "length no number",
        then_close(b"HTTP/1.1 200 OK\r\nContent-Length: ten\r\n\r\n{}"),
        UnexpectedResponseError,
    ),
    ("nothing", then_close(), ConnectionFailedError),
    ("reset", then_reset(), ConnectionFailedError),
    ("cut in the head", then_close(b"HTTP/1.1 200 OK\r\nConte"), ConnectionFailedError),
    (
        "cut in the body",
        then_close(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"),
        ConnectionFailedError,
    ),
    (
        "reset in the body",
        then_reset(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"),
        ConnectionFailedError,
    ),
    (
        "no last chunk",
        then_close(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"{}")),
        ConnectionFailedError,
    ),
]


@pytest.mark.parametrize(
    ("fault", "kind"), [case[1:] for case in BROKEN], ids=[case[0] for case in BROKEN]
)
async def test_broken_http_becomes_one_of_our_errors(client_of, fault, kind):
    async with RawServer(fault) as server:
        with pytest.raises(kind) as caught:
            await client_of(server.base_url).calls.get("call_1")
        error = caught.value
        assert error.path == "/v1/calls/call_1"
        assert error.attempts == (BRISK.attempts if error.transient else 1)
        # aiohttp quietly repeats a GET once if the connection breaks before the head; never a POST.
        assert error.attempts <= len(server.requests) <= 2 * error.attempts
        assert "RawResponseMessage" not in str(error)
        assert str(error).isprintable()


async def test_a_malformed_chunk_becomes_one_of_our_errors(client_of):
    bad = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n"
    async with RawServer(then_close(bad)) as server:
        with pytest.raises((ConnectionFailedError, UnexpectedResponseError)):
            await client_of(server.base_url).calls.get("call_1")


async def test_a_request_that_idles_out_is_repeated_where_that_is_safe(client_of):
    async with RawServer(then_hold(), CALL) as server:
        client = client_of(server.base_url, timeouts=SHORT)
        assert (await client.calls.get("call_1")).id == "call_1"
        assert len(server.requests) == 2


async def test_a_closed_client_says_so(client_of):
    async with RawServer(CALL) as server:
        client = client_of(server.base_url)
        async with client:
            await client.calls.get("call_1")
        with pytest.raises(ConfigurationError, match="the client is closed"):
            await client.calls.get("call_1")
        await client.aclose()
        await client.close()
        async with client:
            assert (await client.calls.get("call_1")).id == "call_1"


async def test_closing_closes_every_connection(client_of):
    async with RawServer(CALL) as server:
        async with client_of(server.base_url) as client:
            await client.calls.get("call_1")
            assert not server.connections[0].gone.is_set()
        await server.left()


async def test_closing_in_the_middle_of_a_request_ends_it(client_of):
    async with RawServer(then_hold()) as server:
        client = client_of(server.base_url)
        asking = asyncio.ensure_future(client.calls.get("call_1"))
        await server.until(lambda: bool(server.requests))
        await client.aclose()
        with pytest.raises((ConnectionFailedError, ConfigurationError)):
            await asking


def test_aiohttp_versions_that_break_idle_timeouts_are_excluded():
    assert tuple(map(int, aiohttp.__version__.split(".")[:3])) >= (3, 14, 2)

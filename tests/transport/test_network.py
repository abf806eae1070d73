"""Proxies, certificates, extra headers, unencrypted networks, hung look-ups, stalled bodies."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import threading
import traceback

import pytest
import trustme

from agentphone_async import AsyncAgentPhone, ConfigurationError, Settings, Timeouts
from agentphone_async.errors import AgentPhoneError, ConnectionFailedError, TimedOutError
from agentphone_async.protocol import endpoints
from agentphone_async.protocol.redirects import is_inside, is_metadata
from agentphone_async.transport.resolver import OutwardResolver, PatientResolver
from tests.support.raw_server import Connection, RawRequest, RawServer, respond
from tests.transport.test_resolver import HOME, Names

CALL = respond(body={"id": "c", "status": "completed"})
WAV = respond(body=b"RIFF", content_type="audio/wav")


async def test_a_proxy_is_used_by_the_settings_or_the_environment_and_said(
    client_of, monkeypatch, caplog
):
    caplog.set_level(logging.INFO, "agentphone_async.transport")
    url = "http://api.test"
    async with RawServer(CALL) as proxy:
        client = client_of(url, api_key="sk_test_1", allow_http=True, proxy=proxy.base_url)
        await client.calls.get("c")
        assert proxy.requests[0].target == f"{url}/v1/calls/c"
        assert caplog.messages == []
        address = proxy.base_url.replace("http://", "http://me:hunter2@")
        monkeypatch.setenv("HTTP_PROXY", address)
        client = client_of(url, api_key="sk_test_1", allow_http=True)
        await client.calls.get("c")
        await client.calls.get("c")
        assert len(proxy.requests) == 3
        assert "proxy-authorization" in proxy.requests[1].headers
        assert [line.partition(" from")[0] for line in caplog.messages] == [
            f"using the proxy 127.0.0.1:{proxy.port}"
        ]
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        async with RawServer(CALL) as server:
            await client_of(server.base_url).calls.get("c")
            assert len(server.requests) == 1


async def test_what_a_proxy_refuses_is_the_proxys(client_of):
    async with RawServer(respond(407)) as proxy:
        client = client_of("https://api.test", proxy=proxy.base_url)
        with pytest.raises(ConnectionFailedError, match=r"proxy .* refuses with 407; give user"):
            await client.calls.get("c")


async def test_a_ca_file_is_taken_in_addition_to_the_systems(client_of, tmp_path):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    served = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(served)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    async with RawServer(CALL, tls=served) as server:
        for options in ({"ca_file": str(tmp_path / "ca.pem")}, {"ssl": context}):
            client = client_of(server.base_url, **options)
            await client.calls.get("c")
        tls = client_of(server.base_url, ca_file=str(tmp_path / "ca.pem")).session._tls
        assert len(tls.get_ca_certs()) == len(ssl.create_default_context().get_ca_certs()) + 1


async def test_extra_headers_go_to_the_api_and_not_along_a_redirect(client_of):
    async with RawServer(WAV) as elsewhere:
        script = [CALL, respond(302, location=f"{elsewhere.base_url}/x.wav")]
        async with RawServer(*script) as server:
            client = client_of(server.base_url, headers={"X-Tenant": "blue"})
            await client.calls.get("c")
            async with await client.session.send(endpoints.get_recording("c")) as answer:
                await answer.body()
            assert [each.headers.get("x-tenant") for each in server.requests] == ["blue", "blue"]
        assert "x-tenant" not in elsewhere.requests[0].headers


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"base_url": "http://api.test"}, "not encrypted"),
        ({"base_url": "http://api.test", "allow_http": True, "api_key": "sk_live_1"}, "live API"),
        (
            {"base_url": "http://a.test", "allow_http": True, "headers": {"X-Key": "SK_live_1"}},
            "live API",
        ),
        ({"headers": {"Authorization": "x"}}, "set by this package"),
        ({"headers": {"proxy-authorization": "x"}}, "set by this package"),
        ({"headers": {"a b": "x"}}, "cannot be sent"),
        ({"headers": {"a": "x\r\ny"}}, "cannot be sent"),
        ({"proxy": "socks5://me:hunter2@x"}, "proxy is not"),
    ],
)
def test_settings_that_cannot_work(options, why):
    with pytest.raises(ConfigurationError, match=why) as caught:
        Settings(**options)
    assert "hunter2" not in str(caught.value)


def test_a_test_key_may_go_over_an_unencrypted_private_network():
    assert Settings(base_url="http://mock:8080", allow_http=True, api_key="sk_test_1").allow_http


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "[::ffff:169.254.169.254]".strip("[]"),
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
        "::169.254.169.254",
        "fe80::1",
        "fd00:ec2::254",
        "100.100.100.200",
        "2852039166",
        "0xa9fea9fe",
        "metadata.google.internal",
    ],
)
def test_metadata_in_every_disguise(host):
    assert is_metadata(host)
    assert is_inside(host)


@pytest.mark.parametrize("host", ["127.0.0.1", "10.0.0.1", "93.184.216.34", "example.com"])
def test_what_is_no_metadata(host):
    assert not is_metadata(host)


async def test_no_name_leads_to_metadata_even_from_a_private_base():
    names = OutwardResolver(HOME, Names(api=["10.0.0.1"], evil=["64:ff9b::a9fe:a9fe"]))
    await names.resolve(HOME)
    with pytest.raises(AgentPhoneError, match="private network"):
        await names.resolve("evil.example.com")


async def test_a_hung_look_up_ends_in_time_and_keeps_nobody(monkeypatch):
    hangs = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: hangs.wait(10))
    with pytest.raises(OSError, match="took too long"):
        await PatientResolver(0.05).resolve("api.test")
    client = AsyncAgentPhone("k", "https://api.test", timeouts=Timeouts(connect=0.05))
    async with client, asyncio.timeout(5):
        with pytest.raises(ConnectionFailedError):
            await client.session.send(endpoints.get_recording("c"))
    assert all(each.daemon for each in threading.enumerate() if each.name == "look-up")
    hangs.set()


async def test_a_body_of_nothing_but_chunk_extensions_ends(client_of):
    async def drip(connection: Connection, request: RawRequest) -> None:
        await connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;")
        while not connection.gone.is_set():
            await connection.send(b"x")
            await asyncio.sleep(0.02)

    async with RawServer(drip) as server:
        timeouts = Timeouts(minimum_speed_window=0.2)
        session = client_of(server.base_url, timeouts=timeouts).session
        async with await session.send(endpoints.get_recording("c")) as answer:
            with pytest.raises(TimedOutError, match="sent 0 bytes"):
                await asyncio.wait_for(answer.body(), 5)


async def test_a_silence_on_a_used_connection_retires_the_idle_ones(client_of):
    async def fall_silent(connection: Connection, request: RawRequest) -> None:
        served[connection.number] = served.get(connection.number, 0) + 1
        if served[connection.number] == 1:
            await connection.send(WAV)

    served: dict[int, int] = {}
    async with RawServer(fall_silent) as server:
        session = client_of(server.base_url, timeouts=Timeouts(read=0.2)).session

        async def ask() -> bytes:
            async with await session.send(endpoints.get_recording("c")) as answer:
                return await answer.body()

        await asyncio.gather(ask(), ask(), ask())
        with pytest.raises(TimedOutError):
            await ask()
        assert await ask() == b"RIFF"
        assert len(server.connections) == 4


KEY = "sk_test_secret_1"
EVENT = f'event: turn\ndata: {{"role": "user", "content": "{KEY}", "createdAt": "x"}}\n\n'
ENDED = 'event: ended\ndata: {"callId": "c", "status": "completed"}\n\n'


@pytest.mark.parametrize(
    ("answer", "way"),
    [
        (respond(401, {"detail": f"no such key: {KEY}"}), "get"),
        (respond(401, {"detail": f"no such key: {KEY}"}), "stream"),
        (respond(body=f"what is {KEY}?".encode(), content_type="text/plain"), "get"),
        (respond(body=f"what is {KEY}?".encode(), content_type="text/plain"), "stream"),
        (respond(body=f"{EVENT}{ENDED}".encode(), content_type="text/event-stream"), "stream"),
        (respond(body={"id": "c", "status": KEY}), "get"),
        (f"HTTP/1.1 20x {KEY}\r\n\r\n".encode(), "get"),
        (f"HTTP/1.1 200 OK\r\n{KEY}\x00: a\r\n\r\n".encode(), "get"),
    ],
)
async def test_an_echoed_key_is_not_shown(client_of, answer, way):
    async with RawServer(answer) as server:
        calls = client_of(server.base_url, api_key=KEY).calls
        try:
            if way == "get":
                shown = repr(await calls.get("c"))
            else:
                shown = repr([event async for event in calls.stream_transcript("c")])
        except AgentPhoneError as error:
            shown = "".join(traceback.format_exception(error))
    assert KEY not in shown
    assert "[the API key]" in shown

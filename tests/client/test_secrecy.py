"""The API key travels with authenticated requests to the base URL, and shows nowhere else."""

from __future__ import annotations

import logging
import traceback

import pytest

from agentphone_async import AgentPhoneError, AsyncAgentPhone, ConfigurationError, Settings
from agentphone_async.emulator import audio_bytes
from agentphone_async.errors import MissingKeyError
from agentphone_async.protocol.endpoints import get_recording
from tests.conftest import API_KEY
from tests.support.raw_server import RawServer, respond, then_close, then_hold, then_reset

AUDIO = audio_bytes(1, "call_1", 0.5)
WAV = respond(body=AUDIO, content_type="audio/wav")


def keys_in(server: RawServer) -> list[str]:
    return [
        request.target
        for request in server.requests
        if API_KEY in str(dict(request.headers)) + request.target + request.body.decode()
    ]


async def test_a_recording_request_carries_neither_key_nor_sub_account(client_of, tmp_path):
    async with RawServer(WAV) as server:
        client = client_of(server.base_url, sub_account="sub_1")
        await client.calls.get_recording("call_1")
        assert [chunk async for chunk in client.stream_recording("call_2")] == [AUDIO]
        await client.fetch_recording("call_3", tmp_path)
        # More headers, as for the rest of a recording, take another way through the transport.
        (await client.session.send(get_recording("call_4"), {"Range": "bytes=2-"})).close()
        asked = {request.target.split("/")[3] for request in server.requests}
        assert asked == {f"call_{number}" for number in range(1, 5)}
        for request in server.requests:
            assert request.headers.keys().isdisjoint({"authorization", "x-sub-account-id"})
            assert request.headers.keys().isdisjoint({"cookie", "proxy-authorization"})


async def test_a_redirect_carries_nothing_either(client_of):
    async with RawServer(WAV) as elsewhere:
        away = f"http://localhost:{elsewhere.port}/audio?signature=abc"
        async with RawServer(respond(302, location=away)) as server:
            await client_of(server.base_url).calls.get_recording("call_1")
            assert not keys_in(server)
        assert elsewhere.requests[0].target == "/audio?signature=abc"
        assert not keys_in(elsewhere)
        assert "referer" not in elsewhere.requests[0].headers


async def test_a_redirect_of_an_authenticated_request_is_not_followed(client_of):
    async with RawServer(WAV) as elsewhere:
        away = f"http://localhost:{elsewhere.port}/steal"
        async with RawServer(respond(307, location=away)) as server:
            client = client_of(server.base_url)
            for ask in (client.calls.list(), client.calls.make("a", "+1"), client.calls.end("c")):
                with pytest.raises(AgentPhoneError, match="the API key is sent to the base URL"):
                    await ask
            with pytest.raises(AgentPhoneError):
                await anext(client.calls.stream_transcript("c"))
        assert elsewhere.requests == []


async def test_cookies_are_not_kept(client_of):
    async with RawServer(respond(body={"id": "c"}, set_cookie="session=1; Path=/")) as server:
        client = client_of(server.base_url)
        await client.calls.get("c")
        await client.calls.get("c")
        assert "cookie" not in server.requests[1].headers


async def test_netrc_is_not_used(client_of, monkeypatch, tmp_path):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password hunter2\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    async with RawServer(WAV) as server:
        await client_of(server.base_url).calls.get_recording("c")
        assert "authorization" not in server.requests[0].headers


def test_representations(client_of):
    client = AsyncAgentPhone(API_KEY)
    for thing in (client, client.session, client.settings, client.calls, client.settings.retry):
        assert API_KEY not in repr(thing) + str(thing)
    assert API_KEY not in repr(Settings(api_key=API_KEY))


@pytest.mark.parametrize("key", [f"{API_KEY}\r\nX-Evil: 1", f"{API_KEY} x", f"{API_KEY}é", "\0"])
def test_a_key_that_is_none_is_refused_without_showing_it(key: str):
    with pytest.raises(ConfigurationError) as caught:
        AsyncAgentPhone(key)
    assert API_KEY not in str(caught.value)
    assert "not shown" in str(caught.value)


async def test_errors_and_logs_at_their_most_talkative(client_of, caplog):
    """Every kind of failure, every logger at DEBUG, every traceback: no key."""
    caplog.set_level(logging.DEBUG)
    for name in ("aiohttp", "aiohttp.client", "aiohttp.internal", "asyncio", "agentphone_async"):
        logging.getLogger(name).setLevel(logging.DEBUG)
    faults = [
        respond(401, {"detail": "bad key"}),
        respond(500),
        respond(429, retry_after="0"),
        respond(302, location="http://localhost:1/"),
        respond(200, b"<html>", content_type="text/html"),
        then_reset(),
        then_close(b"SSH-2.0-x\r\n\r\n"),
        then_close(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"),
        then_hold(b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 1\r\n\r\n{"),
    ]
    shown = []
    for fault in faults:
        async with RawServer(fault) as server:
            client = client_of(server.base_url, sub_account="sub_1")
            for ask in (client.calls.get("c"), client.calls.make("a", "+1")):
                with pytest.raises(AgentPhoneError) as caught:
                    await ask
                error = caught.value
                shown += [str(error), repr(error), str(vars(error))]
                shown += traceback.format_exception(error)
                while (error := error.__cause__ or error.__context__) is not None:
                    shown += [repr(error), str(error.args), str(vars(error))]
    shown += [record.getMessage() + str(record.args) for record in caplog.records]
    assert len(shown) > 50
    assert not [text for text in shown if API_KEY in text]


async def test_what_needs_a_key_says_so_and_sends_nothing(client_of, monkeypatch):
    monkeypatch.delenv("AGENTPHONE_API_KEY", raising=False)
    async with RawServer(WAV) as server:
        client = client_of(server.base_url, api_key=None)
        with pytest.raises(MissingKeyError, match="AGENTPHONE_API_KEY") as caught:
            await client.calls.get("c")
        assert caught.value.path == "/v1/calls/c"
        assert server.requests == []
        await client.calls.get_recording("c")

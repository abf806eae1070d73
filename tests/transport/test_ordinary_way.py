"""Which requests do not take the fast path, and get the same."""

from __future__ import annotations

import aiohttp
import pytest
from aioresponses import aioresponses

from agentphone_async import Settings
from agentphone_async.errors import ConnectionFailedError
from agentphone_async.protocol import endpoints
from agentphone_async.transport import fast_path
from agentphone_async.transport.session import Session
from tests.support.raw_server import RawServer, respond

RECORDING = endpoints.get_recording("call_1")
WAV = respond(body=b"RIFF" * 100, content_type="audio/wav")


@pytest.mark.parametrize("number", range(len(fast_path.CALLED)))
async def test_without_one_of_its_parts_everything_goes_the_ordinary_way(number, monkeypatch):
    called, parameters = fast_path.CALLED[number]
    missing = [(called, {*parameters, "no_such_parameter"})]
    monkeypatch.setattr(fast_path, "CALLED", missing)
    async with RawServer(WAV) as server, Session(Settings(base_url=server.base_url)) as session:
        assert session._clients is not None
        assert session._clients.fast is None
        async with await session.send(RECORDING) as answer:
            assert answer.status == 200


async def test_who_replaces_the_requests_of_all_sessions_gets_these_too():
    with aioresponses() as mocked:
        async with Session(Settings(base_url="http://127.0.0.1:9")) as session:
            url = "http://127.0.0.1:9/v1/calls/call_1/recording"
            mocked.get(url, exception=aiohttp.ServerDisconnectedError())
            with pytest.raises(ConnectionFailedError):
                await session.send(RECORDING)
            assert len(mocked.requests) == 1


async def test_only_what_is_plain_and_public_takes_the_fast_path():
    async with Session(Settings(base_url="http://127.0.0.1:9")) as session:
        fast = session.ready().fast
        with pytest.raises(aiohttp.ClientConnectorError):
            await fast.get(RECORDING)
        for request in OTHERS:
            assert await fast.get(request) is None


OTHERS = (
    endpoints.get_call("call_1"),
    endpoints.get_transcript("call_1"),
    endpoints.stream_transcript("call_1"),
    endpoints.end_call("call_1"),
    RECORDING._replace(authenticated=True),
    RECORDING._replace(query=(("a", "b"),)),
    RECORDING._replace(method="POST", body={}),
)

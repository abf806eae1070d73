"""Apps that use this client can be tested with aioresponses, without any server."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import Mock

import aiohttp
import pytest
from aioresponses import aioresponses

from agentphone_async import AsyncAgentPhone, RecordingNotFoundError
from agentphone_async.emulator import audio_bytes

BASE = "https://api.agentphone.ai"


class Response(aiohttp.ClientResponse):
    """aioresponses 0.7.9 does not know the ``stream_writer`` that aiohttp 3.14 asks for."""

    def __init__(self, method: str, url: Any, **kwargs: Any) -> None:
        super().__init__(method, url, stream_writer=Mock(output_size=0), **kwargs)


async def test_a_recording_comes_from_a_mocked_response(tmp_path: Path):
    audio = audio_bytes(1, "call_1", 1.0)
    with aioresponses() as mocked:
        mocked.get(
            f"{BASE}/v1/calls/call_1/recording",
            body=audio,
            response_class=Response,
            headers={"Content-Type": "audio/wav", "Content-Length": str(len(audio))},
        )
        async with AsyncAgentPhone() as client:
            recording = await client.fetch_recording("call_1", tmp_path)
        (sent,) = next(iter(mocked.requests.values()))
    assert recording.path.read_bytes() == audio
    assert "Authorization" not in sent.kwargs["headers"]


async def test_an_absent_recording_is_one_mocked_404(tmp_path: Path):
    with aioresponses() as mocked:
        mocked.get(
            f"{BASE}/v1/calls/call_1/recording",
            status=404,
            payload={"detail": "none"},
            response_class=Response,
        )
        async with AsyncAgentPhone() as client:
            with pytest.raises(RecordingNotFoundError, match="none"):
                await client.fetch_recording("call_1", tmp_path)


async def test_a_list_is_mocked_with_its_query():
    with aioresponses() as mocked:
        mocked.get(
            f"{BASE}/v1/calls?limit=20&offset=0",
            payload={"data": [{"id": "call_1"}], "hasMore": False},
            response_class=Response,
        )
        async with AsyncAgentPhone("sk_test") as client:
            page = await client.calls.list()
    assert [call.id for call in page.data] == ["call_1"]

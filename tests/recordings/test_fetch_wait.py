"""``wait=``: asking again, patiently but not forever, while a recording has yet to appear."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from agentphone_async.errors import RecordingNotFoundError, ServerError
from agentphone_async.recordings import single
from tests.support.downloads import assert_nothing_left, impatient, wave
from tests.support.raw_server import RawServer, respond

BODY = wave(2_000)
NONE_YET = respond(404)
THERE = respond(200, BODY, content_type="audio/wav")


@pytest.fixture
def pauses(monkeypatch):
    """The pauses that were made; they take no time."""
    made = []
    monkeypatch.setattr(single, "time", SimpleNamespace(monotonic=lambda: 100.0 + sum(made)))

    async def sleep(seconds):
        made.append(seconds)

    monkeypatch.setattr(single, "anyio", SimpleNamespace(sleep=sleep))
    return made


async def test_it_asks_until_the_recording_is_there(pauses, tmp_path):
    script = NONE_YET, NONE_YET, NONE_YET, THERE
    async with RawServer(*script) as server, impatient(server.base_url) as client:
        recording = await client.fetch_recording("call_x", tmp_path, wait=90)
    assert recording.path.read_bytes() == BODY
    assert len(server.requests) == 4
    assert pauses == [1.0, 1.5, 2.25]


async def test_pauses_grow_up_to_a_limit_and_end_with_the_time(pauses, tmp_path):
    async with RawServer(NONE_YET) as server, impatient(server.base_url) as client:
        with pytest.raises(RecordingNotFoundError):
            await client.fetch_recording("call_x", tmp_path, wait=90)
    assert sum(pauses) == pytest.approx(90)
    assert pauses[:-1] == sorted(pauses[:-1])
    assert max(pauses) == single.LONGEST_POLL
    assert len(server.requests) == len(pauses) + 1
    assert_nothing_left(tmp_path)


async def test_without_wait_it_asks_once(pauses, tmp_path):
    async with RawServer(NONE_YET) as server, impatient(server.base_url) as client:
        with pytest.raises(RecordingNotFoundError):
            await client.fetch_recording("call_x", tmp_path)
    assert (len(server.requests), pauses) == (1, [])


async def test_what_appears_at_the_very_last_question_is_taken(pauses, tmp_path):
    async with RawServer(NONE_YET, THERE) as server, impatient(server.base_url) as client:
        recording = await client.fetch_recording("call_x", tmp_path, wait=0.25)
    assert recording.size == len(BODY)
    assert pauses == [0.25]


async def test_only_absence_is_waited_for(pauses, tmp_path):
    async with (
        RawServer(NONE_YET, respond(500)) as server,
        impatient(server.base_url, attempts=1) as client,
    ):
        with pytest.raises(ServerError):
            await client.fetch_recording("call_x", tmp_path, wait=90)
    assert (len(server.requests), pauses) == (2, [1.0])

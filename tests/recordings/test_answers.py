"""What an answer's status and a call's own words mean: not yet, never, or elsewhere."""

from __future__ import annotations

from contextlib import aclosing

import pytest

from agentphone_async.errors import (
    NotAudioError,
    RecordingGoneError,
    RecordingNotFoundError,
    RecordingNotReadyError,
)
from agentphone_async.models import Call
from agentphone_async.recordings.outcomes import Archived, NoRecording, NotReadyYet
from tests.support.downloads import files, impatient, wave
from tests.support.raw_server import RawServer, respond

BODY = wave(2_000)
THERE = respond(200, BODY, content_type="audio/wav")
OLD_CALL = {"id": "call_x", "status": "completed", "endedAt": "2020-01-01T00:00:00Z"}


async def outcome_of(server, tmp_path, call="call_x", **options):
    async with impatient(server.base_url) as client:
        given = Call.from_json(call) if isinstance(call, dict) else call
        async with aclosing(client.download_recordings([given], tmp_path, **options)) as outcomes:
            (outcome,) = [each async for each in outcomes]
    return outcome


@pytest.mark.parametrize("status", [202, 409, 423, 425])
@pytest.mark.parametrize("after", [None, "7"])
async def test_many_words_for_not_yet(status, after, tmp_path):
    async with RawServer(respond(status, b"", retry_after=after)) as server:
        outcome = await outcome_of(server, tmp_path, OLD_CALL)
        assert isinstance(outcome, NotReadyYet), "however old the call is"
        assert outcome.told
        assert outcome.retry_after == (None if after is None else 7.0)
        async with impatient(server.base_url) as client:
            with pytest.raises(RecordingNotReadyError):
                await client.fetch_recording("call_x", tmp_path)
    assert len(server.requests) == 2
    assert files(tmp_path) == {}


async def test_410_is_for_good(tmp_path):
    async with RawServer(respond(410)) as server:
        outcome = await outcome_of(server, tmp_path, wait=60)
        assert isinstance(outcome, NoRecording)
        assert outcome.gone
        async with impatient(server.base_url) as client:
            with pytest.raises(RecordingGoneError):
                await client.fetch_recording("call_x", tmp_path, wait=60)
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("available", "contradicted"), [(True, True), (False, False), (None, False)]
)
async def test_a_404_against_the_calls_own_word_is_said(available, contradicted, tmp_path):
    async with RawServer(respond(404)) as server:
        call = {**OLD_CALL, "recordingAvailable": available}
        outcome = await outcome_of(server, tmp_path, call)
    assert isinstance(outcome, NoRecording)
    assert outcome.contradicted is contradicted


@pytest.mark.parametrize(
    ("status", "headers", "kept"),
    [
        (203, {}, True),
        (201, {}, False),
        (226, {}, False),
        (206, {"content_range": "bytes 0-1999/2000"}, True),
        (206, {"content_range": "bytes 0-1999/2001"}, False),
        (206, {"content_range": "bytes 1-2000/2001"}, False),
        (206, {"content_range": "bytes 0-1999/*"}, False),
        (206, {}, False),
    ],
)
async def test_what_holds_the_whole_recording_is_taken(status, headers, kept, tmp_path):
    script = respond(status, BODY, content_type="audio/wav", **headers)
    async with RawServer(script) as server, impatient(server.base_url) as client:
        if kept:
            assert (await client.fetch_recording("call_x", tmp_path)).size == 2000
            assert len(await client.calls.get_recording("call_x")) == 2000
            assert sum([len(chunk) async for chunk in client.stream_recording("call_x")]) == 2000
        else:
            with pytest.raises(NotAudioError):
                await client.fetch_recording("call_x", tmp_path)
            with pytest.raises(NotAudioError):
                await anext(client.stream_recording("call_x"))


@pytest.mark.parametrize(
    "link",
    [
        "/files/x.wav?token=secret",
        "/v1/calls/call_x/recording?token=secret",
        "{other}/x.wav?t=secret",
    ],
)
async def test_a_recording_url_elsewhere_is_tried_without_the_key(link, tmp_path, caplog):
    async with RawServer(THERE) as other, RawServer(respond(404), THERE) as server:
        url = link.replace("{other}", other.base_url)
        outcome = await outcome_of(server, tmp_path, {**OLD_CALL, "recordingUrl": url})
        requests = [*server.requests, *other.requests]
    assert isinstance(outcome, Archived)
    assert files(tmp_path) == {"recording-call_x.wav": BODY}
    assert len(requests) == 2
    assert all("authorization" not in request.headers for request in requests)
    assert requests[1].target.endswith(url.removeprefix(other.base_url))
    assert "secret" not in repr(outcome.recording) + caplog.text


@pytest.mark.parametrize(
    "link",
    [
        "/v1/calls/call_x/recording",
        "https://api.agentphone.ai/v1/calls/call_x/recording",
        "ftp://127.0.0.1/x.wav",
        "http://user:secret@127.0.0.1/x.wav",
        "http://example.com/x.wav",
        "http://[bad",
        "",
    ],
)
async def test_a_recording_url_that_leads_nowhere_else_is_not(link, tmp_path):
    async with RawServer(respond(404), THERE) as server:
        outcome = await outcome_of(server, tmp_path, {**OLD_CALL, "recordingUrl": link})
    assert isinstance(outcome, NoRecording)
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [401, 403, 404, 410])
async def test_what_refuses_there_is_the_404_that_was_met_before(status, tmp_path):
    async with RawServer(respond(404), respond(status)) as server:
        outcome = await outcome_of(server, tmp_path, {**OLD_CALL, "recordingUrl": "/x.wav?t=1"})
    assert isinstance(outcome, NoRecording)
    assert len(server.requests) == 2


async def test_an_old_call_that_never_connected_is_not_waited_for(tmp_path):
    call = {"id": "call_x", "status": "busy", "startedAt": "2026-11-28T00:00:00Z"}
    async with RawServer(respond(404)) as server:
        outcome = await outcome_of(server, tmp_path, {**call, "recordingAvailable": False})
        assert isinstance(outcome, NoRecording)


async def test_that_there_is_none_names_the_call(tmp_path):
    async with RawServer(respond(404)) as server, impatient(server.base_url) as client:
        with pytest.raises(RecordingNotFoundError) as caught:
            await client.fetch_recording("call_x", tmp_path)
    assert caught.value.call_id == "call_x"

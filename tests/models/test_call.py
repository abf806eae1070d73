"""What an API call says, whatever is missing from it; pages of calls."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from agentphone_async.models import (
    Call,
    CallPage,
    RecordingState,
)
from tests.models.documented import CALL, JSON_VALUES

wire_names = [field.alias or name for name, field in Call.model_fields.items() if name != "id"]


def test_the_documented_call():
    call = Call.from_json(CALL)
    assert call.from_number == "+15559870000"
    assert call.started_at == datetime(2025, 1, 15, 14, tzinfo=UTC)
    assert call.ended_at == datetime(2025, 1, 15, 14, 5, 30, 250_000, tzinfo=UTC)
    assert call.duration_seconds == 330.25
    assert call.is_finished
    assert call.recording_state is RecordingState.AVAILABLE
    assert call.raw == CALL
    assert call["somethingNew"] == {"deep": [1, 2]}
    assert call.get("nothing", 7) == 7
    assert "somethingNew" in call
    assert "nothing" not in call


@given(st.dictionaries(st.sampled_from(wire_names), JSON_VALUES))
def test_no_field_but_the_id_can_make_a_call_unreadable(fields: dict[str, Any]):
    call = Call.from_json({"id": "c", **fields})
    assert call.id == "c"
    assert call.raw == {"id": "c", **fields} or "nan" in str(fields)
    for moment in (call.started_at, call.ended_at):
        assert moment is None or moment.tzinfo is not None
    assert isinstance(call.is_finished, bool)
    assert isinstance(call.recording_state, RecordingState)


@pytest.mark.parametrize("bad", [{}, {"id": None}, {"id": ""}, {"id": True}, {"id": ["x"]}])
def test_without_an_id_there_is_no_call(bad: dict[str, Any]):
    with pytest.raises(ValidationError):
        Call.from_json(bad)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2025-01-15T14:00:00Z", datetime(2025, 1, 15, 14, tzinfo=UTC)),
        ("2025-01-15T14:00:00.123Z", datetime(2025, 1, 15, 14, 0, 0, 123_000, tzinfo=UTC)),
        ("2025-01-15T15:00:00+01:00", datetime(2025, 1, 15, 14, tzinfo=UTC)),
        ("2025-01-15T14:00:00", datetime(2025, 1, 15, 14, tzinfo=UTC)),
        ("1970-01-01T00:00:00Z", datetime(1970, 1, 1, tzinfo=UTC)),
        ("2106-02-07T06:28:16Z", datetime(2106, 2, 7, 6, 28, 16, tzinfo=UTC)),
        ("9999-01-01T00:00:00Z", datetime(9999, 1, 1, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", None),
        ("0001-01-01T00:00:00+14:00", None),
        ("9999-12-31T23:59:59-12:00", None),
        ("yesterday", None),
        ("", None),
        (None, None),
        ([], None),
    ],
)
def test_moments_are_aware_or_none(text: Any, moment: datetime | None):
    assert Call.from_json({"id": "c", "startedAt": text}).started_at == moment


def test_an_offset_is_kept():
    call = Call.from_json({"id": "c", "startedAt": "2025-01-15T15:00:00+01:00"})
    assert call.started_at is not None
    assert call.started_at.utcoffset() == timedelta(hours=1)
    assert call.started_at.tzinfo != timezone.min


NOW = datetime(2025, 1, 15, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("status", "start", "end", "finished"),
    [
        ("queued", None, None, False),
        ("registered", None, None, False),
        ("ringing", -9999, None, False),
        ("in-progress", -9999, None, False),
        ("in_progress", None, None, False),
        ("In Progress", None, None, False),
        ("ongoing", None, None, False),
        ("completed", -1, None, True),
        ("failed", -1, None, True),
        ("busy", -1, None, True),
        ("no-answer", -1, None, True),
        ("no_answer", -1, None, True),
        ("canceled", -1, None, True),
        ("not_connected", -1, None, True),
        ("voicemail", -1, None, True),
        ("never-heard-of", -60, None, False),
        ("never-heard-of", -60, -1, True),
        ("never-heard-of", -239, None, False),
        ("never-heard-of", -240, None, True),
        ("never-heard-of", None, None, True),
        (None, -60, None, False),
        (None, None, None, True),
    ],
)
def test_a_known_status_decides_and_dates_do_for_others(status, start, end, finished):
    dates = {
        name: (NOW + timedelta(minutes=minutes)).isoformat()
        for name, minutes in (("startedAt", start), ("endedAt", end))
        if minutes is not None
    }
    assert Call.from_json({"id": "c", "status": status, **dates}).finished_at(NOW) is finished


def test_is_finished_judges_by_the_clock_of_today():
    young = {"id": "c", "status": "odd", "startedAt": datetime.now(UTC).isoformat()}
    assert not Call.from_json(young).is_finished
    assert Call.from_json(young | {"startedAt": "2020-01-01T00:00:00Z"}).is_finished


@pytest.mark.parametrize(
    ("status", "seconds", "never"),
    [
        ("busy", None, True),
        ("no-answer", 0, True),
        ("no_answer", None, True),
        ("not_connected", None, True),
        ("canceled", None, True),
        ("failed", None, True),
        ("failed", 12, False),
        ("voicemail", None, False),
        ("completed", None, False),
        ("in-progress", None, False),
        (None, None, False),
    ],
)
def test_calls_that_nobody_talked_on_never_connected(status, seconds, never):
    call = Call.from_json({"id": "c", "status": status, "durationSeconds": seconds})
    assert call.never_connected is never


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({"status": "in-progress", "recordingAvailable": True}, RecordingState.CALL_IN_PROGRESS),
        ({"recordingAvailable": True, "recordingUrl": None}, RecordingState.AVAILABLE),
        ({"recordingUrl": "https://x"}, RecordingState.AVAILABLE),
        ({"recordingAvailable": False}, RecordingState.UNAVAILABLE),
        ({}, RecordingState.UNKNOWN),
        ({"recordingAvailable": None, "recordingUrl": ""}, RecordingState.UNKNOWN),
    ],
)
def test_what_a_call_says_of_its_recording(fields: dict[str, Any], state: RecordingState):
    assert Call.from_json({"id": "c", "status": "completed", **fields}).recording_state is state


def test_transcripts_of_a_call():
    call = Call.from_json(
        {
            "id": "c",
            "transcripts": [
                {
                    "id": "t",
                    "transcript": "Hi",
                    "response": None,
                    "confidence": 0.5,
                    "createdAt": "x",
                }
            ],
        }
    )
    assert call.transcripts[0].transcript == "Hi"
    assert call.transcripts[0].created_at is None
    assert Call.from_json({"id": "c", "transcripts": [5]}).transcripts == []


def test_pages():
    page = CallPage.from_json({"data": [CALL, {"id": []}], "hasMore": True, "total": 2})
    assert [call.id for call in page.data] == ["call_ghi012"]
    assert (page.has_more, page.total) == (True, 2)
    assert [(problem.row, problem.raw) for problem in page.problems] == [(1, {"id": []})]


@given(st.dictionaries(st.sampled_from(["data", "hasMore", "total"]), JSON_VALUES))
def test_every_page_with_a_list_is_readable(fields: dict[str, Any]):
    if not isinstance(fields.get("data"), list):
        with pytest.raises(ValueError, match="no list"):
            CallPage.from_json(fields)
        return
    page = CallPage.from_json(fields)
    assert isinstance(page.has_more, bool)
    assert page.total is None or type(page.total) is int


@pytest.mark.parametrize(
    ("link", "stored"),
    [
        ("https://s3.example/a.wav?X-Amz-Signature=1#f", "https://s3.example/a.wav"),
        ("https://s3.example/a.wav#token", "https://s3.example/a.wav"),
        ("https://me:secret@s3.example/a@b.wav", "https://s3.example/a@b.wav"),
        ("//me:secret@s3.example/a.wav", "//s3.example/a.wav"),
        ("/v1/calls/c/recording", "/v1/calls/c/recording"),
        (None, None),
        (5, 5),
    ],
)
def test_what_is_stored_of_a_call_has_no_token(link, stored):
    call = Call.from_json({"id": "c", "recordingUrl": link, "x": 1})
    assert call.without_tokens() == {"id": "c", "recordingUrl": stored, "x": 1}
    assert call.raw["recordingUrl"] == link


def test_an_id_that_came_as_a_number_is_taken():
    assert Call.from_json({"id": 17}).id == "17"

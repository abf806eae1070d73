from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from agentphone_async.models import (
    AgentList,
    Call,
    CallPage,
    CallRecording,
    ConnectedEvent,
    EndedEvent,
    PhoneNumberList,
    RecordingState,
    Transcript,
    TranscriptEvent,
    TurnEvent,
    Usage,
    WebCall,
)

CALL = {
    "id": "call_ghi012",
    "agentId": "agt_abc123",
    "agentName": None,
    "phoneNumberId": "num_xyz789",
    "phoneNumber": "+15551230000",
    "fromNumber": "+15559870000",
    "toNumber": "+15551230000",
    "direction": "inbound",
    "status": "completed",
    "startedAt": "2025-01-15T14:00:00Z",
    "endedAt": "2025-01-15T14:05:30.250Z",
    "durationSeconds": 330.25,
    "lastTranscriptSnippet": "…",
    "recordingUrl": "https://api.agentphone.ai/v1/calls/call_ghi012/recording",
    "recordingAvailable": True,
    "somethingNew": {"deep": [1, 2]},
}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
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


@given(st.dictionaries(st.sampled_from(wire_names), json_values))
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


@given(st.dictionaries(st.sampled_from(["data", "hasMore", "total"]), json_values))
def test_every_page_with_a_list_is_readable(fields: dict[str, Any]):
    if not isinstance(fields.get("data"), list):
        with pytest.raises(ValueError, match="no list"):
            CallPage.from_json(fields)
        return
    page = CallPage.from_json(fields)
    assert isinstance(page.has_more, bool)
    assert page.total is None or type(page.total) is int


SHAPES = {
    "transcript": {
        "callId": "c",
        "transcript": [
            {"role": "user", "content": "Hi", "createdAt": "2025-01-15T14:00:00Z"},
            {"role": "agent", "content": "Hello", "createdAt": "2025-01-15T14:00:00Z"},
        ],
    },
    "data": {
        "data": [
            {
                "id": "t",
                "transcript": "Hi",
                "response": "Hello",
                "confidence": 0.9,
                "createdAt": "2025-01-15T14:00:00Z",
            }
        ]
    },
    "transcripts": {
        "transcripts": [
            {"transcript": "Hi", "response": None, "createdAt": "2025-01-15T14:00:00Z"},
            {"transcript": None, "response": "Hello", "createdAt": "2025-01-15T14:00:00Z"},
        ]
    },
}


@pytest.mark.parametrize(
    "data",
    [
        SHAPES["transcript"]["transcript"],
        [{"transcript": "Hi", "response": "Hello"}],
        {"transcript": [{"speaker": "User", "text": "Hi"}, {"speaker": "AI", "text": "Hello"}]},
        [{"speaker": "caller", "text": "Hi"}, {"speaker": "assistant", "text": "Hello"}],
        {"callId": 7, "transcript": "User: Hi\nAgent: Hello\n"},
        "user: Hi\r\n\r\nagent:  Hello",
        ["User: Hi", "Agent: Hello"],
    ],
)
def test_other_shapes_of_transcripts(data):
    transcript = Transcript.from_json(data)
    assert [(turn.role, turn.content) for turn in transcript.turns] == [
        ("user", "Hi"),
        ("agent", "Hello"),
    ]
    assert transcript.raw == (data if isinstance(data, dict) else {"transcript": data})
    assert transcript.call_id == ("7" if "callId" in data else None)


def test_text_without_speakers_and_speakers_of_their_own():
    transcript = Transcript.from_json("Hello: there\nno speaker here\nDr. Grey: It's 10:30")
    assert [(turn.role, turn.content) for turn in transcript.turns] == [
        ("Hello", "there"),
        (None, "no speaker here"),
        ("Dr. Grey", "It's 10:30"),
    ]


def test_rows_of_speakers_say_when():
    row = {"speaker": "agent", "text": "Hi", "timestamp": "2025-01-15T14:00:00Z"}
    (turn,) = Transcript.from_json([row]).turns
    assert turn.created_at == datetime(2025, 1, 15, 14, tzinfo=UTC)
    (turn,) = Transcript.from_json([row | {"timestamp": 12.5}]).turns
    assert (turn.role, turn.created_at) == ("agent", None)
    for moment in (1_736_949_600, 1_736_949_600_000.0):
        (turn,) = Transcript.from_json([row | {"timestamp": moment}]).turns
        assert turn.created_at == datetime(2025, 1, 15, 14, tzinfo=UTC)


@pytest.mark.parametrize(
    "data",
    [
        {"turns": [{"role": "user", "content": "Hi"}]},
        {"messages": [{"role": "user", "content": "Hi"}]},
        {"data": {"callId": "c", "transcript": [{"role": "user", "content": "Hi"}]}},
        {"transcript": {"turns": ["User: Hi"]}},
    ],
)
def test_turns_under_other_names_or_a_level_deeper(data: dict[str, Any]):
    (turn,) = Transcript.from_json(data).turns
    assert (turn.role, turn.content) == ("user", "Hi")
    deep: dict[str, Any] = {"data": data}
    for _ in range(900):
        deep = {"data": deep}
    assert Transcript.from_json(deep).turns == []


@pytest.mark.parametrize("shape", SHAPES)
def test_the_three_shapes_of_transcripts(shape: str):
    transcript = Transcript.from_json(SHAPES[shape])
    assert [(turn.role, turn.content) for turn in transcript.turns] == [
        ("user", "Hi"),
        ("agent", "Hello"),
    ]
    assert all(
        turn.created_at == datetime(2025, 1, 15, 14, tzinfo=UTC) for turn in transcript.turns
    )
    assert transcript.raw == SHAPES[shape]
    assert transcript.call_id == ("c" if shape == "transcript" else None)


@given(
    st.dictionaries(st.sampled_from(["callId", "transcript", "data", "transcripts"]), json_values)
)
def test_every_transcript_is_readable_that_has_one(fields: dict[str, Any]):
    if fields and not fields.keys() - {"callId"}:
        with pytest.raises(ValueError, match="no list"):
            Transcript.from_json(fields)
    else:
        assert Transcript.from_json(fields).raw == fields


def test_ids_that_are_numbers_are_their_digits():
    call = Call.from_json({"id": 12, "agentId": 3, "phoneNumberId": 4})
    assert (call.id, call.agent_id, call.phone_number_id) == ("12", "3", "4")
    assert call.raw["id"] == 12
    assert WebCall.from_json({"accessToken": "t", "callId": 5}).call_id == "5"
    with pytest.raises(ValidationError):
        Call.from_json({"id": True})


def test_models_become_dicts():
    call = Call.from_json(CALL | {"new": {"a": [1]}})
    copy = call.to_dict()
    assert json.loads(json.dumps(copy)) == call.raw
    copy["new"]["a"].append(2)
    assert call.raw["new"] == {"a": [1]}
    made = Call(id="c", started_at=datetime(2025, 1, 15, 14, tzinfo=UTC))
    assert made.to_dict()["startedAt"] == "2025-01-15T14:00:00Z"


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


def test_the_accounts_numbers_agents_and_usage():
    numbers = PhoneNumberList.from_json(
        {"data": [{"id": 1, "phoneNumber": "+1555"}, {"phoneNumber": "+1556"}, None], "total": 3}
    )
    assert [(line.id, line.phone_number) for line in numbers.data] == [("1", "+1555")]
    assert (numbers.has_more, numbers.total) == (None, 3)
    why = "not a number: its id is missing or is not text"
    bad = [(problem.row, problem.message) for problem in numbers.problems]
    assert bad == [(1, why), (2, why)]
    agents = AgentList.from_json({"data": [{"id": "agt_1", "numbers": [{"id": "num_1"}]}]})
    assert agents.data[0].numbers[0].raw == {"id": "num_1"}
    usage = Usage.from_json(
        {
            "plan": {"limits": {"concurrentCalls": 5, "maxCallDurationMinutes": 60}},
            "stats": {"totalCalls": 9, "callsLast24h": 2},
            "periodStart": "2025-01-01T00:00:00Z",
        }
    )
    assert usage.plan.limits.concurrent_calls == 5
    assert (usage.stats.total_calls, usage.stats.calls_last_24h) == (9, 2)
    assert usage.stats["totalCalls"] == 9
    assert usage.numbers.limit is None
    with pytest.raises(ValueError, match="no list"):
        AgentList.from_json({})


def test_numbers_stay_whole_where_they_are():
    call = Call.from_json(CALL | {"durationSeconds": 65})
    assert f"{call.duration_seconds:03d}" == "065"
    assert Call.from_json(CALL | {"durationSeconds": 65.5}).duration_seconds == 65.5


def test_answers_are_mappings_of_their_wire_names():
    web = WebCall.from_json({"accessToken": "t", "callId": "c"})
    assert {**web} == dict(web) == web.raw
    assert list(web) == list(web.keys()) == ["accessToken", "callId"]
    assert list(web.items()) == [("accessToken", "t"), ("callId", "c")]
    assert list(web.values()) == ["t", "c"]
    assert len(web) == 2
    assert Transcript.from_json({}), "an answer, even if it is empty"


def test_events_are_typed_by_their_name():
    assert isinstance(TranscriptEvent.make("connected", {"callId": "c"}), ConnectedEvent)
    turn = TranscriptEvent.make("turn", {"role": "user", "content": "Hi", "createdAt": "nonsense"})
    assert isinstance(turn, TurnEvent)
    assert (turn.content, turn.created_at) == ("Hi", None)
    assert isinstance(TranscriptEvent.make("ended", {"durationSeconds": "12"}), EndedEvent)
    other = TranscriptEvent.make("mood", {"event": "liar", "x": 1})
    assert (type(other), other.event, other.data) == (
        TranscriptEvent,
        "mood",
        {"event": "liar", "x": 1},
    )


def test_secrets_are_not_shown():
    web = WebCall.from_json({"accessToken": "tok_secret", "callId": "c"})
    assert web["accessToken"] == web.access_token == "tok_secret"
    assert "tok_secret" not in repr(web)
    assert "RIFF" not in repr(CallRecording(b"RIFF", "audio/wav"))


def test_a_recording_is_bytes():
    recording = CallRecording(b"RIFF", "audio/wav")
    assert bytes(recording) == b"RIFF"
    assert len(recording) == 4


def test_values_do_not_change():
    call = Call.from_json(CALL)
    with pytest.raises(ValidationError, match="frozen"):
        call.status = "failed"
    assert json.dumps(call.raw)


def test_an_id_that_came_as_a_number_is_taken():
    assert Call.from_json({"id": 17}).id == "17"

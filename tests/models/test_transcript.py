"""A transcript in each of its shapes, and the events of a live one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentphone_async.models import (
    ConnectedEvent,
    EndedEvent,
    Transcript,
    TranscriptEvent,
    TurnEvent,
)
from tests.models.documented import JSON_VALUES

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
    st.dictionaries(st.sampled_from(["callId", "transcript", "data", "transcripts"]), JSON_VALUES)
)
def test_every_transcript_is_readable_that_has_one(fields: dict[str, Any]):
    if fields and not fields.keys() - {"callId"}:
        with pytest.raises(ValueError, match="no list"):
            Transcript.from_json(fields)
    else:
        assert Transcript.from_json(fields).raw == fields


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

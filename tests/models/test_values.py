"""What all answers have in common: mappings, secrets, numbers, dicts; numbers, agents and usage."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from agentphone_async.models import (
    AgentList,
    Call,
    CallRecording,
    PhoneNumberList,
    Transcript,
    Usage,
    WebCall,
)
from tests.models.documented import CALL


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

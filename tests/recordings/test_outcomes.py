from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from agentphone_async.models import Call
from agentphone_async.recordings.outcomes import GRACE, may_still_come

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def call(status: str = "completed", **fields: object) -> Call:
    return Call.from_json({"id": "c", "status": status, **fields})


def ago(**span: float) -> str:
    return (NOW - timedelta(**span)).isoformat()


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (call("in-progress", startedAt=ago(days=9)), True),
        (call("ringing"), True),
        (call(endedAt=ago(hours=23, minutes=59)), True),
        (call(endedAt=ago(hours=24)), False),
        (call(endedAt=ago(days=3)), False),
        (call(startedAt=ago(hours=1)), True),
        (call(startedAt=ago(hours=25)), False),
        (call(startedAt=ago(hours=30), endedAt=ago(hours=1)), True),
        (call(), False),
        (call("never-heard-of", endedAt=ago(hours=1)), True),
        (call(endedAt=ago(hours=-1)), True),
        (call(endedAt="rubbish"), False),
    ],
)
def test_the_age_of_the_call_decides(made: Call, expected: bool):
    assert may_still_come(made, NOW) is expected


def test_the_grace_can_be_chosen():
    assert not may_still_come(call(endedAt=ago(minutes=10)), NOW, timedelta(minutes=5))
    assert not may_still_come(call(endedAt=ago(seconds=0)), NOW, timedelta(0))
    assert timedelta(hours=1) < GRACE

"""The decision about each call, as a table."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from agentphone_async.archive.catalog.rows import RecordingRow
from agentphone_async.archive.options import RunOptions
from agentphone_async.archive.plan import Step, next_step
from agentphone_async.models import Call

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
YOUNG, OLD = NOW - timedelta(hours=1), NOW - timedelta(days=3)
PLAIN, RECHECK, PROBE, REFRESH = (
    RunOptions(),
    RunOptions(recheck=True),
    RunOptions(probe_all=True),
    RunOptions(refresh=True),
)
PATIENT = RunOptions(min_age=timedelta(hours=2))


def call(
    ended: datetime | None = OLD, *, status: str = "completed", hint: bool | None = None
) -> Call:
    return Call.from_json(
        {
            "id": "x",
            "status": status,
            "endedAt": ended.isoformat() if ended else None,
            "recordingAvailable": hint,
        }
    )


def row(state: str, attempts: int = 1) -> RecordingRow:
    return RecordingRow("x", state, OLD, OLD, attempts=attempts)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("the_call", "known", "changed", "options", "step"),
    [
        (call(), None, False, PLAIN, Step.FETCH),
        (call(None), None, False, PLAIN, Step.FETCH),
        (call(status="a new one"), None, False, PLAIN, Step.FETCH),
        (call(status="in-progress"), None, False, PROBE, Step.NOT_READY),
        (call(status="ringing"), row("archived"), False, REFRESH, Step.KEEP),
        (call(), row("archived"), True, PLAIN, Step.KEEP),
        (call(), row("suspect"), False, RECHECK, Step.KEEP),
        (call(), row("archived"), False, REFRESH, Step.FETCH),
        (call(), row("failed"), False, PLAIN, Step.FETCH),
        (call(), row("not_ready"), False, PLAIN, Step.FETCH),
        (call(), row("no_recording"), False, PLAIN, Step.NO_RECORDING),
        (call(), row("no_recording"), True, PLAIN, Step.FETCH),
        (call(), row("no_recording"), False, RECHECK, Step.FETCH),
        (call(), row("no_recording"), False, PROBE, Step.NO_RECORDING),
        (call(), row("no_recording", attempts=0), False, PROBE, Step.FETCH),
        (call(YOUNG), row("no_recording"), False, PLAIN, Step.FETCH),
        (call(hint=False), None, False, PLAIN, Step.NO_RECORDING),
        (call(hint=False), None, False, PROBE, Step.FETCH),
        (call(hint=False), None, False, RECHECK, Step.FETCH),
        (call(YOUNG, hint=False), None, False, PLAIN, Step.FETCH),
        (call(hint=True), row("no_recording"), False, PLAIN, Step.NO_RECORDING),
        (call(YOUNG), None, False, PATIENT, Step.NOT_READY),
        (call(YOUNG), row("archived"), False, PATIENT, Step.KEEP),
        (call(), None, False, PATIENT, Step.FETCH),
        (call(NOW + timedelta(hours=5)), None, False, PLAIN, Step.FETCH),
    ],
)
def test_next_step(the_call, known, changed, options, step):
    assert next_step(the_call, known, changed=changed, options=options, now=NOW) is step

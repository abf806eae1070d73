"""What is to be done about a call in this run? A pure decision, from the call and its row.

"Not ready" is not "never": the API answers 404 for both, so only the call's age tells them apart.
A recording that is not ready, or failed, is asked for again in every run; one that does not exist
only on demand, or when the call itself has changed since.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime, timedelta

from agentphone_async.archive.catalog.rows import RecordingRow
from agentphone_async.models import Call, RecordingState
from agentphone_async.protocol.absence import GRACE, may_still_come


class Step(enum.Enum):
    """What to do next about a call."""

    KEEP = "keep"
    """It is archived; the disk has to agree."""
    FETCH = "fetch"
    NOT_READY = "not_ready"
    """Do not ask now; a later run will."""
    NO_RECORDING = "no_recording"
    """Do not ask any more."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The part of a run's options that this decision takes; `RunOptions` says what they mean."""

    grace: timedelta = GRACE
    min_age: timedelta = timedelta(0)
    recheck: bool = False
    probe_all: bool = False
    refresh: bool = False


def next_step(
    call: Call, known: RecordingRow | None, *, changed: bool, policy: Policy, now: datetime
) -> Step:
    """What to do about a call that is wanted.

    Args:
        call: as the server lists it now.
        known: its recording's row; None if there is none.
        changed: the call's JSON differs from the one that the catalog has.
        policy: this run's.
        now: the wall clock, aware.
    """
    if known is not None and known.on_disk:
        return Step.FETCH if policy.refresh and call.is_finished else Step.KEEP
    if not call.is_finished or is_too_young(call, policy.min_age, now):
        return Step.NOT_READY
    if policy.recheck or may_still_come(call, now, policy.grace):
        return Step.FETCH
    if known is not None and known.state == "no_recording" and not changed:
        asked = known.attempts > 0  # if not, the call's own word was taken for it
        if asked or not policy.probe_all:
            return Step.NO_RECORDING
    if call.recording_state is RecordingState.UNAVAILABLE and not policy.probe_all:
        return Step.NO_RECORDING
    return Step.FETCH


def is_too_young(call: Call, min_age: timedelta, now: datetime) -> bool:
    """Whether a call ended less than ``min_age`` ago."""
    ended = call.ended_at or call.started_at
    return bool(min_age) and ended is not None and now - ended < min_age

"""A transcript as a text that people read; nothing in it that a terminal would obey."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo

from agentphone_async.models import Call, Transcript, TranscriptTurn
from agentphone_async.protocol.display import printable

_LONGEST = 10**9


def transcript_text(call: Call, transcript: Transcript, zone: tzinfo = UTC) -> str:
    """What was said: a line about the call, then one paragraph a turn, with time and role.

    Times are of ``zone``. The call's id is left out: who has the text need not have the audio.
    """
    lines = [_about(call, zone), ""]
    for turn in transcript.turns:
        lines += _turn(turn, zone)
    return "\n".join(lines) + "\n"


def _about(call: Call, zone: tzinfo) -> str:
    began = _local(call.started_at, zone)
    parts = [
        f"Call of {began:%Y-%m-%d %H:%M:%S %Z}".rstrip() if began else "Call of an unknown time",
        call.direction,
        f"from {call.from_number or '?'} to {call.to_number or '?'}",
    ]
    return ", ".join(printable(part, 100) for part in parts if part)


def _turn(turn: TranscriptTurn, zone: tzinfo) -> list[str]:
    at = _local(turn.created_at, zone)
    clock = f"{at:%H:%M:%S}" if at else "--:--:--"
    first, *rest = (turn.content or "").splitlines() or [""]
    said = f"[{clock}] {printable(turn.role or '?', 40)}: {printable(first, _LONGEST)}"
    return [said, *(f"    {printable(line, _LONGEST)}" for line in rest)]


def _local(moment: datetime | None, zone: tzinfo) -> datetime | None:
    try:
        return None if moment is None else moment.astimezone(zone)
    except (OverflowError, ValueError):  # the first or last hours that a datetime can express
        return None

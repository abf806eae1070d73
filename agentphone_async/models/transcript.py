"""What was said: at once, or event by event."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from agentphone_async.models.base import ApiModel, Moment, Number, OtherId, Text


class TranscriptTurn(ApiModel):
    """One thing that one side said."""

    role: Text = None
    content: Text = None
    created_at: Moment = None
    confidence: Number = None


class Transcript(ApiModel):
    """A call's transcript, whichever of the API's shapes it came in.

    Attributes:
        call_id: the call; None where the answer does not repeat it.
        turns: what was said, in order; role is ``user`` or ``agent``, or what the API calls the
            speaker.
    """

    call_id: OtherId = None
    turns: list[TranscriptTurn] = Field(default_factory=list)

    @classmethod
    def from_json(cls, data: Mapping[str, Any] | list[Any] | str) -> Transcript:
        """Make one from ``{transcript: …}``, ``{data: …}``, ``{transcripts: …}``, a list, or text.

        Rows are ``{role, content, createdAt}``, ``{speaker, text, timestamp}`` or
        ``{transcript, response}``; text is a line for each turn, with the speaker before a colon.

        Raises:
            ValueError: it is none of these, not even with null for its list.
        """
        said = _said(data)
        if isinstance(said, str):
            turns = [_line(line) for line in said.splitlines() if line.strip()]
        else:
            rows = said if isinstance(said, list) else []
            turns = [turn for row in rows for turn in _turns(row)]
        raw = dict(data) if isinstance(data, Mapping) else {"transcript": data}
        call_id = raw.get("callId")
        transcript = cls.model_construct(
            call_id=None if call_id is None or isinstance(call_id, bool) else str(call_id),
            turns=turns,
        )
        transcript._raw = raw
        return transcript


_TURNS = ("transcript", "data", "transcripts", "turns", "messages")
"""Where the turns may be; in the order in which they are looked for."""

_EARLIEST = 946_684_800
"""The year 2000, in unix seconds: smaller numbers count from the call's beginning."""

_MILLISECONDS = 100_000_000_000
"""From here on a unix time is in milliseconds."""

_SPEAKER = re.compile(r"\s*([A-Za-z][\w .'-]{0,40}?)\s*:\s*(.*)")
_ROLES = {"assistant": "agent", "bot": "agent", "ai": "agent", "caller": "user", "human": "user"}


def _said(data: Any) -> Any:
    """The turns in an answer, a level or two deep; none if it has null for them."""
    if isinstance(data, Mapping) and data and not any(name in data for name in _TURNS):
        raise ValueError("there is no list of turns")
    for _ in range(3):
        if isinstance(data, Mapping):
            data = next((data[name] for name in _TURNS if data.get(name) is not None), [])
    return data


def _moment(at: Any) -> Any:
    """A time as ISO 8601 or in unix seconds; seconds from the call's beginning are left out."""
    if not isinstance(at, int | float) or isinstance(at, bool):
        return at
    return (at / 1000 if at >= _MILLISECONDS else at) if at >= _EARLIEST else None


def _line(line: str) -> TranscriptTurn:
    """A line of plain text: ``Agent: Hello``."""
    found = _SPEAKER.fullmatch(line.rstrip())
    if found is None:
        return TranscriptTurn(content=line.strip())
    return TranscriptTurn(role=_role(found[1]), content=found[2])


def _role(speaker: str) -> str:
    plain = speaker.strip().lower()
    known = _ROLES.get(plain, plain)
    return known if known in {"user", "agent"} else speaker


def _turns(row: Any) -> list[TranscriptTurn]:
    if isinstance(row, str):
        return [_line(row)] if row.strip() else []
    if not isinstance(row, dict):
        return []
    if "role" in row or "content" in row:
        return [TranscriptTurn.from_json(row)]
    if "speaker" in row or "text" in row:
        speaker, at = row.get("speaker"), row.get("createdAt", row.get("timestamp"))
        said = {
            "role": _role(speaker) if isinstance(speaker, str) else None,
            "content": row.get("text"),
            "createdAt": _moment(at),
            "confidence": row.get("confidence"),
        }
        return [TranscriptTurn.from_json(said)]
    shared = {"createdAt": row.get("createdAt")}
    turns = []
    if row.get("transcript"):
        said = {"role": "user", "content": row["transcript"], "confidence": row.get("confidence")}
        turns.append(TranscriptTurn.from_json(said | shared))
    if row.get("response"):
        answer = {"role": "agent", "content": row["response"]}
        turns.append(TranscriptTurn.from_json(answer | shared))
    return turns


class TranscriptEvent(ApiModel):
    """One event of a live transcript; ``event`` tells which of the three kinds.

    ``event["event"]`` and ``event["data"]`` work as with the official SDK.
    """

    event: str

    @property
    def data(self) -> dict[str, Any]:
        """The event's JSON as it came."""
        data: dict[str, Any] = self._raw["data"]
        return data

    @classmethod
    def make(cls, event: str, data: Mapping[str, Any]) -> TranscriptEvent:
        """Make the typed event for a name; one that is not known here is a plain one."""
        kind = _EVENTS.get(event, TranscriptEvent)
        made = kind.model_validate({**data, "event": event})
        made._raw = {"event": event, "data": dict(data)}
        return made


class ConnectedEvent(TranscriptEvent):
    """The stream is open; history follows, then what is being said."""

    event: Literal["connected"] = "connected"
    call_id: OtherId = None
    status: Text = None
    agent_id: OtherId = None
    agent_name: Text = None
    direction: Text = None
    from_number: Text = None
    to_number: Text = None
    started_at: Moment = None


class TurnEvent(TranscriptEvent):
    """One side said something; role is ``user`` or ``agent``."""

    event: Literal["turn"] = "turn"
    role: Text = None
    content: Text = None
    created_at: Moment = None


class EndedEvent(TranscriptEvent):
    """The call is over, and so is the stream."""

    event: Literal["ended"] = "ended"
    call_id: OtherId = None
    status: Text = None
    ended_at: Moment = None
    duration_seconds: Number = None


_EVENTS: dict[str, type[TranscriptEvent]] = {
    "connected": ConnectedEvent,
    "turn": TurnEvent,
    "ended": EndedEvent,
}

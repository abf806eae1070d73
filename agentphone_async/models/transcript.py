"""What was said: at once, or event by event."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from agentphone_async.models.base import ApiModel, Moment, Number, Text


class TranscriptTurn(ApiModel):
    """One thing that one side said."""

    role: Text = None
    content: Text = None
    created_at: Moment = None
    confidence: Number = None


class Transcript(ApiModel):
    """A call's transcript, whichever of the API's three shapes it came in.

    Attributes:
        call_id: the call; None where the answer does not repeat it.
        turns: what was said, in order; role is ``user`` or ``agent``.
    """

    call_id: Text = None
    turns: list[TranscriptTurn] = Field(default_factory=list)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Transcript:
        """Make one from ``{transcript: […]}``, ``{data: […]}`` or ``{transcripts: […]}``.

        Raises:
            ValueError: it is none of these, not even with null for its list.
        """
        if data and not data.keys() & _TURNS:
            raise ValueError("there is no list of turns")
        rows: list[Any] = next((data[name] for name in _TURNS if _is_list(data, name)), [])
        turns = [turn for row in rows if isinstance(row, dict) for turn in _turns(row)]
        call_id = data.get("callId")
        transcript = cls.model_construct(
            call_id=call_id if isinstance(call_id, str) else None, turns=turns
        )
        transcript._raw = dict(data)
        return transcript


_TURNS = {"transcript": None, "data": None, "transcripts": None}
"""Where the turns may be; in the order in which they are looked for."""


def _is_list(data: Mapping[str, Any], name: str) -> bool:
    return isinstance(data.get(name), list)


def _turns(row: dict[str, Any]) -> list[TranscriptTurn]:
    if "role" in row or "content" in row:
        return [TranscriptTurn.from_json(row)]
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
    call_id: Text = None
    status: Text = None
    agent_id: Text = None
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
    call_id: Text = None
    status: Text = None
    ended_at: Moment = None
    duration_seconds: Number = None


_EVENTS: dict[str, type[TranscriptEvent]] = {
    "connected": ConnectedEvent,
    "turn": TurnEvent,
    "ended": EndedEvent,
}

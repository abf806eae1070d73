"""What the API returns, as values.

Attributes are snake_case, the wire is camelCase. Parsing is tolerant on purpose, because an archive
must survive the API's growth: unknown fields and statuses pass, a field that makes no sense
becomes None, and ``raw`` keeps the JSON as it came. Only an object without an id is refused. Wire
names also work as subscripts (``call["fromNumber"]``), in ``{**call}`` and with the other methods
of a mapping, as with the official SDK's plain dicts; ``json.dumps`` needs ``raw``.
"""

from __future__ import annotations

import enum
from collections.abc import ItemsView, Iterator, KeysView, Mapping, ValuesView
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic.alias_generators import to_camel

LIVE_STATUSES = frozenset({"queued", "registered", "ringing", "in-progress"})
"""Statuses of calls that go on; every other one, known to us or not, is a finished call."""

EARLIEST = datetime.min.replace(tzinfo=UTC) + timedelta(days=2)
LATEST = datetime.max.replace(tzinfo=UTC) - timedelta(days=2)
"""Moments that exist in every zone; the very first one is often written for "never"."""


def _or_none(value: Any, parse: ValidatorFunctionWrapHandler) -> Any:
    try:
        return parse(value)
    except ValidationError:
        return None


def _or_empty(value: Any, parse: ValidatorFunctionWrapHandler) -> Any:
    try:
        return parse(value)
    except ValidationError:
        return []


def _aware(value: Any, parse: ValidatorFunctionWrapHandler) -> Any:
    moment = _or_none(value, parse)
    if not isinstance(moment, datetime):
        return None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return moment if EARLIEST <= moment <= LATEST else None


Text = Annotated[str | None, WrapValidator(_or_none)]
Number = Annotated[int | float | None, WrapValidator(_or_none)]
Flag = Annotated[bool | None, WrapValidator(_or_none)]
Moment = Annotated[datetime | None, WrapValidator(_aware)]


class ApiModel(BaseModel):
    """The base of what the API returns; ``raw`` is the JSON that it was made from."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)

    _raw: dict[str, Any] = PrivateAttr(default_factory=dict)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Make one from a decoded JSON object.

        Raises:
            pydantic.ValidationError: what cannot be missing is missing (an id).
        """
        model = cls.model_validate(data)
        model._raw = dict(data)
        return model

    @property
    def raw(self) -> dict[str, Any]:
        """The JSON object as it came, unknown fields included."""
        return self._raw

    def __getitem__(self, name: str) -> Any:
        return self._raw[name]

    def __contains__(self, name: object) -> bool:
        return name in self._raw

    def __iter__(self) -> Iterator[str]:  # type: ignore[override]  # pydantic's gives fields
        return iter(self._raw)

    def __len__(self) -> int:
        return len(self._raw)

    def __bool__(self) -> bool:
        return True  # even an empty answer is one

    def get(self, name: str, default: Any = None) -> Any:
        """The value under a wire name, as with a dict."""
        return self._raw.get(name, default)

    def keys(self) -> KeysView[str]:
        """The wire names, as with a dict."""
        return self._raw.keys()

    def values(self) -> ValuesView[Any]:
        """Their values, as with a dict."""
        return self._raw.values()

    def items(self) -> ItemsView[str, Any]:
        """Both, as with a dict."""
        return self._raw.items()


class RecordingState(enum.Enum):
    """What a call says about its recording; a hint, since only asking for it tells."""

    AVAILABLE = "available"
    UNAVAILABLE = "unavailable"
    CALL_IN_PROGRESS = "call_in_progress"
    UNKNOWN = "unknown"


class CallTranscript(ApiModel):
    """One exchange as ``calls.get`` lists it: what the caller said, and the agent's answer."""

    id: Text = None
    transcript: Text = None
    response: Text = None
    confidence: Number = None
    created_at: Moment = None


class Call(ApiModel):
    """A call (API page "Get Call").

    Attributes:
        id: opaque, and a secret: who has it can download the recording.
        status: as the API says it, known to us or not.
        started_at, ended_at: aware datetimes; None when missing or unreadable.
        duration_seconds: seconds, possibly fractional; None while the call goes on.
        recording_available: the API's hint; None where it gives none (agent-scoped lists).
        transcripts: only filled by ``calls.get``.
    """

    id: Annotated[str, Field(min_length=1)]
    agent_id: Text = None
    agent_name: Text = None
    phone_number_id: Text = None
    phone_number: Text = None
    from_number: Text = None
    to_number: Text = None
    direction: Text = None
    type: Text = None
    status: Text = None
    started_at: Moment = None
    ended_at: Moment = None
    duration_seconds: Number = None
    last_transcript_snippet: Text = None
    recording_url: Text = None
    recording_available: Flag = None
    transcripts: Annotated[
        list[CallTranscript], WrapValidator(_or_empty), Field(default_factory=list)
    ]

    @property
    def is_finished(self) -> bool:
        """Whether the call is over: its status is not one that is known to be live."""
        return self.status not in LIVE_STATUSES

    @property
    def recording_state(self) -> RecordingState:
        """What the call says about its recording."""
        if not self.is_finished:
            return RecordingState.CALL_IN_PROGRESS
        if self.recording_available or self.recording_url:
            return RecordingState.AVAILABLE
        if self.recording_available is False:
            return RecordingState.UNAVAILABLE
        return RecordingState.UNKNOWN


@dataclass(frozen=True, slots=True)
class RowProblem:
    """A row of a page that could not be read; the others could.

    Attributes:
        row: its place on the page, from 0.
        message: what was wrong with it.
        raw: the row as it came.
    """

    row: int
    message: str
    raw: Any = field(repr=False)


class CallPage(ApiModel):
    """One page of calls.

    Attributes:
        data: the calls that could be read, in the server's order.
        has_more: whether the server says that another page follows.
        total: calls in all pages; None when the server does not say.
        problems: the rows that could not be read.
    """

    data: list[Call]
    has_more: bool
    total: int | None
    problems: list[RowProblem]

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> CallPage:
        """Make one from a decoded page; rows that cannot be read become ``problems``.

        Raises:
            ValueError: it is no page: there is no list in it.
        """
        calls: list[Call] = []
        problems: list[RowProblem] = []
        rows = data.get("data")
        if not isinstance(rows, list):
            raise ValueError("there is no list of calls")  # noqa: TRY004 - of the data, not of a caller
        for number, row in enumerate(rows):
            try:
                calls.append(Call.from_json(row))
            except (ValidationError, TypeError, ValueError):
                problems.append(RowProblem(number, "no call: its id is missing or no text", row))
        total = data.get("total")
        page = cls.model_construct(
            data=calls,
            has_more=data.get("hasMore") is True,
            total=total if isinstance(total, int) and not isinstance(total, bool) else None,
            problems=problems,
        )
        page._raw = dict(data)
        return page


CallList = CallPage
"""The official SDK's name for it."""


class WebCall(ApiModel):
    """A browser call that may be joined (API page "Create Web Call").

    Attributes:
        access_token: what the browser joins with, valid for 30 seconds; not part of ``repr``.
        call_id: the call's id, where the API tells it.
    """

    access_token: str = Field(repr=False)
    call_id: Text = None


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


@dataclass(frozen=True, slots=True)
class CallRecording:
    """A recording in memory, as the official SDK gives it.

    Attributes:
        content: the audio; ``bytes(recording)`` and ``len(recording)`` work, too.
        content_type: the media type as it came, such as ``audio/wav``; None when not given.
    """

    content: bytes = field(repr=False)
    content_type: str | None = None

    def __bytes__(self) -> bytes:
        return self.content

    def __len__(self) -> int:
        return len(self.content)

"""Calls, pages of them, and their recordings in memory."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Annotated, Any

from pydantic import Field, WrapValidator

from agentphone_async.models.base import (
    ApiModel,
    Flag,
    Id,
    Moment,
    Number,
    OtherId,
    RowProblem,
    Text,
    or_empty,
    read_rows,
)

LIVE_STATUSES = frozenset(
    {"queued", "registered", "initiated", "ringing", "in-progress", "ongoing", "answered"}
)
"""Statuses of calls in progress, as `normal_status` writes them."""

UNCONNECTED_STATUSES = frozenset(
    {"busy", "no-answer", "failed", "canceled", "cancelled", "not-connected", "rejected"}
)
"""Statuses of calls that ended before anybody talked, unless a duration says otherwise."""

FINISHED_STATUSES = UNCONNECTED_STATUSES | {"completed", "ended", "voicemail", "error"}
"""Statuses of calls that are over. Any other status is judged by the call's dates."""

LONGEST_CALL = timedelta(hours=4)
"""A call with an unknown status, without an end, counts as in progress for this long."""


def normal_status(status: object) -> str | None:
    """A status with hyphens and in lower case: ``in_progress`` is ``in-progress``."""
    return _normal(status) if isinstance(status, str) else None


@lru_cache(maxsize=64)  # there are few, and each call is asked several times
def _normal(status: str) -> str:
    return status.strip().lower().replace("_", "-").replace(" ", "-")


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
        duration_seconds: seconds, possibly fractional; None while the call is in progress.
        recording_available: the API's hint; None where it gives none (agent-scoped lists).
        transcripts: only filled by ``calls.get``.
    """

    id: Id
    agent_id: OtherId = None
    agent_name: Text = None
    phone_number_id: OtherId = None
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
    retell_call_id: Text = None
    transcripts: Annotated[
        list[CallTranscript], WrapValidator(or_empty), Field(default_factory=list)
    ]

    @property
    def is_finished(self) -> bool:
        """Whether the call is over, as far as can be told now; see `finished_at`."""
        return self.finished_at(datetime.now(UTC))

    def finished_at(self, now: datetime) -> bool:
        """Whether the call is over at a moment.

        A known status decides. A call whose status is unknown or missing is in progress when it
        has no end and started less than `LONGEST_CALL` before ``now``.
        """
        status = normal_status(self.status)
        if status in LIVE_STATUSES:
            return False
        if status in FINISHED_STATUSES or self.ended_at is not None or self.started_at is None:
            return True
        return now - self.started_at >= LONGEST_CALL

    @property
    def never_connected(self) -> bool:
        """Whether the call ended before anybody talked: busy, no answer, canceled and the like."""
        return normal_status(self.status) in UNCONNECTED_STATUSES and not self.duration_seconds

    def without_tokens(self) -> dict[str, Any]:
        """A shallow copy of ``raw`` that may be stored: ``recordingUrl`` without its secrets.

        The query of a signed address lets whoever reads it download the recording; so do a user
        and a password.
        """
        link = self._raw.get("recordingUrl")
        if not isinstance(link, str):
            return dict(self._raw)
        plain = re.split(r"[?#]", link, maxsplit=1)[0]
        return {**self._raw, "recordingUrl": re.sub(r"(?<=//)[^/]*@", "", plain)}

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
            ValueError: it is not a page: there is no list in it.
        """
        calls, problems = read_rows(Call, data, "a call")
        page = cls.model_construct(
            data=calls,
            has_more=data.get("hasMore") is True,
            total=_count(data.get("total")),
            problems=problems,
        )
        page._raw = dict(data)
        return page


def _count(value: Any) -> int | None:
    """A number of rows; None for what is not one."""
    if isinstance(value, str) and value.isascii() and value.isdecimal():
        return int(value[:18])
    return value if isinstance(value, int) and not isinstance(value, bool) else None


CallList = CallPage
"""The official SDK's name for it."""


class WebCall(ApiModel):
    """A browser call that may be joined (API page "Create Web Call").

    Attributes:
        access_token: what the browser joins with, valid for 30 seconds; not part of ``repr``.
        call_id: the call's id, where the API tells it.
    """

    access_token: str = Field(repr=False)
    call_id: OtherId = None


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

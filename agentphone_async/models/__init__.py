"""What the API returns, as values.

Attributes are snake_case, the wire is camelCase. Parsing is tolerant on purpose, because an archive
must survive the API's growth: unknown fields and statuses pass, a field that makes no sense
becomes None, and ``raw`` keeps the JSON as it came. Only an object without an id is refused. Wire
names also work as subscripts (``call["fromNumber"]``), in ``{**call}`` and with the other methods
of a mapping, as with the official SDK's plain dicts; ``json.dumps`` needs ``raw``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from agentphone_async.models.base import EARLIEST, LATEST, ApiModel, RowProblem
from agentphone_async.models.call import (
    FINISHED_STATUSES,
    LIVE_STATUSES,
    LONGEST_CALL,
    UNCONNECTED_STATUSES,
    Call,
    CallList,
    CallPage,
    CallRecording,
    CallTranscript,
    RecordingState,
    WebCall,
    normal_status,
)
from agentphone_async.models.transcript import (
    ConnectedEvent,
    EndedEvent,
    Transcript,
    TranscriptEvent,
    TranscriptTurn,
    TurnEvent,
)

if TYPE_CHECKING:
    from agentphone_async.models.account import (
        Agent,
        AgentList,
        AgentNumber,
        NumberLimits,
        PhoneNumber,
        PhoneNumberList,
        Plan,
        PlanLimits,
        Usage,
        UsageStats,
    )

__all__ = [
    "EARLIEST",
    "FINISHED_STATUSES",
    "LATEST",
    "LIVE_STATUSES",
    "LONGEST_CALL",
    "UNCONNECTED_STATUSES",
    "Agent",
    "AgentList",
    "AgentNumber",
    "ApiModel",
    "Call",
    "CallList",
    "CallPage",
    "CallRecording",
    "CallTranscript",
    "ConnectedEvent",
    "EndedEvent",
    "NumberLimits",
    "PhoneNumber",
    "PhoneNumberList",
    "Plan",
    "PlanLimits",
    "RecordingState",
    "RowProblem",
    "Transcript",
    "TranscriptEvent",
    "TranscriptTurn",
    "TurnEvent",
    "Usage",
    "UsageStats",
    "WebCall",
    "normal_status",
]


def __getattr__(name: str) -> object:
    """What an account has is imported when it is asked for; few programs do."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("agentphone_async.models.account"), name)

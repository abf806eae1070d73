"""An asyncio-native AgentPhone client with a concurrent bulk downloader for call recordings.

::

    from agentphone_async import fetch_recording

    recording = await fetch_recording("call_ghi012", "recordings/")

Everything public is importable from here; it is loaded when it is first used, so that importing
the package costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module

from agentphone_async._version import __version__

TYPE_CHECKING = False  # as type checkers understand it; `typing` takes time to import
if TYPE_CHECKING:
    from agentphone_async.archive.archive import Archive
    from agentphone_async.archive.observer import Observer
    from agentphone_async.archive.options import (
        Limits,
        Placed,
        RunOptions,
        SidecarWriter,
    )
    from agentphone_async.archive.report import Report
    from agentphone_async.archive.selection import Selection
    from agentphone_async.archive.template import Template
    from agentphone_async.client import (
        AsyncAgentPhone,
        fetch_recording,
    )
    from agentphone_async.config import (
        RetryPolicy,
        Settings,
        Timeouts,
    )
    from agentphone_async.errors import (
        AgentPhoneError,
        ArchiveLockedError,
        AuthenticationError,
        CatalogError,
        CertificateError,
        ConfigurationError,
        ConflictError,
        ConnectionFailedError,
        DestinationError,
        FieldProblem,
        InsufficientBalanceError,
        InvalidIdError,
        MismatchedAnswerError,
        MissingKeyError,
        NotAudioError,
        NotFoundError,
        PermissionDeniedError,
        RateLimitError,
        RecordingErasedError,
        RecordingError,
        RecordingExistsError,
        RecordingGoneError,
        RecordingNotFoundError,
        RecordingNotReadyError,
        RecordingTooLargeError,
        ResponseError,
        RunStoppedError,
        ServerError,
        SurplusBytesError,
        TimedOutError,
        TooManyOpenFilesError,
        TransportError,
        TruncatedRecordingError,
        UnexpectedResponseError,
        ValidationError,
    )
    from agentphone_async.models import (
        Agent,
        AgentList,
        AgentNumber,
        Call,
        CallList,
        CallPage,
        CallRecording,
        CallTranscript,
        ConnectedEvent,
        EndedEvent,
        NumberLimits,
        PhoneNumber,
        PhoneNumberList,
        Plan,
        PlanLimits,
        RecordingState,
        RowProblem,
        Transcript,
        TranscriptEvent,
        TranscriptTurn,
        TurnEvent,
        Usage,
        UsageStats,
        WebCall,
    )
    from agentphone_async.protocol.recording import Audio
    from agentphone_async.recordings.outcomes import (
        AlreadyArchived,
        Archived,
        Failed,
        NoRecording,
        NotReadyYet,
        Outcome,
        Recording,
    )
    from agentphone_async.resources.listing import CallListing
    from agentphone_async.sinks.interface import (
        Body,
        Keeping,
        Ready,
        Sink,
        Staged,
        Stored,
        Target,
        Upload,
    )
    from agentphone_async.sinks.local import (
        Fsync,
        LocalSink,
    )
    from agentphone_async.sinks.store import StoreSink
    from agentphone_async.transport.observer import Retry
    from agentphone_async.webhooks import (
        WebhookEvent,
        WebhookEventData,
        WebhookHistoryItem,
        WebhookVerificationError,
        construct_event,
        verify_webhook,
    )

__all__ = [
    "Agent",
    "AgentList",
    "AgentNumber",
    "AgentPhoneError",
    "AlreadyArchived",
    "Archive",
    "ArchiveLockedError",
    "Archived",
    "AsyncAgentPhone",
    "Audio",
    "AuthenticationError",
    "Body",
    "Call",
    "CallList",
    "CallListing",
    "CallPage",
    "CallRecording",
    "CallTranscript",
    "CatalogError",
    "CertificateError",
    "ConfigurationError",
    "ConflictError",
    "ConnectedEvent",
    "ConnectionFailedError",
    "DestinationError",
    "EndedEvent",
    "Failed",
    "FieldProblem",
    "Fsync",
    "InsufficientBalanceError",
    "InvalidIdError",
    "Keeping",
    "Limits",
    "LocalSink",
    "MismatchedAnswerError",
    "MissingKeyError",
    "NoRecording",
    "NotAudioError",
    "NotFoundError",
    "NotReadyYet",
    "NumberLimits",
    "Observer",
    "Outcome",
    "PermissionDeniedError",
    "PhoneNumber",
    "PhoneNumberList",
    "Placed",
    "Plan",
    "PlanLimits",
    "RateLimitError",
    "Ready",
    "Recording",
    "RecordingErasedError",
    "RecordingError",
    "RecordingExistsError",
    "RecordingGoneError",
    "RecordingNotFoundError",
    "RecordingNotReadyError",
    "RecordingState",
    "RecordingTooLargeError",
    "Report",
    "ResponseError",
    "Retry",
    "RetryPolicy",
    "RowProblem",
    "RunOptions",
    "RunStoppedError",
    "Selection",
    "ServerError",
    "Settings",
    "SidecarWriter",
    "Sink",
    "Staged",
    "StoreSink",
    "Stored",
    "SurplusBytesError",
    "Target",
    "Template",
    "TimedOutError",
    "Timeouts",
    "TooManyOpenFilesError",
    "Transcript",
    "TranscriptEvent",
    "TranscriptTurn",
    "TransportError",
    "TruncatedRecordingError",
    "TurnEvent",
    "UnexpectedResponseError",
    "Upload",
    "Usage",
    "UsageStats",
    "ValidationError",
    "WebCall",
    "WebhookEvent",
    "WebhookEventData",
    "WebhookHistoryItem",
    "WebhookVerificationError",
    "__version__",
    "construct_event",
    "fetch_recording",
    "verify_webhook",
]

# Where names come from that are neither errors (of ``errors``) nor models (of ``models``).
_HOMES = {
    "archive.archive": ["Archive"],
    "archive.observer": ["Observer"],
    "archive.options": ["Limits", "Placed", "RunOptions", "SidecarWriter"],
    "archive.report": ["Report"],
    "archive.selection": ["Selection"],
    "archive.template": ["Template"],
    "client": ["AsyncAgentPhone", "fetch_recording"],
    "config": ["RetryPolicy", "Settings", "Timeouts"],
    "errors": ["FieldProblem"],
    "protocol.recording": ["Audio"],
    "recordings.outcomes": [
        "AlreadyArchived",
        "Archived",
        "Failed",
        "NoRecording",
        "NotReadyYet",
        "Outcome",
        "Recording",
    ],
    "resources.listing": ["CallListing"],
    "sinks.interface": ["Body", "Keeping", "Ready", "Sink", "Staged", "Stored", "Target", "Upload"],
    "sinks.local": ["Fsync", "LocalSink"],
    "sinks.store": ["StoreSink"],
    "transport.observer": ["Retry"],
    "webhooks": [
        "WebhookEvent",
        "WebhookEventData",
        "WebhookHistoryItem",
        "WebhookVerificationError",
        "construct_event",
        "verify_webhook",
    ],
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    if name == "AgentPhone":
        raise ImportError(
            "agentphone_async has no synchronous AgentPhone: use AsyncAgentPhone inside an "
            "'async def', and run that with asyncio.run(...); see docs/howto/migrate.md"
        )
    if name not in __all__:
        raise AttributeError(f"module 'agentphone_async' has no attribute {name!r}")
    home = _HOME_OF.get(name, "errors" if name.endswith("Error") else "models")
    value = getattr(import_module(f"agentphone_async.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

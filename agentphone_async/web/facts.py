"""What the event of an ended call tells, and the API does not."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import Any

from agentphone_async.webhooks import WebhookEvent


@dataclass(frozen=True, slots=True)
class Facts:
    """Of one call; None is unknown.

    Attributes:
        happened: the event's own timestamp, as it stands in it.
    """

    summary: str | None = None
    user_sentiment: str | None = None
    call_successful: bool | None = None
    disconnection_reason: str | None = None
    happened: str | None = None

    @classmethod
    def of(cls, event: WebhookEvent) -> Facts:
        """Take them from a verified event."""
        data, happened = event.data, event.get("timestamp")
        return cls(
            _text(data.summary),
            _text(data.user_sentiment),
            data.call_successful,
            _text(data.disconnection_reason),
            _text(happened) if isinstance(happened, str) else None,
        )

    @classmethod
    def from_text(cls, text: str) -> Facts:
        """What `as_text` wrote."""
        return cls(**json.loads(text))

    def as_text(self) -> str:
        """As JSON in one line; equal for equal facts."""
        return json.dumps(self._asdict(), sort_keys=True)

    def _asdict(self) -> dict[str, Any]:
        """As `dataclasses.asdict`, which takes long for looking inside values."""
        return {name: getattr(self, name) for name in _NAMES}

    def merged(self, other: Facts) -> Facts:
        """Both: what the later event knows, and of the earlier one what the later does not."""
        older, newer = sorted((self, other), key=lambda facts: facts.happened or "")
        old, new = older._asdict(), newer._asdict()
        return Facts(**{name: old[name] if new[name] is None else new[name] for name in new})

    def as_sidecar(self, call_id: str) -> dict[str, Any]:
        """For the file beside the recording, under the names of the webhook."""
        return {
            "callId": call_id,
            "event": "agent.call_ended",
            "timestamp": self.happened,
            "summary": self.summary,
            "userSentiment": self.user_sentiment,
            "callSuccessful": self.call_successful,
            "disconnectionReason": self.disconnection_reason,
        }


_NAMES = tuple(field.name for field in fields(Facts))


def _text(value: str | None) -> str | None:
    """Lone surrogates, which JSON can spell, have no place in a file."""
    return None if value is None else value.encode("utf-8", "replace").decode()

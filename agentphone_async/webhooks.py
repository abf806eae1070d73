"""Webhooks: is this request AgentPhone's, and what does it say?

The names and arguments are those of the official SDK::

    from agentphone_async import WebhookVerificationError, construct_event

    event = construct_event(body, signature, secret, timestamp)
    if event.event == "agent.call_ended":
        print(event.data.call_id, event.data.summary)

AgentPhone signs ``{timestamp}.{raw body}`` with HMAC-SHA256 and the webhook's secret, which begins
with ``whsec_``. The signature comes in ``X-Webhook-Signature``, the time in
``X-Webhook-Timestamp``. One event may be delivered several times, with the same ``X-Webhook-ID`` or
another: that header is not signed.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError, WrapValidator

from agentphone_async.errors import AgentPhoneError, ConfigurationError
from agentphone_async.models.base import ApiModel, Flag, Moment, Number, Text, or_empty, or_none
from agentphone_async.protocol.display import printable

TOLERANCE = 300
"""Seconds that the sender's clock and ours may differ by."""

SIGNATURE = "X-Webhook-Signature"
TIMESTAMP = "X-Webhook-Timestamp"
DELIVERY_ID = "X-Webhook-ID"

Payload = str | bytes | bytearray | memoryview
Secret = str | bytes
Object = Annotated[dict[str, Any] | None, WrapValidator(or_none)]

_MILLISECONDS = 1e11
"""From here on a number is milliseconds: as seconds it would be after the year 5138."""


class WebhookVerificationError(AgentPhoneError, ValueError):
    """The request is not AgentPhone's, was altered on its way, or is too old; refuse it."""


class WebhookHistoryItem(ApiModel):
    """A message that came before the event."""

    content: Text = None
    direction: Text = None
    channel: Text = None
    at: Moment = None


class WebhookEventData(ApiModel):
    """What an event is about; fields that this kind of event lacks are None.

    Attributes:
        call_id: the call, of events of the channel ``voice``.
        transcript: a text while the call is in progress, a list of turns when it has ended.
        summary, user_sentiment, call_successful: of a call that ended; the API gives them nowhere
            else.
    """

    id: Text = None
    call_id: Text = None
    number_id: Text = None
    from_number: Annotated[Text, Field(alias="from")] = None
    to_number: Annotated[Text, Field(alias="to")] = None
    direction: Text = None
    status: Text = None
    started_at: Moment = None
    ended_at: Moment = None
    duration_seconds: Number = None
    disconnection_reason: Text = None
    transcript: Any = None
    summary: Text = None
    user_sentiment: Text = None
    call_successful: Flag = None
    message: Text = None
    message_id: Text = None
    external_message_id: Text = None
    external_id: Text = None
    conversation_id: Text = None
    received_at: Moment = None
    media_url: Text = None
    media_urls: Annotated[list[str] | None, WrapValidator(or_none)] = None
    sender_identifier: Text = None
    contact: Object = None
    group: Object = None
    reaction_type: Text = None


class WebhookEvent(ApiModel):
    """One event, as it was signed.

    Attributes:
        event: its kind, such as ``agent.call_ended`` or ``agent.message``.
        channel: ``voice``, ``sms``, …; empty where none is given.
        timestamp: when it happened; None when missing or unreadable.
        test: True of a delivery that was made to try the webhook out.
    """

    event: str
    channel: Annotated[str, WrapValidator(lambda value, _: value if type(value) is str else "")] = (
        ""
    )
    timestamp: Moment = None
    agent_id: Text = None
    data: WebhookEventData = Field(default_factory=WebhookEventData)
    recent_history: Annotated[list[WebhookHistoryItem], WrapValidator(or_empty)] = Field(
        default_factory=list
    )
    conversation_state: Object = None
    test: Flag = None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Make one from a decoded JSON object.

        Raises:
            pydantic.ValidationError: it does not say which event it is.
        """
        about = data.get("data")
        about = about if isinstance(about, Mapping) else {}
        event = super().from_json({**data, "data": WebhookEventData.from_json(about)})
        event._raw = dict(data)  # noqa: SLF001 - of the same class
        return event


def sign_webhook(payload: Payload, secret: Secret, timestamp: str | float) -> str:
    """The signature that AgentPhone would send with this body; for tests of webhooks.

    Raises:
        ConfigurationError: the secret is empty.
    """
    signed = _text(timestamp).encode("utf-8", "surrogatepass") + b"." + _bytes(payload)
    return "sha256=" + hmac.new(_key(secret), signed, hashlib.sha256).hexdigest()


def verify_webhook(
    payload: Payload,
    signature: str | bytes | None,
    secret: Secret | Sequence[Secret],
    timestamp: str | bytes | float | None,
    tolerance: float | None = TOLERANCE,
) -> None:
    """Check that AgentPhone signed this body with this secret, not long ago.

    Args:
        payload: the raw body of the request, exactly as it was received.
        signature: the header ``X-Webhook-Signature``.
        secret: the webhook's secret; while it is being changed, a list of the old and the new one.
        timestamp: the header ``X-Webhook-Timestamp``: Unix seconds (milliseconds and ISO 8601 are
            understood, too).
        tolerance: seconds that the timestamp may lie in the past or in the future; None for any.

    Raises:
        WebhookVerificationError: refuse the request, for instance with status 401.
        ConfigurationError: the secret is empty.
        TypeError: the payload is not a raw body, but something that was made of it.
    """
    keys = _keys(secret)
    body = _bytes(payload)
    if not signature:
        raise WebhookVerificationError(f"the request has no {SIGNATURE}; refuse it")
    if timestamp is None or timestamp in {"", b""}:
        raise WebhookVerificationError(f"the request has no {TIMESTAMP}; refuse it")
    given = signature if isinstance(signature, bytes) else _utf8(signature)
    signed = _utf8(_text(timestamp)) + b"." + body
    genuine = False
    for key in keys:  # all of them, whichever matches
        mac = hmac.new(key, signed, hashlib.sha256).hexdigest()
        genuine |= hmac.compare_digest(f"sha256={mac}".encode(), given)
    if not genuine:
        raise WebhookVerificationError(
            f"{SIGNATURE} does not match the body: the secret is another one, or the body is not "
            "the one that was signed; pass it as received, since JSON that a proxy or a framework "
            "has parsed and encoded again has other bytes"
        )
    if tolerance is not None:
        _refuse_old(_text(timestamp), tolerance)


def construct_event(
    payload: Payload,
    signature: str | bytes | None,
    secret: Secret | Sequence[Secret],
    timestamp: str | bytes | float | None,
    tolerance: float | None = TOLERANCE,
) -> WebhookEvent:
    """Verify a webhook, as `verify_webhook`, and read its event.

    Raises:
        WebhookVerificationError: refuse the request; also a body that is not an event.
        ConfigurationError: the secret is empty.
        TypeError: the payload is not a raw body, but something that was made of it.
    """
    verify_webhook(payload, signature, secret, timestamp, tolerance)
    return event_of(_bytes(payload))


def event_of(body: bytes) -> WebhookEvent:
    """The event in a body that was verified before.

    Raises:
        WebhookVerificationError: it is not a JSON object, or does not say which event it is.
    """
    try:
        data = json.loads(body.decode())
    except (ValueError, RecursionError) as error:
        raise WebhookVerificationError(
            f"the body is signed, but is not JSON: {printable(str(error), 120)}"
        ) from error
    try:
        return WebhookEvent.from_json(data)
    except (AttributeError, ValidationError) as error:
        raise WebhookVerificationError(
            "the body is signed, but is not an event: it is not an object with an 'event' in it"
        ) from error


def _refuse_old(timestamp: str, tolerance: float) -> None:
    try:
        moment = _unix_seconds(timestamp)
    except (ValueError, OverflowError) as error:
        shown = printable(timestamp, 40)
        raise WebhookVerificationError(
            f"{TIMESTAMP} is {shown!r}, and not Unix seconds; refuse the request"
        ) from error
    age = time.time() - moment
    if not abs(age) <= tolerance:
        when = f"{age:.0f} s old" if age > 0 else f"{-age:.0f} s ahead of this clock"
        raise WebhookVerificationError(
            f"the request is {when}, and {tolerance:g} s are allowed: it was sent again by "
            "somebody else, or one of the clocks is wrong"
        )


def _unix_seconds(text: str) -> float:
    if not text.isascii():
        raise ValueError("digits of another script")
    try:
        seconds = float(text)
    except ValueError:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if not math.isfinite(seconds):
        raise ValueError("not a time")
    return seconds / 1000 if abs(seconds) >= _MILLISECONDS else seconds


def _keys(secret: Secret | Sequence[Secret]) -> list[bytes]:
    keys = [_key(secret)] if isinstance(secret, str | bytes) else [_key(each) for each in secret]
    if not keys:
        raise ConfigurationError("there is no webhook secret; pass the one that starts with whsec_")
    return keys


def _key(secret: Secret) -> bytes:
    if not isinstance(secret, str | bytes):
        raise ConfigurationError(
            f"the webhook secret is a {type(secret).__name__}; pass text, or a list of texts"
        )
    key = secret if isinstance(secret, bytes) else _utf8(secret)
    if not key.strip():
        raise ConfigurationError("the webhook secret is empty: anybody could sign with it")
    return key


def _bytes(payload: Payload) -> bytes:
    match payload:
        case bytes():
            return payload
        case str():
            return _utf8(payload)
        case bytearray() | memoryview():
            return bytes(payload)
    raise TypeError(
        f"the payload is a {type(payload).__name__}; pass the raw body of the request as received"
    )


def _text(timestamp: str | bytes | float) -> str:
    return timestamp.decode("latin-1") if isinstance(timestamp, bytes) else str(timestamp)


def _utf8(text: str) -> bytes:
    """As bytes, whatever is in it: a header may hold what is not text."""
    return text.encode("utf-8", "surrogatepass")

"""Webhooks as the official SDK signs and checks them, and what it lets through or stumbles over."""

from __future__ import annotations

import json
import time
from typing import Any

import agentphone
import pytest

from agentphone_async import (
    AgentPhoneError,
    ConfigurationError,
    WebhookEvent,
    WebhookVerificationError,
    construct_event,
    verify_webhook,
)
from agentphone_async.webhooks import sign_webhook

SECRET = "whsec_test"
ENDED = {
    "event": "agent.call_ended",
    "channel": "voice",
    "timestamp": "2025-01-15T14:05:31Z",
    "agentId": "agt_abc123",
    "data": {
        "callId": "call_ghi012",
        "numberId": "num_xyz789",
        "from": "+15559870000",
        "to": "+15551230000",
        "direction": "inbound",
        "status": "completed",
        "startedAt": "2025-01-15T14:00:00Z",
        "endedAt": "2025-01-15T14:05:30Z",
        "durationSeconds": 330,
        "disconnectionReason": "user_hangup",
        "transcript": [{"role": "user", "content": "Grüezi"}],
        "summary": "The caller asked for a new appointment.",
        "userSentiment": "Positive",
        "callSuccessful": True,
    },
}
BODY = json.dumps(ENDED, ensure_ascii=False).encode()
MESSAGE = {
    "event": "agent.message",
    "channel": "sms",
    "timestamp": "2025-01-15T14:05:31Z",
    "agentId": None,
    "data": {
        "message": "Hello",
        "from": "+1555",
        "to": "+1556",
        "mediaUrls": ["https://a/b"],
        "conversationId": "c1",
        "numberId": "n1",
        "direction": "inbound",
        "messageId": "m1",
        "contact": {"name": "Ann"},
        "receivedAt": "2025-01-15T14:05:30Z",
    },
    "recentHistory": [{"content": "a", "direction": "inbound", "channel": "sms", "at": "x"}],
    "conversationState": {"a": 1},
    "test": True,
}


def now(offset: float = 0) -> str:
    return str(int(time.time() + offset))


def signed(body: Any = BODY, timestamp: str | None = None) -> tuple[Any, str, str, str]:
    timestamp = timestamp or now()
    return body, sign_webhook(body, SECRET, timestamp), SECRET, timestamp


@pytest.mark.parametrize("body", [BODY, BODY.decode(), b"", "", b"\xff\x00", "\u2028{}"])
def test_the_official_sdk_accepts_what_we_sign(body):
    agentphone.verify_webhook(*signed(body))
    verify_webhook(*signed(body))


def verdict(verify: Any, *args: Any, **more: Any) -> bool:
    try:
        verify(*args, **more)
    except (agentphone.WebhookVerificationError, WebhookVerificationError):
        return False
    return True


ALTERATIONS = [
    lambda body, mac, secret, time: (body, mac, secret, time),
    lambda body, mac, secret, time: (body + b" ", mac, secret, time),
    lambda body, mac, secret, time: (bytes(json.dumps(ENDED), "ascii"), mac, secret, time),
    lambda body, mac, secret, time: (body, mac.removeprefix("sha256="), secret, time),
    lambda body, mac, secret, time: (body, mac.upper(), secret, time),
    lambda body, mac, secret, time: (body, mac + " ", secret, time),
    lambda body, mac, secret, time: (body, mac[:-1], secret, time),
    lambda body, mac, secret, time: (body, "", secret, time),
    lambda body, mac, secret, time: (body, mac, secret + "x", time),
    lambda body, mac, secret, time: (body, mac, secret, time + "0"),
    lambda body, mac, secret, time: (body, mac, secret, ""),
]


@pytest.mark.parametrize("offset", [0, -290, 290, -310, 310, -1e9])
@pytest.mark.parametrize("alter", ALTERATIONS)
def test_both_come_to_the_same_verdict(alter, offset):
    args = alter(*signed(timestamp=now(offset)))
    assert verdict(verify_webhook, *args) is verdict(agentphone.verify_webhook, *args)
    loose = {"tolerance": None}
    ours, official = (
        verdict(verify, *args, **loose) for verify in (verify_webhook, agentphone.verify_webhook)
    )
    assert ours is official


@pytest.mark.parametrize(
    "signature", ["sha256=\xe9", "sha256=\udcff", "\u0661" * 71, b"\xff", None]
)
def test_a_signature_that_is_no_ascii_is_refused(signature):
    with pytest.raises(WebhookVerificationError, match="X-Webhook-Signature"):
        verify_webhook(BODY, signature, SECRET, now())


@pytest.mark.parametrize(
    "timestamp",
    ["soon", "nan", "inf", "-inf", "1e400", "\u0661\u0662", "\udcff", "0x10", "9" * 400],
)
def test_a_signed_timestamp_that_is_no_time_is_refused(timestamp):
    with pytest.raises(WebhookVerificationError, match="X-Webhook-Timestamp"):
        verify_webhook(*signed(timestamp=timestamp))


def test_a_missing_timestamp_is_refused():
    with pytest.raises(WebhookVerificationError, match="no X-Webhook-Timestamp"):
        verify_webhook(BODY, sign_webhook(BODY, SECRET, "None"), SECRET, None)


@pytest.mark.parametrize(
    "form", ["{:.0f}", "{:.3f}", " {:.0f} ", "milliseconds", "iso", "iso without zone"]
)
def test_a_time_may_be_written_in_several_ways(form):
    def write(moment: float) -> str:
        if form == "milliseconds":
            return str(int(moment * 1000))
        if form.startswith("iso"):
            shown = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment))
            return shown + ("" if "without" in form else "Z")
        return form.format(moment)

    verify_webhook(*signed(timestamp=write(time.time())))
    for offset in (-400, 400):
        with pytest.raises(WebhookVerificationError, match=r"s old|ahead"):
            verify_webhook(*signed(timestamp=write(time.time() + offset)))


def test_numbers_and_bytes_do_for_headers_too():
    stamp = int(time.time())
    mac = sign_webhook(BODY, SECRET, stamp)
    verify_webhook(BODY, mac.encode(), SECRET.encode(), str(stamp).encode())
    verify_webhook(BODY, mac, SECRET, stamp)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_kind_of_bytes_is_a_body(kind):
    _, mac, secret, stamp = signed()
    event = construct_event(kind(BODY), mac, secret, stamp)
    assert event.data.summary == ENDED["data"]["summary"]


@pytest.mark.parametrize("body", [ENDED, None, 1, [BODY]])
def test_a_body_that_was_parsed_already_is_a_mistake_of_the_programs(body):
    with pytest.raises(TypeError, match="raw body"):
        verify_webhook(body, "sha256=", SECRET, now())


def test_while_the_secret_is_being_changed_both_hold():
    args = signed()
    for secrets in (["whsec_new", SECRET], (SECRET, "whsec_new")):
        verify_webhook(args[0], args[1], secrets, args[3])
    with pytest.raises(WebhookVerificationError, match="another one"):
        verify_webhook(args[0], args[1], ["whsec_new"], args[3])


@pytest.mark.parametrize("secret", ["", " \n", b"", [], ["", SECRET], None, [None]])
def test_an_empty_secret_lets_nobody_in(secret):
    with pytest.raises((ConfigurationError, TypeError)):
        verify_webhook(BODY, sign_webhook(BODY, "x", now()), secret, now())


def test_the_error_says_that_a_body_encoded_anew_has_other_bytes():
    _, mac, secret, stamp = signed()
    with pytest.raises(WebhookVerificationError, match="encoded again") as caught:
        verify_webhook(json.dumps(ENDED, indent=1), mac, secret, stamp)
    assert isinstance(caught.value, AgentPhoneError)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("tolerance", [float("nan"), -1])
def test_a_tolerance_that_is_none_allows_nothing(tolerance):
    with pytest.raises(WebhookVerificationError):
        verify_webhook(*signed(timestamp=now(-1)), tolerance=tolerance)


@pytest.mark.parametrize("body", [ENDED, MESSAGE])
def test_events_read_as_the_official_ones(body):
    args = signed(json.dumps(body).encode())
    ours, official = construct_event(*args), agentphone.construct_event(*args)
    assert isinstance(ours, WebhookEvent)
    assert ours.raw == official.raw
    for name in ("event", "channel", "agent_id", "conversation_state", "test"):
        assert getattr(ours, name) == getattr(official, name)
    for name in vars(official.data):
        if name not in {"received_at", "raw"}:
            assert getattr(ours.data, name) == getattr(official.data, name), name
    assert ours.data.raw == official.data.raw
    assert [item.content for item in ours.recent_history] == [
        item.content for item in official.recent_history
    ]


def test_what_only_the_webhook_tells_is_in_fields():
    data = construct_event(*signed()).data
    assert (data.call_id, data.user_sentiment, data.call_successful) == (
        "call_ghi012",
        "Positive",
        True,
    )
    assert data.ended_at is not None
    assert data.disconnection_reason == "user_hangup"


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"\xff",
        b"",
        b"[]",
        b"null",
        b'"agent.call_ended"',
        b"{}",
        b'{"event": null}',
        b"[" * 100_000,
    ],
)
def test_a_signed_body_that_is_no_event_is_refused(body):
    with pytest.raises(WebhookVerificationError, match="is signed, but is not"):
        construct_event(*signed(body))


@pytest.mark.parametrize("data", [None, [], "x", {"summary": 1, "callSuccessful": "?"}])
def test_fields_of_other_types_are_none(data):
    event = construct_event(*signed(json.dumps({"event": "e", "data": data, "test": "?"})))
    assert (event.data.summary, event.data.call_successful, event.test) == (None, None, None)

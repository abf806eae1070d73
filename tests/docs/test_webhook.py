"""The signature check of the FastAPI guide, which people will copy."""

from __future__ import annotations

import hashlib
import hmac
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.docs.blocks import ROOT, blocks_of

SECRET, BODY = "whsec_test", b'{"event": "agent.call_ended"}'


@pytest.fixture(scope="module")
def is_genuine() -> Any:
    page = ROOT / "docs" / "howto" / "fastapi.md"
    (block,) = (b for b in blocks_of(page) if b.notes.get("file") == "signature.py")
    names: dict[str, Any] = {}
    exec(block.text, names)
    return names["is_genuine"]


def sign(timestamp: str, body: bytes = BODY) -> str:
    mac = hmac.new(SECRET.encode(), timestamp.encode() + b"." + body, hashlib.sha256)
    return f"sha256={mac.hexdigest()}"


def test_a_webhook_of_now_is_genuine(is_genuine):
    now = f"{time.time():.0f}"
    assert is_genuine(SECRET, BODY, now, sign(now))


def test_an_iso_timestamp_is_a_time_too(is_genuine):
    now = datetime.now(UTC).isoformat(timespec="seconds")
    for timestamp in (now, now.replace("+00:00", "Z"), now.removesuffix("+00:00")):
        assert is_genuine(SECRET, BODY, timestamp, sign(timestamp))
    old = "2025-01-15T14:00:00Z"
    assert not is_genuine(SECRET, BODY, old, sign(old))


@pytest.mark.parametrize("age", [-400, 400, 1e9])
def test_an_old_one_is_not(is_genuine, age):
    then = f"{time.time() - age:.0f}"
    assert not is_genuine(SECRET, BODY, then, sign(then))


def test_one_that_was_altered_is_not(is_genuine):
    now = f"{time.time():.0f}"
    assert not is_genuine(SECRET, BODY + b" ", now, sign(now))
    assert not is_genuine("whsec_other", BODY, now, sign(now))
    assert not is_genuine(SECRET, BODY, now + "0", sign(now))


@pytest.mark.parametrize("timestamp", ["", "soon", "nan", "inf", "\u0661"])
@pytest.mark.parametrize("signature", ["", "sha256=", "sha256=\xe9", "\udcff"])
def test_nonsense_is_not_and_raises_nothing(is_genuine, timestamp, signature):
    assert not is_genuine(SECRET, BODY, timestamp, signature)


@pytest.mark.parametrize("timestamp", ["nan", "inf", "-inf"])
def test_a_signed_timestamp_that_is_no_time_is_not_genuine(is_genuine, timestamp):
    assert not is_genuine(SECRET, BODY, timestamp, sign(timestamp))

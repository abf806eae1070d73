"""Webhooks to send, and somebody who takes them; an archive to read."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from agentphone_async.web.inbox import Inbox
from agentphone_async.web.receiver import Receiver
from agentphone_async.webhooks import sign_webhook
from tests.web.reading import make

SECRET = "whsec_test"


def event(call_id: Any = "call_1", **data: Any) -> bytes:
    told = {"callId": call_id, "summary": "A word.", "userSentiment": "Positive"} | data
    return json.dumps(
        {"event": "agent.call_ended", "timestamp": "2026-01-15T14:05:31Z", "data": told}
    ).encode()


def signed(body: bytes, *, secret: str = SECRET, at: float | None = None) -> dict[str, str]:
    stamp = str(int(time.time() if at is None else at))
    return {
        "X-Webhook-Timestamp": stamp,
        "X-Webhook-Signature": sign_webhook(body, secret, stamp),
        "X-Webhook-ID": "delivery",
    }


@pytest.fixture
async def inbox(tmp_path: Path) -> AsyncIterator[Inbox]:
    async with await Inbox.open(tmp_path) as opened:
        yield opened


@pytest.fixture
async def receiver(inbox: Inbox) -> Receiver:
    return Receiver(inbox, [SECRET])


@pytest.fixture
async def sender(receiver: Receiver) -> AsyncIterator[TestClient]:
    async with TestClient(TestServer(receiver.app())) as client:
        yield client


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archive")
    asyncio.run(make(folder))
    return folder

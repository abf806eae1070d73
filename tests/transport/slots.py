"""A slot as a context, for tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from agentphone_async.transport.limits import HostLimits


@asynccontextmanager
async def slot_of(limits: HostLimits) -> AsyncIterator[None]:
    await limits.acquire()
    try:
        yield
    finally:
        limits.release()

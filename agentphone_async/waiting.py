"""Waiting for one of several things."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any


async def first_of(*waits: Awaitable[Any]) -> asyncio.Future[Any]:
    """Wait until one of these is over; the others are cancelled, and gone before this returns.

    Returns:
        The one that is over; of several, the first that was named.

    Raises:
        BaseException: what that one raised.
    """
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        over = next(task for task in tasks if task.done())
        over.result()
        return over
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

"""Waiting that no cancellation cuts short: for the moments in which a disk must come to rest."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio


async def outlast(work: asyncio.Future[Any]) -> None:
    """Return when ``work`` is done, whatever its result, however often the waiter is cancelled.

    Raises:
        CancelledError: the waiter was cancelled meanwhile; ``work`` is done all the same.
    """
    cancelled: asyncio.CancelledError | None = None
    # anyio repeats a cancellation at every turn of the loop; unshielded, this would spin.
    with anyio.CancelScope(shield=True):
        while not work.done():
            try:
                await asyncio.wait([work])
            except asyncio.CancelledError as error:
                cancelled = error
    if cancelled is not None:
        raise cancelled

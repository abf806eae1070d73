"""The event loop of a command: its process does nothing else."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, on uvloop if it is installed."""
    gc.set_threshold(10_000, 20)  # there is next to no cyclic garbage, and looking for it takes 3 %
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)
    return uvloop.run(main)

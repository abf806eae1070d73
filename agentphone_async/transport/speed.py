"""Is a body too slow? Judged by the clock, and not only when something arrives."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable


class SpeedWatch:
    """Looks after each ``window`` seconds of waiting whether enough has come in them.

    Only our waiting counts: a slow disk of ours is not a slow server. And nothing but chunk
    extensions, say, is not a body: it is bytes of the body that count.

    Args:
        window: seconds.
        enough: bytes in that time; 0 to be content with anything.
        stalled: called with the bytes and the seconds, once, when it was not enough.
    """

    __slots__ = ("_arrived", "_enough", "_since", "_stalled", "_timer", "_waited", "_window")

    def __init__(self, window: float, enough: float, stalled: Callable[[int, float], None]) -> None:
        self._window = window
        self._enough = enough
        self._stalled = stalled
        self._arrived = 0
        self._waited = 0.0
        self._since: float | None = None
        self._timer = asyncio.get_running_loop().call_later(window, self._look)

    def wait(self) -> None:
        """The waiting for bytes begins."""
        self._since = time.monotonic()

    def came(self, size: int) -> None:
        """``size`` bytes have come."""
        if self._since is not None:
            self._waited += time.monotonic() - self._since
            self._since = None
        self._arrived += size

    def end(self) -> None:
        """The body is over."""
        self._timer.cancel()

    def _look(self) -> None:
        now = time.monotonic()
        waited = self._waited + (0.0 if self._since is None else now - self._since)
        if waited >= 0.99 * self._window:
            if self._arrived < self._enough:
                self._stalled(self._arrived, waited)
                return
            self._arrived = 0
            self._waited = waited = 0.0
            if self._since is not None:
                self._since = now
        wait = max(self._window - waited, self._window / 20)
        self._timer = asyncio.get_running_loop().call_later(wait, self._look)

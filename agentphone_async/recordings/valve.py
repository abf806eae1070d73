"""Ending many downloads gently: nothing more begins, and what is under way may be let go of."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from agentphone_async.errors import AgentPhoneError

T = TypeVar("T")


class LeftError(AgentPhoneError):
    """Not done in this run, because the run was stopped; no failure of the call's."""


class Valve:
    """Lets transfers through until it is closed, and drops those inside when it is asked to.

    Whoever starts downloads keeps it, and closes it; what is not begun or dropped then becomes
    `Failed` with a `LeftError`. Belongs to one event loop.

    Attributes:
        closed: nothing more begins.
        dropping: nothing goes on, either.
        listeners: called when one of these has become true.
    """

    def __init__(self) -> None:
        self.closed = False
        self.dropping = False
        self.listeners: set[Callable[[], None]] = set()
        self._inside: set[anyio.CancelScope] = set()

    def close(self) -> None:
        """Let nothing more begin."""
        if not self.closed:
            self.closed = True
            self._tell()

    def drop(self) -> None:
        """Close, and let go of everything that is under way."""
        if not self.dropping:
            self.closed = self.dropping = True
            for scope in tuple(self._inside):
                scope.cancel()
            self._tell()

    async def through(self, begin: Callable[[], Awaitable[T]]) -> T:
        """Begin something, and return what it returns.

        Raises:
            LeftError: closed before, or dropped on the way.
        """
        if not self.closed:
            with anyio.CancelScope() as scope:
                self._inside.add(scope)
                try:
                    return await begin()
                finally:
                    self._inside.discard(scope)
        raise LeftError("the run was stopped")

    def _tell(self) -> None:
        for listener in tuple(self.listeners):
            listener()

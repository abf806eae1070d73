"""What slows a run down, as it is shown: retries, pauses, and a host that does not answer."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from agentphone_async.cli.display import Quiet
from agentphone_async.quantities import duration_text
from agentphone_async.transport.observer import LimitsObserver, Retry

if TYPE_CHECKING:
    from agentphone_async.client import AsyncAgentPhone

PATIENCE = 2.0
"""Seconds without an answer before anything is said about it."""

SHORTEST_PAUSE = 0.5
"""Seconds; shorter pauses are counted, and not told."""

LONG = 30.0
"""Seconds; of longer waits the end is told, too."""


class Slowness(LimitsObserver):
    """Tells a display, and counts for its summary.

    Args:
        display: told.
        client: whose requests they are; it is watched from `begin` on.
        patience: seconds for which its requests are tried again; see ``--retry-time``.
    """

    def __init__(self, display: Quiet, client: AsyncAgentPhone, patience: float) -> None:
        self._display = display
        self._client = client
        self._patience = patience
        self._host = urlsplit(client.settings.base_url).netloc.rpartition("@")[2]
        self._waiting: asyncio.TimerHandle | None = None
        self._told = False

    def begin(self) -> None:
        """Watch the client, which is open; the first answer is waited for from now on."""
        self._client.session.limits.observers.append(self)
        self._wait()

    def end(self) -> None:
        """Watch it no more."""
        observers = self._client.session.limits.observers
        if self in observers:
            observers.remove(self)
        self._stop_waiting()

    def answered(self) -> None:
        """The host has answered."""
        if self._waiting is not None:
            self._stop_waiting()
        if self._told:
            self._told = False
            self._display.note(f"{self._host} answers again")

    def retrying(self, retry: Retry) -> None:
        """Count it; programs are told."""
        self._display.summary.effort.retries += 1
        line = None
        if retry.seconds >= LONG:
            why = f", as the server asks ({retry.status})" if retry.status else ""
            line = f"one call is asked for again in {_so_long(retry.seconds)}{why}"
        self._display.tell(
            "retrying",
            line,
            call_id=retry.call_id,
            status=retry.status,
            attempt=retry.attempt,
            wait_seconds=round(retry.seconds, 3),
            message=str(retry.error),
        )
        if retry.status is not None:
            self.answered()

    def paused(self, seconds: float, status: int | None) -> None:
        """Count it, and say why nothing happens."""
        self.answered()
        effort = self._display.summary.effort
        effort.pauses += 1
        effort.paused_seconds += seconds
        line = None
        if seconds >= SHORTEST_PAUSE:
            why = "" if status is None else f", as the server asks ({status})"
            line = f"pausing for {_so_long(seconds)}{why}"
        self._display.tell("paused", line, seconds=round(seconds, 3), status=status)

    def unreachable(self, error: BaseException) -> None:  # noqa: ARG002 - failures say why
        """Say so if it lasts."""
        self._wait()

    def _wait(self) -> None:
        if self._waiting is None and not self._told:
            loop = asyncio.get_running_loop()
            until = datetime.now().astimezone() + timedelta(seconds=self._patience)
            self._waiting = loop.call_later(PATIENCE, self._tell, until)

    def _tell(self, until: datetime) -> None:
        self._waiting = None
        self._told = True
        line = f"cannot reach {self._host}, trying until {until:%H:%M:%S}"
        when = until.isoformat("T", "seconds")
        self._display.tell("unreachable", line, host=self._host, until=when)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None


def _so_long(seconds: float) -> str:
    """A wait, and its end if it is long: until then nobody needs to look."""
    if seconds < LONG:
        return duration_text(seconds)
    until = datetime.now().astimezone() + timedelta(seconds=seconds)
    day = "" if until.date() == datetime.now().astimezone().date() else f"{until:%Y-%m-%d} "
    return f"{duration_text(seconds)}, until {day}{until:%H:%M:%S}"

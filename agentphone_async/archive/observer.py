"""Being told how a run goes, without being able to disturb it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from agentphone_async.models import Call
from agentphone_async.protocol.display import printable
from agentphone_async.recordings.outcomes import Outcome
from agentphone_async.transport.observer import LimitsObserver, Retry

_log = logging.getLogger("agentphone_async.archive")


class Observer:
    """What a run tells; override what is of interest. Nothing here does anything.

    All methods are called in the event loop's thread, and must not block it. What they raise is
    logged once and does not reach the run.
    """

    def listed(self, count: int) -> None:
        """``count`` more calls were listed by the server."""

    def selected(self, count: int) -> None:
        """``count`` more of them are wanted."""

    def bytes(self, count: int) -> None:
        """``count`` more bytes of recordings have arrived."""

    def settled(self, outcome: Outcome) -> None:
        """A call came to this; told once for each, of ``not ready`` when the waiting is over."""

    def planned(self, calls: Sequence[Call]) -> None:
        """The recordings of these calls are going to be fetched; longer ones come first."""

    def retrying(self, retry: Retry) -> None:
        """One request is going to be sent again."""

    def paused(self, seconds: float) -> None:
        """The host asked for a pause of ``seconds``, or cannot be reached (then 0.0)."""

    def stopping(self, reason: str) -> None:
        """The run takes no more work, for this reason, and is about to end."""


class IsolatedObserver:
    """Stands between a run and an observer; the first exception is logged, none passes."""

    def __init__(self, observer: Observer | None) -> None:
        self._observer = observer
        self._complained = False

    def listed(self, count: int) -> None:  # noqa: D102 - see Observer
        self._tell("listed", count)

    def selected(self, count: int) -> None:  # noqa: D102 - see Observer
        self._tell("selected", count)

    def bytes(self, count: int) -> None:  # noqa: D102 - see Observer
        self._tell("bytes", count)

    def settled(self, outcome: Outcome) -> None:  # noqa: D102 - see Observer
        self._tell("settled", outcome)

    def planned(self, calls: Sequence[Call]) -> None:  # noqa: D102 - see Observer
        self._tell("planned", calls)

    def retrying(self, retry: Retry) -> None:  # noqa: D102 - see Observer
        self._tell("retrying", retry)

    def paused(self, seconds: float) -> None:  # noqa: D102 - see Observer
        self._tell("paused", seconds)

    def stopping(self, reason: str) -> None:  # noqa: D102 - see Observer
        self._tell("stopping", reason)

    def _tell(self, what: str, value: Any) -> None:
        if self._observer is None:
            return
        hook: Callable[[Any], None] = getattr(self._observer, what)
        try:
            hook(value)
        except Exception as error:  # noqa: BLE001 - whatever a hook of somebody else's raises
            if not self._complained:
                self._complained = True
                if isinstance(error, OSError):  # a reader that has gone away is not a bug
                    _log.error("cannot tell how it goes: %s; the run continues", _reason(error))
                else:
                    line = "the observer failed in %s(): %s; the run continues"
                    _log.error(line, what, printable(str(error)), exc_info=error)


def _reason(error: OSError) -> str:
    return printable((error.strerror or str(error)).lower())


class LimitsBridge(LimitsObserver):
    """Passes on what slows requests down.

    Args:
        observer: of the run.
        paused: told of pauses; 0.0 if the host cannot be reached.
    """

    def __init__(self, observer: IsolatedObserver, paused: Callable[[float], None]) -> None:
        self._observer = observer
        self._paused = paused

    def retrying(self, retry: Retry) -> None:  # noqa: D102 - see LimitsObserver
        self._observer.retrying(retry)

    def paused(self, seconds: float, status: int | None) -> None:  # noqa: D102, ARG002 - see there
        self._paused(seconds)

    def unreachable(self, error: BaseException) -> None:  # noqa: D102, ARG002 - see there
        self._paused(0.0)

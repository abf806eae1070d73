"""Being told how a run goes, without being able to disturb it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any

from agentphone_async.models import Call
from agentphone_async.protocol.display import printable
from agentphone_async.recordings.outcomes import Outcome
from agentphone_async.transport.observer import Retry

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


class IsolatedObserver(Observer):
    """Stands between a run and an observer; the first exception is logged, none passes."""

    def __init__(self, observer: Observer | None) -> None:
        self._observer = observer
        self._complained = False

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


def _isolated(what: str) -> Callable[[IsolatedObserver, Any], None]:
    def hook(self: IsolatedObserver, value: Any) -> None:
        self._tell(what, value)

    return hook


for _name, _hook in list(vars(Observer).items()):
    if isinstance(_hook, FunctionType):
        setattr(IsolatedObserver, _name, _isolated(_name))


def _reason(error: OSError) -> str:
    return printable((error.strerror or str(error)).lower())

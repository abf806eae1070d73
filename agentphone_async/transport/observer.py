"""What slows requests down, for those who show it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

_log = logging.getLogger("agentphone_async.transport")


@dataclass(frozen=True, slots=True)
class Retry:
    """One request that is going to be sent again.

    Attributes:
        what: the endpoint's name, such as ``Get Call Recording``.
        call_id: whose, if it is about a call. It is a secret: shorten it where it is shown.
        status: what the server answered; None if there was no answer.
        error: why.
        attempt: how many times it was sent until now.
        seconds: until it is sent again; everybody's pause is not in it.
    """

    what: str
    call_id: str | None
    status: int | None
    error: BaseException
    attempt: int
    seconds: float


class LimitsObserver:
    """Told of what slows requests down. All methods do nothing here; override what is of interest.

    They are called in the event loop and must return at once. Register with
    ``limits.observers.append(...)``.
    """

    def retrying(self, retry: Retry) -> None:
        """One request is tried again."""

    def paused(self, seconds: float, status: int | None) -> None:
        """The host asked everybody to wait; ``status`` is 429 or 503, None for a pause of ours."""

    def unreachable(self, error: BaseException) -> None:
        """The host cannot be reached, and everybody waits for one probe."""


class Observers(list[LimitsObserver]):
    """All who are told; one that raises is logged, and not called any more."""

    def tell(self, what: Callable[[LimitsObserver], None]) -> None:
        """Call each of them."""
        for observer in tuple(self):
            try:
                what(observer)
            except Exception:  # noqa: BLE001 - any failure of a hook that is not ours
                self.remove(observer)
                _log.exception("an observer of the limits failed, and is not called any more")

    def tell_of_pause(self, seconds: float, status: int | None) -> None:
        """Everybody waits, since the host asks for it."""
        _log.info(
            "the host asks everybody to wait %.1f s",
            seconds,
            extra={"status": status, "seconds": seconds},
        )
        self.tell(lambda observer: observer.paused(seconds, status))

    def tell_of_outage(self, error: BaseException) -> None:
        """Everybody waits, since the host cannot be reached."""
        _log.info("the host cannot be reached: %s", error)
        self.tell(lambda observer: observer.unreachable(error))

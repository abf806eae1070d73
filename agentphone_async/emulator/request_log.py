"""What was asked: every request counted, the latest ones kept in full."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from agentphone_async.emulator.faults import Fault
from agentphone_async.emulator.routes import Route


@dataclass(slots=True, eq=False)
class LoggedRequest:
    """One request, as it arrived.

    Attributes:
        method: The HTTP method.
        target: Path and query exactly as they stood in the request line.
        route: The endpoint.
        call_id: The id in the path: a call's, or a number's or an agent's; may be empty.
        headers: Case-insensitive; contains the API key where one was sent.
        body: As received.
        at: The emulator's monotonic clock when it arrived, in seconds.
        status: What was answered; None while it is not, and when no answer was given.
        fault: What went wrong with it on purpose; None if nothing did.
    """

    method: str
    target: str
    route: Route
    call_id: str
    headers: Mapping[str, str] = field(repr=False)
    at: float
    body: bytes = b""
    status: int | None = None
    fault: Fault | None = None

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> dict[str, str]:
        """The query's parameters; the last of a repeated one."""
        return dict(parse_qsl(self.target.partition("?")[2], keep_blank_values=True))


class RequestLog:
    """Counts that are always exact, and the latest requests in full.

    Iterating yields the kept requests, oldest first; ``len`` is the number of all requests
    since the start or the last ``clear``.

    Args:
        keep: How many requests to keep in full. With 0, calls are not told apart either, so
            that memory does not grow with their number.
    """

    def __init__(self, keep: int = 10_000) -> None:
        self._keep = keep
        self._kept: deque[LoggedRequest] = deque(maxlen=keep)
        self._routes: Counter[Route] = Counter()
        self._statuses: Counter[tuple[Route, int]] = Counter()
        self._calls: Counter[tuple[Route, str]] = Counter()
        self.in_flight = 0
        self.peak_in_flight = 0

    def __len__(self) -> int:
        return sum(tuple(self._routes.values()))

    def __iter__(self) -> Iterator[LoggedRequest]:
        return iter(tuple(self._kept))

    def __getitem__(self, index: int) -> LoggedRequest:
        return self._kept[index]

    def of(self, route: Route, call_id: str | None = None) -> list[LoggedRequest]:
        """The kept requests of an endpoint, optionally those for one id, oldest first."""
        return [
            request
            for request in self
            if request.route == route and call_id in {None, request.call_id}
        ]

    def count(
        self, route: Route | None = None, *, call_id: str | None = None, status: int | None = None
    ) -> int:
        """How many requests there were, whether or not they are kept.

        Args:
            route: Only of this endpoint.
            call_id: Only for this id.
            status: Only those that were answered so.

        Raises:
            ValueError: Both ``call_id`` and ``status`` are given, or ``call_id`` to a log
                that keeps nothing: these are not counted.
        """
        if call_id is not None:
            if status is not None or not self._keep:
                raise ValueError("requests are counted by call id or by status, as far as kept")
            return sum(
                n
                for (at, of), n in tuple(self._calls.items())  # other threads count meanwhile
                if of == call_id and route in {None, at}
            )
        if status is not None:
            return sum(
                n
                for (at, of), n in tuple(self._statuses.items())
                if of == status and route in {None, at}
            )
        return len(self) if route is None else self._routes[route]

    def clear(self) -> None:
        """Forget everything, and count from zero."""
        self._kept.clear()
        for counts in (self._routes, self._statuses, self._calls):
            counts.clear()
        self.peak_in_flight = self.in_flight

    def opened(self, entry: LoggedRequest) -> None:
        """Count a request that has arrived."""
        self._routes[entry.route] += 1
        self.in_flight += 1
        self.peak_in_flight = max(self.peak_in_flight, self.in_flight)
        if self._keep:
            self._kept.append(entry)
            if entry.call_id:
                self._calls[entry.route, entry.call_id] += 1

    def answered(self, entry: LoggedRequest, status: int) -> None:
        """Note what was answered."""
        entry.status = status
        self._statuses[entry.route, status] += 1

    def closed(self) -> None:
        """A request is over."""
        self.in_flight -= 1

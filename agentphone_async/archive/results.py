"""What the calls of a run came to: counted once, told once, and what the list's end means."""

from __future__ import annotations

from datetime import datetime

from agentphone_async.archive.observer import IsolatedObserver
from agentphone_async.archive.prefetch import NewestFirst, Prefetcher
from agentphone_async.archive.record import Settled
from agentphone_async.archive.report import MOST_KEPT, Report
from agentphone_async.recordings.outcomes import NotReadyYet, Outcome


class Results:
    """Counts outcomes into the report of a run, and tells the observer.

    Args:
        report: of the run.
        observer: told about every call once.
        waits: calls that are not ready are told only when the waiting is over.
    """

    def __init__(self, report: Report, observer: IsolatedObserver, *, waits: bool) -> None:
        self._report = report
        self._observer = observer
        self._waits = waits
        self._waited_for: dict[str, Outcome] = {}

    def count(self, outcome: Outcome) -> None:
        """Count and tell what a call came to."""
        self._report.count(outcome)
        if isinstance(outcome, NotReadyYet) and self._waits:
            self._waited_for[outcome.call_id] = outcome
            return
        self._waited_for.pop(outcome.call_id, None)
        self._observer.settled(outcome)

    def count_settled(self, settled: Settled) -> None:
        """The same for one that was asked for, perhaps not for the first time."""
        report = self._report
        if settled.task.again:
            report.not_ready -= 1
        row, known = settled.row, settled.task.known
        if row is not None and row.state == "disputed":
            report.disputed += 1
            report.disputed_first += known is None or known.disputed is None
            report.disputed_without_url += settled.task.call.recording_url is None
        self.count(settled.outcome)

    def tell_the_rest(self) -> None:
        """The waiting is over."""
        for outcome in self._waited_for.values():
            self._observer.settled(outcome)
        self._waited_for.clear()

    def end_of_list(
        self, prefetcher: Prefetcher, order: NewestFirst, *, proved: bool, stopped: bool
    ) -> bool:
        """Say how the walk of the list ended; True if it saw all that is asked for."""
        report = self._report
        report.listing = "recent" if proved else "full"
        report.unreadable = len(prefetcher.problems)
        for problem in prefetcher.problems[:MOST_KEPT]:
            report.add_problem(str(problem))
        if stopped:
            report.error = prefetcher.error
            return proved or prefetcher.complete
        if prefetcher.cut_off and order.seen_since is not None:
            return self._cut_off(prefetcher, order.seen_since, order.since)
        report.error = prefetcher.error
        if prefetcher.error is not None:
            report.stop_reason = "listing"
            report.stopped_because = f"the list of calls broke off: {prefetcher.error}"
            return False
        if proved or prefetcher.complete:
            return True
        report.add_problem(
            "the server's list of calls went in circles or lost some; the next run may find more"
        )
        return False

    def _cut_off(
        self, prefetcher: Prefetcher, seen_since: datetime, since: datetime | None
    ) -> bool:
        """The server cuts its list off: days that were seen whole are complete."""
        line = (
            f"the server lists no more than its newest {prefetcher.listed:,} calls, and refused "
            f"the next page: {prefetcher.error}; calls since {seen_since.isoformat()} were seen"
        )
        self._report.add_problem(line)
        if since is not None and since >= seen_since:
            return True
        self._report.seen_since = seen_since
        return False

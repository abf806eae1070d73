"""Which calls of the API are not in an archive?"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from pathlib import Path

from agentphone_async.archive.catalog.database import Catalog
from agentphone_async.archive.catalog.recordings import current_recordings
from agentphone_async.archive.report import MOST_KEPT
from agentphone_async.archive.selection import Selection
from agentphone_async.client import AsyncAgentPhone
from agentphone_async.models import Call
from agentphone_async.protocol.display import printable

UNSEEN = "unseen"
"""The state of a call that the archive has never met."""

_BATCH = 256


@dataclass(frozen=True, slots=True)
class MissingCall:
    """A call that is not in the archive.

    Attributes:
        call: as the API lists it.
        state: ``unseen``, ``not_ready`` or ``failed``; with ``absent``, ``no_recording``, too.
    """

    call: Call
    state: str


@dataclass(slots=True)
class MissingReport:
    """What a comparison came to.

    Attributes:
        listed: calls that the API has.
        selected: those of them that were asked about.
        archived: those that are in the archive.
        no_recording: those that have none, as the archive knows.
        missing: those that are not in the archive, by state.
        undated: calls without a readable beginning: they are taken for selected.
        complete: whether every page of the list was seen.
        problems: one line for each row of the list that could not be read; the first 100.
    """

    listed: int = 0
    selected: int = 0
    archived: int = 0
    no_recording: int = 0
    missing: dict[str, int] = field(default_factory=dict)
    undated: int = 0
    complete: bool = False
    problems: list[str] = field(default_factory=list)


class Comparison:
    """Compares the API's list of calls with an archive's catalog; `report` is complete at the end.

    Args:
        dest: the archive.
        client: an open client with an API key.
        selection: which calls; all by default. Its filters are not left to the API, so that the
            answer does not depend on how it understands them.
        absent: give calls, too, of which the archive knows that they have no recording.
    """

    def __init__(
        self,
        dest: str | Path,
        client: AsyncAgentPhone,
        selection: Selection | None = None,
        *,
        absent: bool = False,
    ) -> None:
        self.report = MissingReport()
        self._folder = Path(dest)
        self._client = client
        self._selection = selection or Selection()
        self._any_day = replace(self._selection, since=None, until=None)
        self._absent = absent

    async def missing(self) -> AsyncGenerator[MissingCall]:
        """The calls that are missing, in the API's order. The disk is not looked at: see `verify`.

        Raises:
            CatalogError: the archive is missing, or its catalog cannot be used.
            AgentPhoneError: the list of calls cannot be fetched.
        """
        async with await Catalog.open(self._folder, write=False) as catalog:
            listing = self._client.calls.list()
            async with aclosing(aiter(listing)) as calls:
                batch: list[Call] = []
                async for call in calls:
                    self.report.listed += 1
                    if self._wants(call):
                        batch.append(call)
                    if len(batch) == _BATCH:
                        for missing in await self._judge(catalog, batch):
                            yield missing
                        batch = []
            for missing in await self._judge(catalog, batch):
                yield missing
        self.report.complete = listing.complete
        self.report.problems = [
            f"row {problem.row} of a page: {printable(problem.message)}"
            for problem in listing.problems[:MOST_KEPT]
        ]

    def _wants(self, call: Call) -> bool:
        if call.started_at is None and self._any_day.wants(call):
            self.report.undated += 1
            return True
        return self._selection.wants(call)

    async def _judge(self, catalog: Catalog, calls: list[Call]) -> list[MissingCall]:
        if not calls:
            return []
        known = await catalog.run(current_recordings, [call.id for call in calls])
        report = self.report
        report.selected += len(calls)
        missing: list[MissingCall] = []
        for call in calls:
            row = known.get(call.id)
            if row is not None and row.on_disk:
                report.archived += 1
                continue
            state = UNSEEN if row is None else row.state
            if state == "no_recording":
                report.no_recording += 1
                if not self._absent:
                    continue
            report.missing[state] = report.missing.get(state, 0) + 1
            missing.append(MissingCall(call, state))
        return missing

"""Everything that exists on the emulated account, and the questions that lists ask of it."""

from __future__ import annotations

import asyncio
import math
from bisect import insort
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter

from agentphone_async.emulator.models import EmulatedAgent, EmulatedCall, EmulatedNumber
from agentphone_async.emulator.seeding import numeric_id

_STARTED = attrgetter("started_at")


@dataclass(frozen=True, slots=True)
class Filter:
    """What a list is asked for; None asks for everything."""

    sub_account: str | None = None
    status: str | None = None
    direction: str | None = None
    type: str | None = None
    search: str | None = None
    number_id: str | None = None
    agent_id: str | None = None

    def admits(self, call: EmulatedCall, now: datetime) -> bool:
        """Whether a call belongs into the list at this moment."""
        return (
            call.sub_account == self.sub_account
            and (self.direction is None or call.direction == self.direction)
            and (self.type is None or call.type == self.type)
            and (self.number_id is None or call.phone_number_id == self.number_id)
            and (self.agent_id is None or call.agent_id == self.agent_id)
            and (self.search is None or self._finds(call))
            and (self.status is None or call.status(now) == self.status)
        )

    def _finds(self, call: EmulatedCall) -> bool:
        return self.search is not None and (
            self.search in call.from_number or self.search in call.to_number
        )


class Account:
    """The calls, agents and numbers of one emulated account.

    All methods are to be called on the emulator's event loop.
    """

    def __init__(
        self, staff: Iterable[EmulatedAgent] = (), lines: Iterable[EmulatedNumber] = ()
    ) -> None:
        self.agents = {agent.id: agent for agent in staff}
        self.numbers = {line.id: line for line in lines}
        self.sub_accounts: set[str] = set()
        self.recording_addon = True
        self._calls: dict[str, EmulatedCall] = {}
        self._oldest_first: list[EmulatedCall] = []
        self._unsettled: set[EmulatedCall] = set()
        self._lists: dict[Filter, tuple[datetime, Sequence[EmulatedCall]]] = {}
        self.on_added: Callable[[EmulatedCall], None] | None = None
        self._numbered: dict[str, EmulatedCall] = {}
        self._changed: list[asyncio.Future[None]] = []

    def __len__(self) -> int:
        return len(self._calls)

    def __iter__(self) -> Iterator[EmulatedCall]:
        """All calls, newest first."""
        return reversed(self._oldest_first)

    def get(self, call_id: str) -> EmulatedCall | None:
        """The call of that id, or of that number, as ``numeric_ids`` writes it."""
        call = self._calls.get(call_id)
        if call is None and call_id.isascii() and call_id.isdecimal():
            if not self._numbered:
                self._numbered = {str(numeric_id(name)): one for name, one in self._calls.items()}
            call = self._numbered.get(call_id)
        return call

    def after(self, call: EmulatedCall) -> EmulatedCall:
        """The call that began before it, or the newest: another one, if there are two."""
        place = self._oldest_first.index(call)
        return self._oldest_first[place - 1]

    def populate(self, calls: Iterable[EmulatedCall]) -> None:
        """Add many calls at once."""
        for call in calls:
            self._calls[call.id] = call
            if not call.settled:
                self._unsettled.add(call)
        self._oldest_first = sorted(self._calls.values(), key=_STARTED)
        self.announce_change()

    def add(self, call: EmulatedCall) -> None:
        """Add one call at the place where its start puts it.

        Raises:
            ValueError: A call of that id exists.
        """
        if call.id in self._calls:
            raise ValueError(f"there is a call {call.id!r} already")
        self._calls[call.id] = call
        insort(self._oldest_first, call, key=_STARTED)
        if not call.settled:
            self._unsettled.add(call)
        if call.sub_account is not None:
            self.sub_accounts.add(call.sub_account)
        if call.agent_id is not None:
            self.agents.setdefault(
                call.agent_id, EmulatedAgent(call.agent_id, call.agent_name or call.agent_id)
            )
        if call.phone_number_id is not None:
            self.numbers.setdefault(
                call.phone_number_id,
                EmulatedNumber(call.phone_number_id, call.phone_number or call.to_number),
            )
        if self.on_added is not None:
            self.on_added(call)
        self.announce_change()

    def remove(self, call_id: str) -> EmulatedCall:
        """Forget a call.

        Raises:
            KeyError: There is none of that id.
        """
        call = self._calls.pop(call_id)
        self._oldest_first.remove(call)
        self._unsettled.discard(call)
        self.announce_change()
        return call

    def listed(self, wanted: Filter, now: datetime) -> Sequence[EmulatedCall]:
        """The calls that a list shows, newest first."""
        known = self._lists.get(wanted)
        if known is not None and now < known[0]:
            return known[1]
        matching = [call for call in self if wanted.admits(call, now)]
        if len(self._lists) >= 32:
            self._lists.clear()
        self._lists[wanted] = (self._next_change(now), matching)
        return matching

    def announce_change(self) -> None:
        """Forget what was computed, and wake all who wait for a change."""
        self._lists.clear()
        self._numbered.clear()
        waiting, self._changed = self._changed, []
        for change in waiting:
            if not change.done():
                change.set_result(None)

    async def changed(self) -> None:
        """Return after the next ``announce_change``."""
        change: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._changed.append(change)
        try:
            await change
        finally:
            if change in self._changed:
                self._changed.remove(change)

    def _next_change(self, now: datetime) -> datetime:
        """Until when statuses stay as they are; calls whose life is over are settled."""
        soonest = math.inf
        for call in list(self._unsettled):
            wait = call.next_change(now)
            if math.isinf(wait) and call.has_ended(now):
                call.settled = True
                self._unsettled.discard(call)
            soonest = min(soonest, wait)
        farthest = datetime.max.replace(tzinfo=now.tzinfo)
        return farthest if math.isinf(soonest) else now + timedelta(seconds=soonest)

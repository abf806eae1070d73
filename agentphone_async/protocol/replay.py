"""Which events of a replayed stream were told before? A pure decision, event by event.

On every connect the server replays the transcript's history (API page "Stream Call Transcript"),
so after a reconnect what comes first was told already. Events are matched with those told, in
order: the second "Yes." of a history is never taken for its first. A server that resumes where
the stream broke, instead of replaying, is recognised by its first event.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any


@dataclass(frozen=True, slots=True)
class _Mark:
    """What is remembered of an event; digests, so that a long stream costs little.

    Attributes:
        exact: of all that it says.
        moment: of who spoke and when; None where the event does not say when.
    """

    exact: bytes
    moment: bytes | None


class ReplayFilter:
    """Lets every event through once, over any number of connections.

    Call `connected` at the beginning of each connection, then ask `is_new` for each event.
    """

    def __init__(self) -> None:
        self._told: list[_Mark] = []
        self._next = 0
        self._at_start = True

    @property
    def told(self) -> int:
        """How many events were let through so far."""
        return len(self._told)

    def connected(self) -> None:
        """A connection begins: what follows may be the history again."""
        self._next = 0
        self._at_start = True

    def is_new(self, event: str, data: Mapping[str, Any]) -> bool:
        """Whether this event, the connection's next, was not told before; if so, it is now."""
        mark = _mark(event, data)
        place = self._place(mark)
        first, self._at_start = self._at_start, False
        if place is not None:
            self._next = place + 1
            return False
        if first:
            self._next = len(self._told)  # no replay: the server resumes where it broke off
        # Where the history has it, so that what follows it there is known again next time.
        self._told.insert(self._next, mark)
        self._next += 1
        return True

    def _place(self, mark: _Mark) -> int | None:
        """Where, among those not yet replayed, this event was told."""
        for place in range(self._next, len(self._told)):
            if self._told[place].exact == mark.exact:
                return place
        # The same turn with its words corrected: recognition improves upon itself.
        due = self._told[self._next] if self._next < len(self._told) else None
        if due is not None and mark.moment is not None and due.moment == mark.moment:
            return self._next
        return None


def _mark(event: str, data: Mapping[str, Any]) -> _Mark:
    said = {name: value for name, value in data.items() if value is not None}
    created = said.get("createdAt")
    if created is None:
        return _Mark(_digest([event, said]), None)
    said["createdAt"] = created = _instant(created)
    return _Mark(_digest([event, said]), _digest([event, said.get("role"), created]))


def _instant(created: Any) -> Any:
    """The same for every way to write the same moment: with milliseconds and without, say."""
    try:
        moment = datetime.fromisoformat(created)
    except (TypeError, ValueError):
        return created
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return moment.timestamp()


def _digest(value: Any) -> bytes:
    text = json.dumps(value, sort_keys=True, default=str)
    return blake2b(text.encode("utf-8", "replace"), digest_size=16).digest()

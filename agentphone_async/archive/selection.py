"""Which calls are wanted: days, spans and filters, told apart here since the API cannot.

A day is a day of a zone: it begins when the date there turns for the last time, so that days of 23
and 25 hours, midnights that do not exist and days that a country skipped come out right, and the
days of a year tile it without a gap or an overlap.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Protocol

from agentphone_async.archive.zones import SelectionError, load_zone
from agentphone_async.protocol.display import printable
from agentphone_async.quantities import QuantityError, parse_duration

__all__ = [
    "DatedCall",
    "Range",
    "Selection",
    "SelectionError",
    "day_range",
    "load_zone",
    "parse_day",
    "parse_moment",
]

FIRST_DAY = date(1970, 1, 1)
LAST_DAY = date(9998, 12, 31)
_DAY = timedelta(days=1)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?"
    r" ?(?:[Zz]|[+-][0-9]{2}:?[0-9]{2})?"
)
_LIKE_A_DATE = re.compile(r"[0-9]+-|[0-9.]*[1-9][0-9.]*$")


class DatedCall(Protocol):
    """What `Selection.wants` looks at."""

    @property
    def started_at(self) -> datetime | None:
        """When the call began (aware), if that is known."""

    @property
    def status(self) -> str | None:
        """As the API says it."""

    @property
    def direction(self) -> str | None:
        """As the API says it."""


@dataclass(frozen=True, slots=True)
class Range:
    """A span of time: `start` belongs to it, `end` does not. Both are aware and in UTC."""

    start: datetime
    end: datetime

    def __contains__(self, moment: datetime) -> bool:
        return self.start <= moment < self.end

    @property
    def length(self) -> timedelta:
        """How long it really lasts."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Selection:
    """The calls that are wanted; None means that a bound or a filter is not set.

    Attributes:
        since: aware; calls that began then or later.
        until: aware; calls that began before it.
        status: as the API says it; case does not matter, nor `_` for `-`.
        direction: "inbound" or "outbound", likewise.

    Raises:
        SelectionError: `since` is not before `until`, or one of them has no zone.
    """

    since: datetime | None = None
    until: datetime | None = None
    status: str | None = None
    direction: str | None = None

    def __post_init__(self) -> None:
        for moment in (self.since, self.until):
            if moment is not None and moment.tzinfo is None:
                raise SelectionError(f"{moment.isoformat()} has no time zone; give it one")
        if self.since is not None and self.until is not None and self.since >= self.until:
            raise SelectionError(
                f"since {self.since.isoformat()} is not before until {self.until.isoformat()}; "
                "until is not included: exchange them, or use a later until"
            )

    @classmethod
    def of_day(
        cls, day: date, zone: tzinfo, *, status: str | None = None, direction: str | None = None
    ) -> Selection:
        """The calls that began on a day of a zone.

        Raises:
            SelectionError: the zone skipped that day altogether.
        """
        span = day_range(day, zone)
        if not span.length:
            raise SelectionError(f"the day {day} does not exist in {zone}; use another day or zone")
        return cls(span.start, span.end, status, direction)

    def contains(self, moment: datetime) -> bool:
        """Whether a moment lies between the bounds."""
        return (self.since is None or moment >= self.since) and (
            self.until is None or moment < self.until
        )

    def wants(self, call: DatedCall) -> bool:
        """Whether a call is selected.

        A call whose beginning is unknown lies in no span: it is wanted only where neither `since`
        nor `until` is set. Callers who must lose nothing look for such calls themselves.
        """
        began = call.started_at
        if self.since is not None and (began is None or began < self.since):
            return False
        if self.until is not None and (began is None or began >= self.until):
            return False
        return _matches(self.status, call.status) and _matches(self.direction, call.direction)


def parse_day(text: str, today: date) -> date:
    """A day: ``today``, ``yesterday`` or ``YYYY-MM-DD``, from 1970 to 9998.

    `today` is today's date in the zone of the user.

    Raises:
        SelectionError: anything else, impossible dates such as 2026-02-30 included.
    """
    plain = text.strip().lower()
    if plain == "today":
        return today
    if plain == "yesterday":
        return today - _DAY
    if not _DATE.fullmatch(plain):
        raise SelectionError(
            f"'{printable(text, 40)}' is not a date; write YYYY-MM-DD, today or yesterday"
        )
    try:
        day = date.fromisoformat(plain)
    except ValueError:
        raise SelectionError(f"'{plain}' is not in the calendar; check month and day") from None
    return _within_reach(day)


def day_range(day: date, zone: tzinfo) -> Range:
    """The span of a calendar day in a zone.

    It runs from the last time that the date turned to `day` until the last time that it turned to
    the next one: usually 24 hours, 23 or 25 (or else) when clocks are set, and none for a day that
    the zone skipped. The spans of consecutive days meet exactly.

    Raises:
        SelectionError: the day is before 1970 or after 9998.
    """
    _within_reach(day)
    return Range(_turn_of(day, zone), _turn_of(day + _DAY, zone))


def parse_moment(text: str, zone: tzinfo, now: datetime) -> datetime:
    """A moment for ``--since`` or ``--until``, in UTC.

    Args:
        text: a date, ``today`` or ``yesterday`` (their beginning in `zone`), ``now``, an ISO 8601
            date and time with an offset or without (then of `zone`; of two equal wall times the
            first), or a duration, which counts back from now (``36h``, ``7d``).
        zone: the zone of the user.
        now: the current time (aware).

    Raises:
        SelectionError: anything else, or a moment before 1970 or after 9998.
    """
    plain = text.strip()
    if plain.lower() == "now":
        return now.astimezone(UTC)
    if _MOMENT.fullmatch(plain):
        return _parse_iso(plain, zone)
    if plain.lower() in ("today", "yesterday") or _DATE.fullmatch(plain):
        return day_range(parse_day(plain, now.astimezone(zone).date()), zone).start
    if not _LIKE_A_DATE.match(plain):
        try:
            moment = now.astimezone(UTC) - parse_duration(plain)
        except QuantityError as error:
            if "100 years" in str(error):
                raise SelectionError(str(error)) from error
        else:
            _within_reach(moment.date())
            return moment
    raise SelectionError(
        f"'{printable(text, 40)}' is not a point in time; write YYYY-MM-DD, YYYY-MM-DDTHH:MM, "
        "today, yesterday, or how long ago, such as 36h or 7d"
    )


def _parse_iso(text: str, zone: tzinfo) -> datetime:
    try:
        moment = datetime.fromisoformat(text.upper().replace(" ", "T", 1).replace(" ", ""))
        _within_reach(moment.date())
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=zone)
        return moment.astimezone(UTC)
    except SelectionError:
        raise
    except (ValueError, OverflowError):
        raise SelectionError(
            f"'{printable(text, 40)}' is not in the calendar or on the clock; check each part"
        ) from None


def _within_reach(day: date) -> date:
    if not FIRST_DAY <= day <= LAST_DAY:
        raise SelectionError(f"'{day}' is out of reach; use dates from {FIRST_DAY} to {LAST_DAY}")
    return day


def _turn_of(day: date, zone: tzinfo) -> datetime:
    """The first moment after the last one whose local date is before `day`."""
    midnight = datetime.combine(day, time(), tzinfo=zone)
    first = midnight.astimezone(UTC)
    second = midnight.replace(fold=1).astimezone(UTC)
    if first == second:
        return first
    if first < second:
        # The clock was set back over midnight. Twice 00:00: it counts the last time when the
        # hour between belongs to the day before, the first time when it already was this day.
        moment_before = (second - timedelta(microseconds=1)).astimezone(zone)
        return second if moment_before.date() < day else first
    # Midnight was skipped: the date turned where the clock jumped, somewhere in between.
    before, after = int(second.timestamp()) - 1, int(first.timestamp())
    while after - before > 1:
        middle = (before + after) // 2
        if datetime.fromtimestamp(middle, zone).date() < day:
            before = middle
        else:
            after = middle
    return datetime.fromtimestamp(after, UTC)


def _matches(wanted: str | None, actual: str | None) -> bool:
    return wanted is None or (actual is not None and _plain(wanted) == _plain(actual))


def _plain(word: str) -> str:
    return word.strip().lower().replace("_", "-")

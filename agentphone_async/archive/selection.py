"""Which calls are wanted: days, spans and filters, told apart here since the API cannot.

A day is a day of a zone: it begins when the date there turns for the last time, so that days of 23
and 25 hours, midnights that do not exist and days that a country skipped come out right, and the
days of a year tile it without a gap or an overlap.

The local zone is looked up by name, as the C library does: first in ``TZ``, then behind
``/etc/localtime``. `datetime.astimezone()` would give one offset for every date, so that a day in
July would begin an hour off when asked for in November.
"""

from __future__ import annotations

import difflib
import os
import re
import time
import zoneinfo
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Protocol

from agentphone_async.protocol.display import printable
from agentphone_async.quantities import QuantityError, parse_duration

LOCALTIME = Path("/etc/localtime")
FIRST_DAY = date(1970, 1, 1)
LAST_DAY = date(9998, 12, 31)
_DAY = timedelta(days=1)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?"
    r" ?(?:[Zz]|[+-][0-9]{2}:?[0-9]{2})?"
)
_LIKE_A_DATE = re.compile(r"[0-9]+-|[0-9.]*[1-9][0-9.]*$")


class SelectionError(ValueError):
    """A value that selects nothing sensible; the message names it and says what to write instead.

    The message is one harmless line, ready for a terminal.
    """


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
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone)
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


# ---------------------------------------------------------------- zones


def load_zone(
    name: str | None,
    *,
    environ: Mapping[str, str] | None = None,
    localtime: Path = LOCALTIME,
) -> tzinfo:
    """The zone of an IANA name such as ``Europe/Berlin``, or the local zone for None.

    Args:
        name: IANA name; None for the zone of this machine.
        environ: where ``TZ`` is looked up; the process's environment by default.
        localtime: the file or link that tells the machine's zone.

    Raises:
        SelectionError: the zone is unknown; the message suggests a similar name.
    """
    if name is not None:
        zone = _named(name)
        if zone is None:
            raise SelectionError(_unknown(name))
        return zone
    variable = (os.environ if environ is None else environ).get("TZ")
    if variable is not None:
        return _from_variable(variable)
    return _from_file(localtime) or SystemZone()


class SystemZone(tzinfo):
    """Whatever the C library takes for local time, asked again for every date.

    The fallback where the machine's zone has no name that can be found (Windows, a ``TZ`` in
    POSIX notation).
    """

    def utcoffset(self, when: datetime | None) -> timedelta | None:
        """What to add to UTC at a wall time; `fold` chooses between two where the clock is set."""
        return None if when is None else _offset_at(when.replace(tzinfo=None))

    def dst(self, when: datetime | None) -> timedelta | None:
        """Zero; only `fromutc` of the base class would need it, and that is replaced here."""
        return None if when is None else timedelta(0)

    def tzname(self, when: datetime | None) -> str | None:
        """Always "local", since the name may not be known."""
        return None if when is None else "local"

    def fromutc(self, when: datetime) -> datetime:
        """The wall time of a moment that is given in UTC."""
        offset = _offset_at(when.replace(tzinfo=UTC))
        local = when + offset
        return local.replace(fold=int(local.utcoffset() != offset))

    def __repr__(self) -> str:
        return "SystemZone()"


def _offset_at(when: datetime) -> timedelta:
    """The C library's offset at a moment, or at a wall time without a zone."""
    try:
        if when.tzinfo is not None:
            return when.astimezone().utcoffset() or timedelta(0)
        # In an hour that is skipped, `astimezone()` differs between versions of Python.
        wall = when.replace(microsecond=0)
        return wall.replace(tzinfo=UTC) - datetime.fromtimestamp(wall.timestamp(), UTC)
    except (OverflowError, OSError, ValueError):  # outside of what the platform's time_t can do
        return timedelta(seconds=-time.timezone)


def _named(name: str) -> tzinfo | None:
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        # Unknown; malformed ('../x', NUL, lone surrogates); a folder or not readable.
        return UTC if name == "UTC" else None


def _from_variable(variable: str) -> tzinfo:
    value = variable.removeprefix(":")
    if not value:
        return UTC  # POSIX: set, but empty
    if value.startswith("/"):
        return _from_file(Path(value)) or SystemZone()
    return _named(value) or SystemZone()


def _from_file(path: Path) -> tzinfo | None:
    try:
        real = path.resolve(strict=True)
        _, found, key = real.as_posix().partition("/zoneinfo/")
        zone = _named(key.removeprefix("posix/")) if found else None
        if zone is not None:
            return zone
        with real.open("rb") as file:
            return zoneinfo.ZoneInfo.from_file(file, key=None)
    except (OSError, ValueError, RuntimeError):
        # Not there, not a zone file, or a loop of links.
        return None


def _unknown(name: str) -> str:
    known = zoneinfo.available_timezones()
    message = f"there is no time zone '{printable(name, 60)}'"
    if not known:
        return f"{message}: this machine has no zone data; pip install tzdata"
    by_folded = {each.casefold(): each for each in sorted(known)}
    alike = difflib.get_close_matches(name[:60].casefold().replace(" ", "_"), by_folded, n=1)
    if alike:
        return f"{message}; did you mean {by_folded[alike[0]]}?"
    return f"{message}; write an IANA name such as Europe/Berlin or UTC"

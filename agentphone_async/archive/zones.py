"""Time zones by name, and the zone of this machine with its daylight-saving history.

`datetime.astimezone()` would give today's offset for every date, so that a day in July would begin
an hour off when asked for in November. Here the local zone is looked up by name, as the C library
does: first in ``TZ``, then behind ``/etc/localtime``.
"""

from __future__ import annotations

import difflib
import os
import time
import zoneinfo
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path

from agentphone_async.protocol.display import printable

__all__ = ["SelectionError", "SystemZone", "load_zone"]

LOCALTIME = Path("/etc/localtime")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ZERO = timedelta(0)


class SelectionError(ValueError):
    """A value that selects nothing sensible; the message names it and says what to write instead.

    The message is one harmless line, ready for a terminal.
    """


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
        SelectionError: there is no zone of that name; the message proposes one that is alike.
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
        """What to add to UTC at a wall time."""
        return None if when is None else self._offset(when)

    def dst(self, when: datetime | None) -> timedelta | None:
        """Zero; only `fromutc` of the base class would need it, and that is replaced here."""
        return None if when is None else _ZERO

    def tzname(self, when: datetime | None) -> str | None:
        """Always "local", since the name may not be known."""
        return None if when is None else "local"

    def fromutc(self, when: datetime) -> datetime:
        """The wall time of a moment that is given in UTC."""
        offset = _offset_at(_seconds(when))
        local = when + offset
        # The second of two equal wall times is told by the offset that held before.
        before = _offset_at(_seconds(when) - 7200)
        repeated = before > offset and _offset_at(_seconds(local - before)) == before
        return local.replace(fold=int(repeated))

    def __repr__(self) -> str:
        return "SystemZone()"

    def _offset(self, when: datetime) -> timedelta:
        """The offset of a wall time; `fold` chooses between two where the clock is set."""
        wall = _seconds(when)
        day = 86_400
        early, late = _offset_at(wall - day), _offset_at(wall + day)
        first = _offset_at(wall - int(early.total_seconds()))
        second = _offset_at(wall - int(late.total_seconds()))
        if first == early and second == late:
            return late if when.fold else early
        if first == early:
            return early
        if second == late:
            return late
        return late if when.fold else early  # skipped: as zoneinfo does


def _seconds(when: datetime) -> int:
    return int((when.replace(tzinfo=UTC, fold=0) - _EPOCH).total_seconds() // 1)


def _offset_at(timestamp: int) -> timedelta:
    try:
        return timedelta(seconds=time.localtime(timestamp).tm_gmtoff)
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

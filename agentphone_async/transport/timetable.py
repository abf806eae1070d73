"""Bandwidths and timetables of bandwidths, written as rclone's ``--bwlimit`` has them.

Source: https://rclone.org/docs/#bwlimit-bwtimetable
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from datetime import datetime

from agentphone_async.errors import ConfigurationError
from agentphone_async.protocol.display import printable

_UNITS = {"b": 1, "": 2**10, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
_BANDWIDTH = re.compile(
    r"(\d+(?:\.\d+)?|\.\d+)([bkmgt]?)(?:(?<=[kmgt])i?b?)?", re.IGNORECASE | re.ASCII
)
_ENTRY = re.compile(r"(?:([A-Za-z]+)-)?(\d{1,2}):(\d{2}),(\S+)", re.ASCII)
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_MINUTES_A_DAY = 24 * 60


def parse_bandwidth(text: str) -> float | None:
    """Bytes per second of ``8M``, ``512k``, ``1.5M``, ``100b``; None for ``off`` and ``0``.

    Units are binary (k = 1024) and their case does not matter; a bare number is in KiB, as
    rclone has it. ``KiB``, ``Mi`` and ``MB`` are understood as ``k`` and ``M``.

    Raises:
        ConfigurationError: it is not a bandwidth; the message is one line.
    """
    stripped = text.strip()
    if stripped.lower() == "off":
        return None
    match = _BANDWIDTH.fullmatch(stripped)
    if match is None:
        raise ConfigurationError(
            f"bandwidth limit '{printable(text, 60)}' is not understood;"
            " write bytes per second such as 8M, 512k or 1.5M, or off"
        )
    rate = float(match[1]) * _UNITS[match[2].lower()]
    return rate if rate > 0 else None


@dataclass(frozen=True, slots=True)
class Timetable:
    """Which bandwidth holds when, week for week.

    Attributes:
        entries: (minute of the week from Monday 00:00, bytes per second or None), ascending,
            at least one; each holds until the next, the last one over the turn of the week.
    """

    entries: tuple[tuple[int, float | None], ...]

    @classmethod
    def parse(cls, text: str) -> Timetable:
        """Read ``8M``, ``08:00,512k 12:00,10M 23:00,off`` or ``Mon-00:00,512k Sat-08:30,off``.

        An entry without a weekday holds on all seven.

        Raises:
            ConfigurationError: it is neither; the message is one line and quotes the part.
        """
        words = text.split()
        if len(words) == 1 and "," not in words[0]:
            return cls(((0, parse_bandwidth(words[0])),))
        entries: dict[int, float | None] = {}
        for word in words:
            minutes, rate = _entry(word)
            entries.update(dict.fromkeys(minutes, rate))
        if not entries:
            raise ConfigurationError("the bandwidth limit is empty; write 8M, say, or off")
        return cls(tuple(sorted(entries.items())))

    def rate_at(self, when: datetime) -> float | None:
        """Bytes per second at a local date and time; None for no limit."""
        minute = when.weekday() * _MINUTES_A_DAY + when.hour * 60 + when.minute
        index = bisect_right(self.entries, minute, key=lambda entry: entry[0])
        return self.entries[index - 1][1]

    @property
    def limits(self) -> bool:
        """False if it never limits anything."""
        return any(rate is not None for _, rate in self.entries)


def _entry(word: str) -> tuple[list[int], float | None]:
    """The minutes of the week at which one entry begins to hold, and its rate."""
    match = _ENTRY.fullmatch(word)
    if match is None or int(match[2]) > 23 or int(match[3]) > 59:
        raise ConfigurationError(
            f"bandwidth timetable entry '{printable(word, 60)}' is not understood;"
            " write times with bandwidths such as 08:00,512k or Mon-23:30,off"
        )
    minute = int(match[2]) * 60 + int(match[3])
    days = range(7) if match[1] is None else (_weekday(match[1], word),)
    return [day * _MINUTES_A_DAY + minute for day in days], parse_bandwidth(match[4])


def _weekday(name: str, word: str) -> int:
    for number, day in enumerate(_DAYS):
        if name.lower() in {day, day[:3]}:
            return number
    raise ConfigurationError(
        f"bandwidth timetable entry '{printable(word, 60)}' names no weekday; write Mon to Sun"
    )

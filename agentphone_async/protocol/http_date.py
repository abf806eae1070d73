"""Dates in HTTP headers (RFC 9110, section 5.6.7)."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

__all__ = ["parse_http_date"]

_MONTHS = {
    name: number
    for number, name in enumerate(
        ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), 1
    )
}
_TIME = r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
_MONTH = "(?P<month>" + "|".join(_MONTHS) + ")"
_FORMS = tuple(
    re.compile(form, re.IGNORECASE | re.ASCII)
    for form in (
        # IMF-fixdate: Sun, 06 Nov 1994 08:49:37 GMT
        rf"[a-z]{{3}}, (?P<day>[0-9]{{1,2}}) {_MONTH} (?P<year>[0-9]{{4}}) {_TIME} (?:GMT|UTC)",
        # RFC 850: Sunday, 06-Nov-94 08:49:37 GMT
        rf"[a-z]{{6,9}}, (?P<day>[0-9]{{2}})-{_MONTH}-(?P<year>[0-9]{{2}}) {_TIME} GMT",
        # asctime: Sun Nov  6 08:49:37 1994
        rf"[a-z]{{3}} {_MONTH} (?P<day>[0-9 ][0-9]) {_TIME} (?P<year>[0-9]{{4}})",
    )
)
_LEAP_SECOND = 60
_CENTURY_RULE_YEARS = 50


def parse_http_date(value: str, now: datetime) -> datetime | None:
    """The moment that an HTTP date names, in UTC, or None when it is no HTTP date.

    All three forms are read. The weekday is not compared with the date. A year of two digits that
    would lie more than 50 years after `now` (aware) is taken from the century before, as section
    5.6.7 asks. A leap second is the first second of the next minute.
    """
    text = value.strip()
    found = next(filter(None, (form.fullmatch(text) for form in _FORMS)), None)
    if found is None:
        return None
    year, second = int(found["year"]), int(found["second"])
    if len(found["year"]) == 2:
        year = _full_year(year, now.astimezone(UTC).year)
    if second > _LEAP_SECOND:
        return None
    try:
        minute = datetime(
            year,
            _MONTHS[found["month"].lower()],
            int(found["day"]),
            int(found["hour"]),
            int(found["minute"]),
            tzinfo=UTC,
        )
        return minute + timedelta(seconds=second)
    except (ValueError, OverflowError):
        return None


def _full_year(two_digits: int, this_year: int) -> int:
    year = this_year - this_year % 100 + two_digits
    return year - 100 if year > this_year + _CENTURY_RULE_YEARS else year

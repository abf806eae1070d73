"""Zones by name, and the zone of the machine with its history."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agentphone_async.archive.selection import SelectionError, SystemZone, load_zone

ZONEINFO = Path("/usr/share/zoneinfo")
needs_zone_files = pytest.mark.skipif(
    not (ZONEINFO / "Europe/Berlin").is_file(), reason="no zone files at the usual place"
)
SUMMER = datetime(2026, 7, 1, 12, tzinfo=UTC)
WINTER = datetime(2026, 1, 1, 12, tzinfo=UTC)


def offsets(zone: object) -> tuple[timedelta | None, timedelta | None]:
    return (SUMMER.astimezone(zone).utcoffset(), WINTER.astimezone(zone).utcoffset())  # type: ignore[arg-type]


BERLIN = (timedelta(hours=2), timedelta(hours=1))
NONE = (timedelta(0), timedelta(0))


def test_a_zone_by_name() -> None:
    assert load_zone("Europe/Berlin") is ZoneInfo("Europe/Berlin")
    assert offsets(load_zone("UTC")) == NONE


@pytest.mark.parametrize(
    "name",
    ["", "Mars/Olympus", "Europe", "../etc/passwd", "/etc/passwd", "a\0b", "\ud800", "x" * 5000, "\x1b[31m", "é", "CET-1CEST", "+02:00", "."],
)  # fmt: skip
def test_an_unknown_zone_gets_one_clear_line(name: str) -> None:
    with pytest.raises(SelectionError, match=r"^there is no time zone '") as caught:
        load_zone(name)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("name", "proposed"),
    [("Europe/Berlinn", "Europe/Berlin"), ("Berlin", "Europe/Berlin"), ("america/new york", "America/New_York")],
)  # fmt: skip
def test_a_misspelt_zone_is_corrected(name: str, proposed: str) -> None:
    with pytest.raises(SelectionError, match=f"did you mean {proposed}\\?"):
        load_zone(name)


@pytest.mark.parametrize("variable", ["Europe/Berlin", ":Europe/Berlin"])
def test_the_local_zone_comes_from_tz_first(variable: str, tmp_path: Path) -> None:
    zone = load_zone(None, environ={"TZ": variable}, localtime=tmp_path / "none")
    assert offsets(zone) == BERLIN


def test_an_empty_tz_is_utc() -> None:
    assert load_zone(None, environ={"TZ": ""}) is UTC


@needs_zone_files
def test_a_tz_may_be_a_path() -> None:
    zone = load_zone(None, environ={"TZ": f":{ZONEINFO}/Europe/Berlin"})
    assert str(zone) == "Europe/Berlin"


@needs_zone_files
@pytest.mark.parametrize("copied", [False, True])
def test_then_from_the_link_or_the_file(tmp_path: Path, copied: bool) -> None:
    localtime = tmp_path / "localtime"
    if copied:
        localtime.write_bytes((ZONEINFO / "Europe/Berlin").read_bytes())
    else:
        localtime.symlink_to(ZONEINFO / "Europe/Berlin")
    zone = load_zone(None, environ={}, localtime=localtime)
    assert offsets(zone) == BERLIN
    assert (str(zone) == "Europe/Berlin") is not copied


@pytest.mark.parametrize("kind", ["missing", "rubbish", "loop"])
def test_and_else_from_the_c_library(tmp_path: Path, kind: str) -> None:
    localtime = tmp_path / "localtime"
    if kind == "rubbish":
        localtime.write_bytes(b"not a zone")
    if kind == "loop":
        localtime.symlink_to(localtime)
    assert isinstance(load_zone(None, environ={}, localtime=localtime), SystemZone)
    assert isinstance(load_zone(None, environ={"TZ": "CET-1CEST,M3.5.0,M10.5.0/3"}), SystemZone)


@pytest.fixture(scope="module", autouse=True)
def berlin_machine() -> Iterator[None]:
    """The C library believes to be in Berlin while these tests run."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = "CET-1CEST,M3.5.0,M10.5.0/3"
    time.tzset()
    yield
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


RULES_SINCE = datetime(1997, 1, 1, tzinfo=UTC)  # the POSIX rule knows no history before
SPRING, AUTUMN = datetime(2026, 3, 29, 1, tzinfo=UTC), datetime(2026, 10, 25, 1, tzinfo=UTC)
near = st.timedeltas(timedelta(hours=-4), timedelta(hours=4))
instants = st.datetimes(
    datetime(1997, 1, 1),  # noqa: DTZ001 - Hypothesis adds the zone
    datetime(2037, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
) | st.builds(lambda turn, by: turn + by, st.sampled_from([SPRING, AUTUMN]), near)


@settings(max_examples=200)
@given(instants)
@example(SPRING)
@example(AUTUMN)
@example(AUTUMN - timedelta(microseconds=1))
@example(AUTUMN + timedelta(hours=1))
def test_the_c_library_agrees_with_the_zone_files(instant: datetime) -> None:
    system, reference = SystemZone(), ZoneInfo("Europe/Berlin")
    ours, theirs = instant.astimezone(system), instant.astimezone(reference)
    assert (ours.replace(tzinfo=None), ours.fold) == (theirs.replace(tzinfo=None), theirs.fold)
    assert ours.astimezone(UTC) == instant
    for fold in (0, 1):
        wall = theirs.replace(fold=fold)
        assert wall.replace(tzinfo=system).utcoffset() == wall.utcoffset()


@pytest.mark.parametrize("hour", [0, 1, 2, 3])
def test_skipped_and_repeated_wall_times_agree_too(hour: int) -> None:
    for day in (SPRING, AUTUMN):
        for fold in (0, 1):
            wall = day.replace(hour=hour, minute=30, fold=fold)
            ours = wall.replace(tzinfo=SystemZone()).utcoffset()
            assert ours == wall.replace(tzinfo=ZoneInfo("Europe/Berlin")).utcoffset()


@pytest.mark.parametrize("year", [1, 1970, 2106, 9999])
def test_no_year_breaks_it(year: int) -> None:
    assert datetime(year, 6, 1, tzinfo=SystemZone()).utcoffset() is not None
    assert datetime(year, 6, 1, tzinfo=UTC).astimezone(SystemZone()).year == year

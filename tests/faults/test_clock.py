"""Clocks that step, days that are not 24 hours long, and dates at the edges."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from agentphone_async import Archive, RunOptions, Selection
from tests.faults.conftest import Scene

HOUR = timedelta(hours=1)


@pytest.mark.parametrize("step", [HOUR, -HOUR, timedelta(days=400), timedelta(days=-400)])
async def test_a_clock_that_steps_changes_no_file(scene: Scene, step):
    scene.add(id="without", duration=0.1, recording=False)
    times = itertools.count()

    def jumping() -> datetime:
        return datetime.now(UTC) + (step if next(times) % 2 else timedelta(0))

    report = await scene.run(archive=Archive(scene.folder, now=jumping))
    assert (report.archived, report.failed) == (6, 0)
    assert report.seconds < 60, "durations come from the monotonic clock"
    assert report.no_recording + report.not_ready == 1
    await scene.oracle.holds(report)


async def test_a_clock_that_was_ahead_loses_nothing_with_last(scene: Scene):
    ahead = Archive(scene.folder, now=lambda: datetime.now(UTC) + 5 * HOUR)
    await scene.run(archive=ahead)
    scene.add(id="late", started_at=datetime.now(UTC) - HOUR, duration=0.1)
    report = await scene.run(options=RunOptions(since_last=True))
    assert report.archived == 1
    await scene.oracle.holds(report)


@pytest.mark.parametrize(
    ("day", "hours"), [(date(2026, 3, 29), 23), (date(2026, 10, 25), 25), (date(2026, 6, 1), 24)]
)
async def test_a_day_is_as_long_as_its_zone_makes_it(scene: Scene, day, hours):
    zone = ZoneInfo("Europe/Berlin")
    start = datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
    for hour in range(-2, 28):
        scene.add(id=f"hour_{hour}", started_at=start + hour * HOUR, duration=0.1)
    options = RunOptions(zone=zone)
    report = await scene.run(Selection.of_day(day, zone), options=options)
    assert report.archived == hours
    assert len(list((scene.folder / f"{day:%Y/%m/%d}").glob("*.wav"))) == hours
    scene.oracle.options = options
    await scene.oracle.holds(report)


async def test_calls_of_1970_and_2106_have_safe_names(scene: Scene):
    for year in (1970, 2038, 2106, 9999):
        scene.add(id=f"year_{year}", started_at=datetime(year, 1, 1, tzinfo=UTC), duration=0.1)
    scene.oracle.options = RunOptions(zone=ZoneInfo("Pacific/Kiritimati"))
    await scene.endures()
    years = {path.name for path in scene.folder.glob("*") if path.is_dir()}
    assert {"1969", "2038", "2106", "9999"} <= years, "in a zone that was behind in 1970"

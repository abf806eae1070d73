"""What lists can do while they are walked; and that the walk ends, and tells what it missed."""

from __future__ import annotations

import pytest

from agentphone_async.errors import AgentPhoneError, ServerError, UnexpectedResponseError
from tests.faults.conftest import Scene


@pytest.fixture
def pages(scene: Scene) -> Scene:
    """Three pages of calls, few of them recorded."""
    for number in range(250):
        scene.add(id=f"more_{number:03}", duration=0.1, recording=number % 25 == 0)
    return scene


async def test_calls_that_arrive_between_pages_hide_none(pages: Scene):
    pages.emulator.fail(route="list_calls", arrive=3)
    report = await pages.run()
    assert report.archived >= 16
    assert {f"more_{n:03}" for n in range(0, 250, 25)} <= await pages.oracle.disk()
    await pages.oracle.holds(report)


async def test_calls_that_vanish_between_pages_hide_none(pages: Scene):
    pages.emulator.fail(route="list_calls", vanish=7, times=3)
    report = await pages.run()
    kept = {call.id for call in pages.emulator.calls if call.recorded}
    assert kept <= await pages.oracle.disk()
    pages.oracle.counts(report)
    assert (await pages.run()).archived == 0


@pytest.mark.parametrize("page", ["repeat", "endless", "empty"])
async def test_lists_without_an_end_are_left(pages: Scene, page):
    pages.emulator.fail(route="list_calls", page=page)
    report = await pages.run()
    assert pages.emulator.requests.count("list_calls") < 60
    if page != "endless":
        assert not report.complete
    await pages.oracle.holds(report)


@pytest.mark.parametrize("page", ["no-total", "wrong-total", "duplicate"])
async def test_odd_pages_lose_nothing(pages: Scene, page):
    pages.emulator.fail(route="list_calls", page=page)
    report = await pages.run()
    assert (report.listed, report.archived) == (256, 16)
    await pages.oracle.holds(report)


@pytest.mark.parametrize("page", ["null-ids", "null-rows"])
async def test_rows_that_make_no_sense_are_reported_and_the_rest_goes_on(pages: Scene, page):
    pages.emulator.fail(route="list_calls", page=page, skip=1, times=1)
    report = await pages.run()
    assert report.selected >= 150
    assert any("row " in problem for problem in report.problems)
    await pages.oracle.holds(report)


@pytest.mark.parametrize("page", ["no-data", "malformed"])
async def test_a_page_that_is_none_makes_the_run_incomplete(pages: Scene, page):
    pages.emulator.fail(route="list_calls", page=page, skip=1)
    report = await pages.run()
    assert not report.complete
    assert report.selected >= 100
    if page == "malformed":
        assert report.stop_reason == "listing"
        assert isinstance(report.error, UnexpectedResponseError)
    await pages.oracle.holds(report)


async def test_trouble_at_a_page_is_retried_at_that_page(pages: Scene):
    pages.emulator.fail(route="list_calls", status=503, skip=1, times=2)
    report = await pages.run()
    assert (report.listed, report.complete) == (256, True)
    offsets = [r.query["offset"] for r in pages.emulator.requests.of("list_calls")]
    assert offsets.count(offsets[1]) == 3, "the same page, three times"
    assert offsets.count("0") == 1
    await pages.oracle.holds(report)


async def test_trouble_that_does_not_end_keeps_what_was_listed(pages: Scene):
    pages.emulator.fail(route="list_calls", status=500, skip=2)
    report = await pages.run()
    assert isinstance(report.error, ServerError)
    assert report.stop_reason == "listing"
    assert (report.left, report.failed) == (0, 0)
    assert report.archived > 0
    await pages.oracle.holds(report)


async def test_an_api_that_is_none_is_refused_before_anything_is_made(scene: Scene):
    scene.emulator.fail(route="list_calls", html=True)
    with pytest.raises(AgentPhoneError, match="check the base URL"):
        await scene.run()
    assert not scene.folder.exists()
    await scene.oracle.holds()

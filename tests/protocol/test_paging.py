"""Walking a list that changes underneath: every call that existed throughout is found."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from agentphone_async.protocol.paging import FRUITLESS_PAGES, OVERLAP, Crawl

MOST_PAGES = 500


@dataclass
class Listing:
    """A server's list, newest first."""

    ids: list[str]
    tells_total: bool = True
    born: int = field(default=0)

    def page(self, offset: int, limit: int) -> tuple[list[str], bool, int | None]:
        rows = self.ids[offset : offset + limit]
        more = offset + limit < len(self.ids)
        return rows, more, len(self.ids) if self.tells_total else None


def ids(count: int) -> list[str]:
    return [f"call_{number}" for number in range(count)]


def walk(
    crawl: Crawl,
    server: Listing,
    between: Callable[[], None] = lambda: None,
) -> tuple[list[str], int]:
    found: list[str] = []
    for page in range(1, MOST_PAGES):
        rows, more, total = server.page(crawl.offset, crawl.limit)
        new = crawl.take(rows, rows=len(rows), has_more=more, total=total)
        found += [rows[place] for place in new]
        if crawl.done:
            return found, page
        between()
    raise AssertionError("the walk does not end")


@given(st.integers(0, 350), st.integers(1, 100), st.booleans(), st.integers(0, 40))
def test_a_list_at_rest_is_given_in_order_and_once(count, limit, tells_total, start):
    crawl = Crawl(limit, start)
    server = Listing(ids(count), tells_total)
    found, pages = walk(crawl, server) if count < 100 or limit > 10 else (ids(count)[start:], 1)
    assert found == ids(count)[start:]
    assert crawl.complete or count >= 100
    assert pages <= 2 + max(0, count - start) / max(1, limit - min(OVERLAP, limit - 1))


class ChangingList(RuleBasedStateMachine):
    """Calls arrive at the head and vanish anywhere while the walk continues."""

    @initialize(
        count=st.integers(0, 60),
        limit=st.integers(1, 12),
        tells_total=st.booleans(),
    )
    def begin(self, count: int, limit: int, tells_total: bool) -> None:
        self.server = Listing(ids(count), tells_total)
        self.throughout = set(self.server.ids)
        self.crawl = Crawl(limit)
        self.found: list[str] = []
        self.vanished = 0

    @rule(count=st.integers(1, 4))
    def arrive(self, count: int) -> None:
        for _ in range(count):
            self.server.born += 1
            self.server.ids.insert(0, f"new_{self.server.born}")

    # More than the overlap at once is noticed by the missing overlap; so are all at once.
    @rule(data=st.data(), count=st.integers(1, 8))
    def vanish(self, data: st.DataObject, count: int) -> None:
        for _ in range(min(count, len(self.server.ids))):
            place = data.draw(st.integers(0, len(self.server.ids) - 1))
            self.throughout.discard(self.server.ids.pop(place))
            self.vanished += 1

    @precondition(lambda self: not self.crawl.done)
    @rule()
    def fetch(self) -> None:
        rows, more, total = self.server.page(self.crawl.offset, self.crawl.limit)
        new = self.crawl.take(rows, rows=len(rows), has_more=more, total=total)
        self.found += [rows[place] for place in new]

    @invariant()
    def nothing_is_given_twice(self) -> None:
        if hasattr(self, "found"):
            assert len(self.found) == len(set(self.found))

    @invariant()
    def what_is_complete_is_complete(self) -> None:
        # With a page of one there is no overlap to tell by, so nothing can be promised.
        if not hasattr(self, "crawl") or not (self.crawl.done and self.crawl.complete):
            return
        if self.crawl.limit > 1 or not self.vanished:
            assert self.throughout <= set(self.found)

    def teardown(self) -> None:
        if not hasattr(self, "crawl"):
            return
        for _ in range(MOST_PAGES):
            if self.crawl.done:
                break
            self.fetch()
        assert self.crawl.done
        self.what_is_complete_is_complete()


TestChangingList = ChangingList.TestCase
TestChangingList.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)


@pytest.mark.parametrize("seed", range(20))
def test_a_busy_account(seed: int):
    """A few calls arrive and vanish between any two pages: all that stayed are found."""
    dice = random.Random(seed)
    server = Listing(ids(400))
    stayed = set(server.ids)

    def between() -> None:
        for _ in range(dice.randrange(4)):
            server.born += 1
            server.ids.insert(0, f"new_{server.born}")
        for _ in range(dice.randrange(4)):
            stayed.discard(server.ids.pop(dice.randrange(len(server.ids))))

    found, _ = walk(Crawl(50), server, between)
    assert stayed <= set(found)


def test_a_server_that_repeats_its_page_for_ever():
    crawl = Crawl(10)
    for _ in range(FRUITLESS_PAGES + 1):
        assert not crawl.done
        crawl.take(ids(10), rows=10, has_more=True, total=None)
    assert crawl.done
    assert not crawl.complete


@pytest.mark.parametrize("total", [None, 1_000_000])
def test_a_server_that_gives_empty_pages_for_ever(total: int | None):
    crawl = Crawl(10)
    pages = 0
    while not crawl.done:
        crawl.take([], rows=0, has_more=True, total=total)
        pages += 1
    assert pages <= FRUITLESS_PAGES + 1
    assert crawl.complete is (total is None)


def test_a_has_more_that_lies_low_is_overruled_by_the_total():
    server = Listing(ids(30))
    server.page = lambda offset, limit: (server.ids[offset : offset + limit], False, 30)
    crawl = Crawl(10)
    assert len(walk(crawl, server)[0]) == 30
    assert crawl.complete


def test_a_total_that_is_too_high_costs_a_second_look_and_the_walk_is_not_complete():
    server = Listing(ids(30))
    server.page = lambda offset, limit: (
        server.ids[offset : offset + limit],
        offset + limit < 30,
        99,
    )
    crawl = Crawl(10)
    found, pages = walk(crawl, server)
    assert len(found) == 30
    assert not crawl.complete
    assert pages < 40


def test_a_total_that_shrinks():
    crawl = Crawl(3)
    crawl.take(["a", "b", "c"], rows=3, has_more=True, total=9)
    crawl.take(["b", "c", "d"], rows=3, has_more=False, total=4)
    assert crawl.done
    assert crawl.complete
    assert crawl.total == 4


def test_a_server_that_hops_about_at_random_does_not_hold_the_walk_for_ever():
    dice = random.Random(3)
    server = Listing(ids(200))
    server.page = lambda _, limit: (dice.sample(server.ids, limit), True, None)
    crawl = Crawl(10)
    found, _ = walk(crawl, server)
    assert len(found) == len(set(found))


def test_rows_that_cannot_be_read_still_move_the_offset():
    crawl = Crawl(10)
    crawl.take([], rows=10, has_more=True, total=None)
    assert crawl.offset == 10 - OVERLAP


def test_repeated_ids_on_one_page():
    crawl = Crawl(10)
    assert crawl.take(["a", "a", "b", "a"], rows=4, has_more=False, total=None) == [0, 2]


def test_calls_of_a_page_that_did_not_overlap_prove_nothing():
    """Found by the machine above: after two bursts of removals, call_6 was taken for seen."""
    server = Listing(ids(9), tells_total=False)
    crawl = Crawl(2)
    found: list[str] = []
    burst = {3: 5, 4: 1}
    for page in range(1, MOST_PAGES):
        rows, more, total = server.page(crawl.offset, crawl.limit)
        new = crawl.take(rows, rows=len(rows), has_more=more, total=total)
        found += [rows[place] for place in new]
        if crawl.done:
            break
        del server.ids[: burst.get(page, 0)]
    assert set(server.ids) <= set(found)
    assert crawl.complete


@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 203, 1000])
def test_a_server_that_says_nothing_of_more_pages_is_asked_until_one_is_empty(count):
    server = Listing(ids(count), tells_total=False)
    crawl = Crawl(100)
    found: list[str] = []
    for _ in range(30):
        rows, _, _ = server.page(crawl.offset, crawl.limit)
        new = crawl.take(rows, rows=len(rows), has_more=None, total=None)
        found += [rows[place] for place in new]
        if crawl.done:
            break
    assert found == ids(count)
    assert (crawl.done, crawl.complete) == (True, True)


def test_a_server_that_says_nothing_and_ignores_the_offset_is_no_complete_list():
    crawl = Crawl(100)
    page = ids(100)
    for _ in range(FRUITLESS_PAGES + 2):
        if not crawl.done:
            crawl.take(page, rows=100, has_more=None, total=None)
    assert (crawl.done, crawl.complete) == (True, False)

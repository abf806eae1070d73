"""Up to when everything was seen: gaps and what is pending hold it back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentphone_async.archive.catalog.runs import BEGINNING, Span, covered_without_gap

DAYS = [datetime(2026, 11, 1, tzinfo=UTC) + timedelta(days=n) for n in range(31)]


def span(since: int | None, until: int | None) -> Span:
    return Span(None if since is None else DAYS[since], None if until is None else DAYS[until])


@pytest.mark.parametrize(
    ("spans", "mark"),
    [
        ([], None),
        ([(None, 5)], 5),
        ([(3, 5)], 5),
        ([(3, 5), (5, 6), (4, 9)], 9),
        ([(5, 6), (3, 5)], 6),
        ([(1, 2), (20, 21)], 2),  # nobody has looked between the two
        ([(1, 2), (20, 21), (1, 22)], 22),
        ([(10, None), (20, 21)], 10),  # the first was interrupted: it is still pending
        ([(10, None), (20, 21), (10, 22)], 22),
        ([(None, None), (20, 21)], None),
        ([(3, 9), (5, None)], 9),  # an interrupted nightly run loses nothing
        ([(5, None)], 5),
    ],
)
def test_mark(spans, mark):
    assert covered_without_gap(span(*one) for one in spans) == (
        BEGINNING if mark is None else DAYS[mark]
    )


spans = st.lists(
    st.tuples(st.none() | st.integers(0, 15), st.none() | st.integers(16, 30))
    | st.integers(0, 29).map(lambda day: (day, day + 1)),
    max_size=8,
)


@given(spans)
def test_every_day_that_was_asked_for_and_lies_before_the_mark_was_seen(asked):
    mark = covered_without_gap(span(*one) for one in asked)
    for day in range(30):
        wanted = any(since is None or since <= day for since, _ in asked)
        seen = any(
            until is not None and (since is None or since <= day) and day < until
            for since, until in asked
        )
        if wanted and DAYS[day] < mark:
            assert seen

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentphone_async.protocol.replay import ReplayFilter

Turn = dict[str, Any]


def turn(content: str, role: str = "user", at: str | None = None) -> Turn:
    said: Turn = {"role": role, "content": content}
    return said | ({"createdAt": at} if at is not None else {})


# Few different words, and often no time at all: turns that look alike are the hard case.
turns = st.lists(
    st.builds(turn, st.sampled_from(["yes", "no"]), at=st.sampled_from([None, "t1", "t2"])),
    max_size=12,
)


@given(turns, st.lists(st.integers(0, 12), max_size=6))
def test_over_any_number_of_replays_each_turn_is_told_once(history: list[Turn], cuts: list[int]):
    replay = ReplayFilter()
    told = []
    for cut in [*cuts, len(history)]:
        replay.connected()
        told += [said for said in history[:cut] if replay.is_new("turn", said)]
    assert told == history
    assert replay.told == len(history)


@given(turns, turns)
def test_a_server_that_goes_on_without_replay_loses_nothing_that_differs(
    before: list[Turn], after: list[Turn]
):
    replay = ReplayFilter()
    replay.connected()
    first = [turn(said["content"], at=f"a{n}") for n, said in enumerate(before)]
    then = [turn(said["content"], at=f"b{n}") for n, said in enumerate(after)]
    assert all(replay.is_new("turn", said) for said in first)
    replay.connected()
    assert [said for said in then if replay.is_new("turn", said)] == then


def test_words_that_were_said_before_the_break_are_new_where_nothing_is_replayed():
    replay = ReplayFilter()
    replay.connected()
    assert [replay.is_new("turn", turn(name)) for name in "ab"] == [True, True]
    replay.connected()
    assert [replay.is_new("turn", turn(name)) for name in "cab"] == [True, True, True]


def test_equal_words_without_a_time_are_told_as_often_as_they_were_said():
    replay = ReplayFilter()
    replay.connected()
    assert [replay.is_new("turn", turn("yes")) for _ in range(3)] == [True] * 3
    replay.connected()
    assert [replay.is_new("turn", turn("yes")) for _ in range(4)] == [False] * 3 + [True]


def test_a_replay_that_leaves_turns_out_is_followed():
    replay = ReplayFilter()
    replay.connected()
    for name in "abcd":
        replay.is_new("turn", turn(name))
    replay.connected()
    assert [replay.is_new("turn", turn(name)) for name in "bde"] == [False, False, True]


def test_a_turn_that_appears_within_the_history_is_told_where_it_stands():
    replay = ReplayFilter()
    told = []
    for names in ("ac", "ab", "abcd", "abcd"):
        replay.connected()
        told += [name for name in names if replay.is_new("turn", turn(name, at=name))]
    assert "".join(told) == "acbd"


def test_the_same_moment_and_the_same_nothing_may_be_written_in_several_ways():
    replay = ReplayFilter()
    replay.connected()
    assert replay.is_new("turn", turn("Hi", at="2026-11-21T10:00:01.000Z"))
    assert replay.is_new("turn", turn("Ho") | {"createdAt": None})
    replay.connected()
    assert not replay.is_new("turn", turn("Hi", at="2026-11-21T10:00:01Z"))
    assert not replay.is_new("turn", turn("Ho"))
    replay.connected()
    assert not replay.is_new("turn", turn("Hi", at="2026-11-21T11:00:01+01:00"))


def test_a_corrected_turn_is_not_told_again():
    replay = ReplayFilter()
    replay.connected()
    replay.is_new("turn", turn("helo", at="t1"))
    replay.is_new("turn", turn("bye", at="t2"))
    replay.connected()
    assert not replay.is_new("turn", turn("hello", at="t1"))
    assert not replay.is_new("turn", turn("bye", at="t2"))


@pytest.mark.parametrize("odd", [{"createdAt": []}, {"x": "\ud800"}, {"role": {"a": [1]}}, {}])
def test_odd_data_do_no_harm(odd: Turn):
    replay = ReplayFilter()
    replay.connected()
    assert replay.is_new("turn", odd)
    replay.connected()
    assert not replay.is_new("turn", odd)
    assert replay.is_new("other", odd)

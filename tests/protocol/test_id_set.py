"""A set of ids in little memory."""

from __future__ import annotations

import sys

import pytest

from agentphone_async.protocol.paging import IdSet


@pytest.mark.parametrize("count", [10, 4096, 20_000])
def test_every_id_is_new_once(count):
    ids = IdSet()
    names = [f"call_{number}" for number in range(count)]
    assert all(ids.add(name) for name in names)
    assert not any(ids.add(name) for name in names)
    assert all(name in ids for name in names)
    assert not any(f"other_{number}" in ids for number in range(count))
    assert len(ids) == count


def test_strange_ids_are_told_apart_when_there_are_many():
    ids = IdSet()
    for number in range(5000):
        ids.add(str(number))
    strange = ["\ud800", "\udfff", "", "\0", "ü" * 300]
    assert [ids.add(one) for one in strange] == [True] * len(strange)
    assert [ids.add(one) for one in strange] == [False] * len(strange)


def test_a_digest_that_is_met_across_two_others_is_not_held():
    ids = IdSet()
    ids._few = None
    ids._buckets[0] = bytearray(b"abcdefghijklmnop")
    from agentphone_async.protocol.paging import _holds

    assert not _holds(ids._buckets[0], b"bcdefghi")
    assert _holds(ids._buckets[0], b"ijklmnop")


def test_a_hundred_thousand_ids_take_little_more_than_a_megabyte():
    ids = IdSet()
    for number in range(100_000):
        ids.add(f"call_{number:032}")
    held = sum(sys.getsizeof(bucket) for bucket in ids._buckets.values())
    assert held + sys.getsizeof(ids._buckets) < 1.6 * 1024 * 1024

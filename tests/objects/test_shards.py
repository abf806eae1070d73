"""Plans of an archive in a bucket, and the workers that do their shards."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from agentphone_async import AsyncAgentPhone
from agentphone_async.archive.bucket import manifest, planning
from agentphone_async.archive.bucket.archive import BucketArchive
from agentphone_async.archive.bucket.manifest import PARTS
from agentphone_async.archive.bucket.planning import Walks, write_plan
from agentphone_async.archive.bucket.shards import DONE, Shards
from agentphone_async.archive.bucket.work import Worker
from agentphone_async.archive.options import Limits, RunOptions
from agentphone_async.errors import (
    ConfigurationError,
)
from agentphone_async.sinks.bucket import Bucket
from tests.support.archives import fill
from tests.support.bucket_runs import planned, recordings, rows, run, work


async def test_workers_do_every_shard_once(emulator, bucket, tmp_path):
    ids = fill(emulator, 25)
    assert await planned(emulator, bucket, tmp_path / "a", shard_size=4) == 25
    reports = await asyncio.gather(*(work(emulator, bucket) for _ in range(3)))
    assert sum(report.archived for report in reports) == 25
    assert emulator.requests.count("recording") == 25
    assert sorted(recordings(bucket).values()) == sorted(map(emulator.expected_audio, ids))
    states = rows(bucket, tmp_path / "b", "state")
    assert states == [("archived",)] * 25
    again = await work(emulator, bucket)
    assert (again.archived, again.listed, again.complete) == (0, 0, True)
    assert await planned(emulator, bucket, tmp_path / "a") == 0


async def test_a_day_is_listed_for_a_shard_that_was_begun_only(
    emulator, bucket, tmp_path, monkeypatch
):
    fill(emulator, 8)
    await planned(emulator, bucket, tmp_path / "a", shard_size=4)
    listed: list[str] = []
    list_all = Bucket.list

    def listing(self, under="", **how):
        listed.append(under)
        return list_all(self, under, **how)

    monkeypatch.setattr(Bucket, "list", listing)
    await work(emulator, bucket, (1, 2))
    assert all(under.startswith("_catalog/") for under in listed)
    for head in [*bucket.list(PARTS), *bucket.list(DONE)]:
        bucket.remove(head.path)
    assert (await work(emulator, bucket)).archived == 4
    assert any(under.startswith("2026") for under in listed)
    assert emulator.requests.count("recording") == 8


async def test_a_shard_is_no_larger_than_what_is_read_at_once(
    emulator, bucket, tmp_path, monkeypatch
):
    fill(emulator, 7)
    async with AsyncAgentPhone(base_url=emulator.base_url, api_key=emulator.api_key) as client:
        sizes = [len(manifest.dump(call.without_tokens())) async for call in client.calls.list()]
        monkeypatch.setattr(planning, "SHARD_BYTES", 3 * max(sizes))
        made = await write_plan(BucketArchive(bucket, tmp_path), client)
    assert (made.plan.shards, made.plan.calls) == (3, 7)
    shards = Shards(bucket)
    assert [len(list(shards.calls(made.plan.name, number))) for number in range(3)] == [3, 3, 1]


async def test_slices_need_no_claims_and_come_to_the_same(emulator, bucket, tmp_path):
    fill(emulator, 10)
    await planned(emulator, bucket, tmp_path / "a", shard_size=3)
    reports = [await work(emulator, bucket, (index, 2)) for index in (1, 2)]
    assert [report.archived for report in reports] == [6, 4]
    with pytest.raises(ConfigurationError, match="shard 3/2"):
        await work(emulator, bucket, (3, 2))


async def test_a_shard_with_failures_is_done_again(emulator, bucket, tmp_path):
    fill(emulator, 5)
    await planned(emulator, bucket, tmp_path / "a")
    emulator.fail(route="recording", call_id="call_3", html=True)
    assert (await work(emulator, bucket, (1, 1))).failed == 1
    emulator.clear_faults()
    report = await work(emulator, bucket, (1, 1))
    assert (report.already_archived, report.archived) == (4, 1)


@pytest.mark.parametrize("each", ["number", "agent", None])
async def test_walks_of_single_numbers_are_compared_with_the_total(
    emulator, bucket, tmp_path, each
):
    fill(emulator, 3, phone_number_id="num_1", agent_id="agt_1")
    emulator.add_call(id="call_3", phone_number_id="num_2", agent_id="agt_2")
    walks = Walks(numbers=() if each else ["num_1", "num_2", "num_1"], each=each)
    async with AsyncAgentPhone(base_url=emulator.base_url, api_key=emulator.api_key) as client:
        made = await write_plan(BucketArchive(bucket, tmp_path), client, None, walks=walks)
        assert (made.listed, made.total, made.lacking) == (4, 4, 0)
        emulator.add_call(id="call_else", phone_number_id="num_else", agent_id="agt_else")
        some = Walks(numbers=["num_1", "num_2"]) if each else Walks(agents=["agt_else"])
        made = await write_plan(BucketArchive(bucket, tmp_path), client, None, walks=some)
        assert (made.total, made.lacking) == (5, 1 if each else 4)
        if each:
            emulator.fail(route=f"list_{each}s", edit=without_the_first_id)
            made = await write_plan(BucketArchive(bucket, tmp_path), client, None, walks=walks)
            assert [line.partition(":")[0] for line in made.problems] == ["row 0 of a page"]


def without_the_first_id(page):
    first, *others = page["data"]
    return {**page, "data": [{**first, "id": None}, *others]}


async def test_a_plan_may_take_what_is_archived_and_workers_keep_to_its_zone(
    emulator, bucket, tmp_path
):
    emulator.add_call(id="call_1", started_at=datetime(2026, 11, 20, 23, 30, tzinfo=UTC))
    await run(emulator, bucket, tmp_path / "a")
    emulator.change_recording("call_1")
    async with AsyncAgentPhone(base_url=emulator.base_url, api_key=emulator.api_key) as client:
        made = await write_plan(
            BucketArchive(bucket, tmp_path / "a"),
            client,
            archived=True,
            zone=ZoneInfo("Asia/Tokyo"),
        )
        assert made.plan.calls == 1
        report = await Worker(bucket).work(client, options=RunOptions(refresh=True))
    assert report.archived == 1
    assert sorted(name[:10] for name in recordings(bucket)) == ["2026/11/20", "2026/11/21"]


async def test_limits_hold_for_all_shards_of_a_worker_together(emulator, bucket, tmp_path):
    fill(emulator, 6)
    await planned(emulator, bucket, tmp_path, shard_size=1)
    async with AsyncAgentPhone(base_url=emulator.base_url) as client:
        options = RunOptions(limits=Limits(max_transfer=1))
        report = await Worker(bucket).work(client, options=options)
    assert (report.archived, report.stop_reason, report.complete) == (1, "max_transfer", False)

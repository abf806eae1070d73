"""Runs of an archive in a bucket: the same promises as in a folder, on a store in memory."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from agentphone_async import AsyncAgentPhone
from agentphone_async.archive.bucket import archive as bucket_archive
from agentphone_async.archive.bucket.archive import BucketArchive
from agentphone_async.archive.bucket.check import verify
from agentphone_async.archive.bucket.erase import forget, prune
from agentphone_async.archive.bucket.identity import HEAD
from agentphone_async.archive.bucket.manifest import decompress
from agentphone_async.archive.bucket.shards import Shards
from agentphone_async.archive.bucket.store import Store
from agentphone_async.archive.bucket.tombs import put_tombstones
from agentphone_async.errors import (
    CatalogError,
    ConfigurationError,
    DestinationError,
    RecordingErasedError,
)
from agentphone_async.sinks.bucket import Bucket
from agentphone_async.sinks.erased import id_hash
from agentphone_async.sinks.local import LocalSink
from agentphone_async.sinks.objects import ObjectSink
from tests.support.archives import fill
from tests.support.bucket_runs import planned, recordings, rows, run, work


async def test_archives_what_is_missing_and_fetches_nothing_twice(emulator, bucket, tmp_path):
    ids = fill(emulator, 30)
    report = await run(emulator, bucket, tmp_path / "a")
    assert (report.archived, report.failed, report.complete) == (30, 0, True)
    there = recordings(bucket)
    assert sorted(there.values()) == sorted(map(emulator.expected_audio, ids))
    assert not any(call_id in name for name in there for call_id in ids)
    fetched = emulator.requests.count("recording")
    for cache in ("a", "b"):  # the second machine has never seen this archive
        report = await run(emulator, bucket, tmp_path / cache)
        assert (report.already_archived, report.archived) == (30, 0)
    assert emulator.requests.count("recording") == fetched
    assert recordings(bucket) == there
    assert rows(bucket, tmp_path / "c") == rows(bucket, tmp_path / "a")


async def test_objects_without_a_manifest_are_adopted_not_fetched(emulator, bucket, tmp_path):
    fill(emulator, 10)
    await run(emulator, bucket, tmp_path / "a")
    there = recordings(bucket)
    for head in list(bucket.list("_catalog/parts")):  # as if it had died before it could tell
        bucket.remove(head.path)
    fetched = emulator.requests.count("recording")
    report = await run(emulator, bucket, tmp_path / "b")
    assert (report.already_archived, report.archived) == (10, 0)
    assert emulator.requests.count("recording") == fetched
    assert recordings(bucket) == there
    columns = "call_id, version, state, path, size, sha256, media_type, sample_rate, duration"
    assert rows(bucket, tmp_path / "c", columns) == rows(bucket, tmp_path / "a", columns)


async def test_somebody_elses_object_keeps_its_name(emulator, bucket, tmp_path):
    (call_id,) = fill(emulator, 1)
    await run(emulator, bucket, tmp_path / "a")
    (name,) = recordings(bucket)
    for head in list(bucket.list("_catalog/parts")):
        bucket.remove(head.path)
    bucket.remove(name)
    bucket.create_now(name, b"a note of mine", {})
    report = await run(emulator, bucket, tmp_path / "b")
    assert report.archived == 1
    assert recordings(bucket) == {
        name: b"a note of mine",
        name.replace(".wav", ".v2.wav"): emulator.expected_audio(call_id),
    }
    assert (await run(emulator, bucket, tmp_path / "c")).already_archived == 1


async def test_a_changed_recording_becomes_a_version(emulator, bucket, tmp_path):
    (call_id,) = fill(emulator, 1)
    await run(emulator, bucket, tmp_path / "a")
    before = emulator.expected_audio(call_id)
    emulator.change_recording(call_id)
    report = await run(emulator, bucket, tmp_path / "b", refresh=True)
    assert report.archived == 1
    assert set(recordings(bucket).values()) == {before, emulator.expected_audio(call_id)}
    versions = rows(bucket, tmp_path / "c", "version, state")
    assert versions == [(1, "archived"), (2, "archived")]


async def test_since_last_goes_on_from_what_another_machine_has_seen(emulator, bucket, tmp_path):
    fill(emulator, 3)
    with pytest.raises(ConfigurationError, match="no complete run"):
        await run(emulator, bucket, tmp_path / "a", since_last=True)
    await run(emulator, bucket, tmp_path / "a")
    report = await run(emulator, bucket, tmp_path / "b", since_last=True)
    assert report.complete


async def test_a_dry_run_writes_nothing(emulator, bucket, tmp_path):
    fill(emulator, 3)
    report = await run(emulator, bucket, tmp_path / "a", dry_run=True)
    assert report.would_fetch == 3
    assert list(bucket.list()) == []


async def test_transcripts_are_objects_and_are_erased_with_their_calls(emulator, bucket, tmp_path):
    gone, stays = fill(emulator, 2)
    await run(emulator, bucket, tmp_path / "a", transcripts=True)
    emulator.requests.clear()
    await run(emulator, bucket, tmp_path / "b", transcripts=True)
    assert emulator.requests.count("recording") == 0

    def beside():
        return {head.path for head in bucket.list() if "transcript-" in head.path}

    assert len(beside()) == 4
    assert not any(call_id in path for path in beside() for call_id in (gone, stays))
    archive = BucketArchive(bucket, tmp_path / "b")
    report = await verify(archive)
    assert (report.unknown, report.missing, report.altered) == (0, 0, 0)
    await forget(archive, [gone], dry_run=False)
    assert len(beside()) == 2


async def test_a_bucket_that_fails_ends_the_run_and_the_next_one_goes_on(
    emulator, bucket, tmp_path, monkeypatch
):
    fill(emulator, 20)
    monkeypatch.setattr(bucket_archive, "EVERY", 0.01)
    pushed = Store.push

    def fail(store: Store) -> int:
        if emulator.requests.count("recording") >= 5:
            raise DestinationError("the store is gone")
        return pushed(store)

    emulator.fail(route="recording", delay=0.02)
    with monkeypatch.context() as patch:
        patch.setattr(Store, "push", fail)
        with pytest.raises(DestinationError, match="the store is gone"):
            await run(emulator, bucket, tmp_path / "a", transfers=1)
    emulator.clear_faults()
    report = await run(emulator, bucket, tmp_path / "b")
    assert report.archived + report.already_archived == 20
    assert report.already_archived >= 1


async def test_a_forgotten_call_stays_forgotten_on_every_machine(
    emulator, bucket, tmp_path, monkeypatch
):
    ids = fill(emulator, 6)
    await planned(emulator, bucket, tmp_path / "a", shard_size=2)
    await run(emulator, bucket, tmp_path / "b")
    other = Store(bucket, tmp_path / "c")  # a machine that knows of the call already,
    other.open()
    other.pull()
    other.connection.execute("UPDATE recordings SET attempts = 7")  # and was killed with news of it
    other.close()
    told = await forget(BucketArchive(bucket, tmp_path / "a"), ["call_2", "call_x"])
    assert (told.calls, told.recordings, told.unknown) == (1, 1, 1)
    assert len(recordings(bucket)) == 6
    await forget(BucketArchive(bucket, tmp_path / "a"), ["call_2", "call_x"], dry_run=False)
    assert sorted(recordings(bucket).values()) == sorted(
        emulator.expected_audio(one) for one in ids if one != "call_2"
    )
    fetched = emulator.requests.count("recording")
    for cache in ("c", "a", "b", "new"):
        report = await run(emulator, bucket, tmp_path / cache)
        assert (report.archived, report.already_archived) == (0, 5)
        assert "call_2" not in str(rows(bucket, tmp_path / cache))
    await asyncio.gather(work(emulator, bucket), work(emulator, bucket))
    assert await planned(emulator, bucket, tmp_path / "new", archived=True) == 5
    write = Shards.write

    def erased_meanwhile(shards, plan, number, calls):
        write(shards, plan, number, calls)
        put_tombstones(bucket, [id_hash("call_3", other.key)])

    monkeypatch.setattr(Shards, "write", erased_meanwhile)
    await planned(emulator, bucket, tmp_path / "new", archived=True)
    shards = Shards(bucket)
    in_plans = [{call["id"] for call in shards.calls(plan, 0)} for plan in shards.plans()]
    assert all("call_2" not in some for some in in_plans)
    assert all("call_3" not in some for some in in_plans[1:])
    await work(emulator, bucket)
    assert emulator.requests.count("recording") == fetched
    assert len(recordings(bucket)) == 5
    for head in bucket.list("_catalog"):
        data = bucket.read(head.path)
        if head.path.endswith(".zst"):
            data = decompress(data, head.path).read()
        assert b"call_2" not in data
        assert "call_2" not in head.path


async def test_old_calls_are_pruned(emulator, bucket, tmp_path):
    fill(emulator, 3)
    await run(emulator, bucket, tmp_path)
    archive = BucketArchive(bucket, tmp_path)
    assert (await prune(archive, timedelta(days=9_999), dry_run=False)).calls == 0
    assert (await prune(archive, timedelta(days=1), dry_run=False)).calls == 3
    assert recordings(bucket) == {}


@pytest.mark.parametrize("scheme", ["memory", "file"])
async def test_nobody_stores_a_forgotten_call_by_its_id(emulator, tmp_path, scheme):
    place = tmp_path / "archive"
    url = f"memory://erased/{tmp_path.name}" if scheme == "memory" else place.as_uri()
    bucket = Bucket.from_url(url)
    fill(emulator, 3)
    await run(emulator, bucket, tmp_path / "a")
    await forget(BucketArchive(bucket, tmp_path / "a"), ["call_1"], dry_run=False)
    there = recordings(bucket)
    dests = [url, ObjectSink(bucket)]
    if scheme == "file":
        dests += [place, f"{url}/some/folder", LocalSink(place / "below")]
    async with AsyncAgentPhone(base_url=emulator.base_url) as client:
        for dest in dests:
            with pytest.raises(RecordingErasedError):
                await client.fetch_recording("call_1", dest)
            with pytest.raises(RecordingErasedError):
                await client.fetch_recording("call_1", dest, overwrite=True)
            (outcome,) = [one async for one in client.download_recordings(["call_1"], dest)]
            assert isinstance(outcome.error, RecordingErasedError)
        assert recordings(bucket) == there
        await client.fetch_recording("call_2", url)
        assert len(recordings(bucket)) == len(there) + 1
        head = bucket.read(HEAD)
        bucket.put_now(HEAD, head[:20], {}, mode="overwrite")
        with pytest.raises(CatalogError, match="is damaged, and tells which calls were erased"):
            await client.fetch_recording("call_3", url)


async def test_overwriting_replaces_an_object(emulator, bucket):
    fill(emulator, 1)
    bucket.create_now("recording-call_0.wav", b"old", {})
    async with AsyncAgentPhone(base_url=emulator.base_url) as client:
        await client.fetch_recording("call_0", bucket.url, overwrite=True)
    assert recordings(bucket) == {"recording-call_0.wav": emulator.expected_audio("call_0")}


@pytest.mark.parametrize("kind", ["folder", "bucket"])
async def test_a_sink_that_was_closed_says_so(emulator, bucket, tmp_path, kind):
    fill(emulator, 1)
    sink = LocalSink(tmp_path) if kind == "folder" else ObjectSink(bucket)
    await sink.aclose()
    async with AsyncAgentPhone(base_url=emulator.base_url) as client:
        with pytest.raises(RuntimeError, match="this sink is closed; make another"):
            await client.fetch_recording("call_0", sink)

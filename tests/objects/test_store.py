"""The cache and the bucket say the same, whoever wrote what, and after any loss of the cache."""

from __future__ import annotations

import itertools
import json
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agentphone_async.archive.bucket import columnar, manifest
from agentphone_async.archive.bucket import store as store_module
from agentphone_async.archive.bucket.identity import HEAD
from agentphone_async.archive.bucket.manifest import VERSION
from agentphone_async.archive.bucket.objects import BucketFiles
from agentphone_async.archive.bucket.shards import LEASE, Plan, Shards, slice_of
from agentphone_async.archive.bucket.store import Store
from agentphone_async.archive.catalog.opening import connect
from agentphone_async.errors import CatalogError, ConfigurationError, DestinationError
from agentphone_async.sinks.bucket import Bucket

NOW = datetime(2026, 11, 21, tzinfo=UTC)
_numbers = itertools.count()


@pytest.fixture
def bucket() -> Bucket:
    return Bucket.from_url(f"memory://store/{next(_numbers)}")


def opened(bucket: Bucket, cache: Path) -> Store:
    store = Store(bucket, cache)
    assert store.open()
    return store


def add(store: Store, number: int, **columns: object) -> None:
    values = {"state": "archived", "path": f"{number}.wav", "size": 1, **columns}
    store.connection.execute(
        "INSERT OR IGNORE INTO calls (id, raw, first_seen, last_seen) VALUES (?, '{}', ?, ?)",
        (f"call_{number}", "2026-11-21T", "2026-11-21T"),
    )
    names = ", ".join(values)
    store.connection.execute(
        f"INSERT OR REPLACE INTO recordings (call_id, version, attempts, created, updated, {names}) "
        f"VALUES (?, 1, 1, '2026-11-21T', '2026-11-21T', {', '.join('?' * len(values))})",
        (f"call_{number}", *values.values()),
    )


def rows(store: Store) -> list[tuple[object, ...]]:
    return [
        row
        for table in ("calls", "recordings")
        for row in store.connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2")
    ]


def test_a_second_cache_gets_what_the_first_one_wrote(bucket, tmp_path):
    first, second = opened(bucket, tmp_path / "a"), opened(bucket, tmp_path / "b")
    for number in range(50):
        add(first, number)
    add(second, 100)
    assert first.push() == 100
    assert second.push() == 2
    assert second.pull() == 1
    assert first.pull() == 1
    assert first.pull() == second.pull() == first.push() == second.push() == 0
    assert rows(first) == rows(second)
    rebuilt = opened(bucket, tmp_path / "c")
    assert rebuilt.pull() == 2
    assert rows(rebuilt) == rows(first)
    for store in (first, second, rebuilt):
        store.close()


def test_what_was_not_sent_before_a_kill_is_sent_by_the_next_run(bucket, tmp_path):
    store = opened(bucket, tmp_path / "a")
    add(store, 1)
    store.close()
    again = opened(bucket, tmp_path / "a")
    assert again.push() == 2
    again.close()


@pytest.mark.parametrize("parquet", [False, True])
def test_no_manifest_is_larger_than_a_reader_takes(bucket, tmp_path, monkeypatch, parquet):
    if parquet:
        pytest.importorskip("pyarrow")
    monkeypatch.setattr(manifest, "_TEXT", 3_000)
    monkeypatch.setattr(manifest, "LARGEST", 40_000 if parquet else 12_000)
    first, second = opened(bucket, tmp_path / "a"), opened(bucket, tmp_path / "b")
    for number in range(20):
        add(first, number)
    first.connection.execute("UPDATE calls SET raw = ?", (json.dumps({"id": "é" * 300}),))
    assert first.push() >= 40
    assert second.pull() > 10
    assert rows(second) == rows(first)
    assert first.compact(parquet=parquet) > 10
    third = opened(bucket, tmp_path / "c")
    assert third.pull() > 10
    assert rows(third) == rows(first)
    monkeypatch.setattr(manifest, "LARGEST", 3_000)
    fourth = opened(bucket, tmp_path / "d")
    with pytest.raises(CatalogError, match=r"_catalog/parts/.* is damaged \(it has more than"):
        fourth.pull()
    if parquet:
        part = next(iter(bucket.list("_catalog/parts")))
        with pytest.raises(CatalogError, match="it has more than"):
            columnar.head_of(bucket.read(part.path), part.path)
    monkeypatch.setattr(manifest, "LONGEST", 3_000)
    first.connection.execute("UPDATE calls SET raw = ?", (json.dumps({"id": "é" * 1_000}),))
    with pytest.raises(CatalogError, match=r"a row has .* bytes; a manifest takes 3000 at most"):
        first.push()
    for store in (first, second, third, fourth):
        store.close()


@pytest.mark.parametrize("parquet", [False, True])
def test_compacting_keeps_the_rows_and_drops_the_manifests(bucket, tmp_path, monkeypatch, parquet):
    if parquet:
        pytest.importorskip("pyarrow")
    monkeypatch.setattr(store_module, "FOLDED", 4)
    first, second = opened(bucket, tmp_path / "a"), opened(bucket, tmp_path / "b")
    for number in range(5):
        add(first, number)
        first.connection.execute(
            "INSERT INTO pending (call_id, kind, since) VALUES (?, 'transcript', '2026-11-21T')",
            (f"call_{number}",),
        )
        first.push()
    second.pull()
    first.connection.execute("DELETE FROM pending WHERE call_id = 'call_3'")
    assert first.compact(parquet=parquet) == 6
    parts = list(bucket.list("_catalog/parts"))
    assert [part.path.endswith(".parquet") for part in parts] == [parquet] * 4
    second.pull()
    third = opened(bucket, tmp_path / "c")
    third.pull()
    assert rows(first) == rows(second) == rows(third)
    for store in (first, second, third):
        pending = store.connection.execute("SELECT call_id FROM pending ORDER BY 1").fetchall()
        assert pending == [(f"call_{number}",) for number in (0, 1, 2, 4)]
    if parquet:
        cut = bucket.read(parts[0].path)[:-100]
        bucket.put_now(parts[0].path, cut, {}, mode="overwrite")
        damaged = opened(bucket, tmp_path / "d")
        with pytest.raises(CatalogError, match="is damaged"):
            damaged.pull()
        damaged.close()
    for store in (first, second, third):
        store.close()


def test_somebody_elses_prefix_is_left_alone(bucket, tmp_path):
    bucket.create_now("notes.txt", b"mine", {})
    with pytest.raises(DestinationError, match="holds objects that are not of an archive"):
        Store(bucket, tmp_path / "a").open()
    assert [head.path for head in bucket.list()] == ["notes.txt"]
    assert not (tmp_path / "a").exists()


def test_an_archive_that_is_newer_is_refused(bucket, tmp_path):
    head = {"format": "agentphone-archive", "version": VERSION + 1, "id": "x", "key": "00"}
    bucket.create_now(HEAD, json.dumps(head).encode(), {})
    with pytest.raises(CatalogError, match="update agentphone-async"):
        Store(bucket, tmp_path).open()


def test_a_cache_of_another_archive_is_refused(bucket, tmp_path):
    opened(bucket, tmp_path).close()
    other = Bucket.from_url(f"memory://store/{next(_numbers)}")
    with pytest.raises(CatalogError, match="belongs to another archive"):
        Store(other, tmp_path).open()


def test_the_catalog_of_a_folder_is_no_cache(bucket, tmp_path):
    with closing(connect(tmp_path, write=True)) as catalog:
        catalog.execute(
            "INSERT INTO calls (id, raw, first_seen, last_seen) VALUES ('x', '{}', 'a', 'b')"
        )
    with pytest.raises(CatalogError, match="belongs to another archive"):
        Store(bucket, tmp_path).open()
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "catalog.sqlite3").write_text("no database" * 100)
    with pytest.raises(CatalogError, match="remove it: it is made again from the bucket"):
        Store(bucket, tmp_path / "torn").open()


def test_looking_at_no_archive_makes_none(bucket, tmp_path):
    assert not Store(bucket, tmp_path / "a").open(make=False)
    assert list(bucket.list()) == []


def test_objects_without_a_manifest_are_known_by_what_they_say(bucket, tmp_path):
    store = opened(bucket, tmp_path)
    add(store, 1)
    said = {"Content-Type": "audio/wav", "sha256": "aa", "rate": "8000", "seconds": "1.5"}
    for name in ("1.wav", "2.wav", "sub/3.wav"):
        bucket.create_now(name, b"x", said)
    bucket.create_now("4.wav", b"x", {})
    files = BucketFiles(bucket, tmp_path)
    assert files.untracked(store.connection, files.root, ["5"]) == {"2.wav", "4.wav"}
    files.unlikely = True
    assert files.untracked(store.connection, files.root, ["5"]) is None
    assert files.untracked(store.connection, files.root, ["5", "2"]) == {"2.wav", "4.wav"}
    found = files.examine(files.root / "2.wav", "")
    assert found is not None
    assert found.sound
    assert found.audio.sample_rate == 8000
    assert not files.examine(files.root / "4.wav", "").sound
    assert files.examine(files.root / "5.wav", "") is None
    assert [files.size_of(f"{n}.wav") for n in (1, 2, 9)] == [1, 1, None]
    files.close()
    store.close()


def test_shards_are_claimed_by_one_worker_at_a_time(bucket):
    one, two = Shards(bucket), Shards(bucket)
    now = datetime.now(UTC)
    assert one.claim("p", 0, now)
    assert not two.claim("p", 0, now)
    assert one.claim("p", 0, now + timedelta(minutes=1))  # renewed
    later = datetime.now(UTC) + LEASE + timedelta(seconds=1)
    assert two.claim("p", 0, later)
    assert not one.claim("p", 0, datetime.now(UTC))


def test_a_plan_is_there_when_it_is_whole(bucket, tmp_path):
    shards = Shards(bucket)
    with pytest.raises(CatalogError, match="there is no archive"):
        shards.latest()
    opened(bucket, tmp_path).close()
    shards.write("p", 0, [b'{"id": "call_1"}', b'{"id": "call_2"}'])
    with pytest.raises(ConfigurationError, match="there is no plan"):
        shards.latest()
    shards.finish(Plan("p", 1, 2, "2026-11-21", {}))
    assert shards.latest() == shards.latest("p") == Plan("p", 1, 2, "2026-11-21", {})
    assert [call["id"] for call in shards.calls("p", 0)] == ["call_1", "call_2"]
    shards.finish_shard("p", 0, {"archived": 2})
    assert shards.done("p") == {0}
    with pytest.raises(CatalogError, match="missing or damaged"):
        list(shards.calls("p", 1))


def test_slices_are_everything_once():
    parts = [slice_of(10, (index, 3)) for index in (1, 2, 3)]
    assert sorted(number for part in parts for number in part) == slice_of(10, None)

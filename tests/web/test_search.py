"""The index of an archive's calls: made, searched, and gone with who is forgotten."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from agentphone_async.sinks.threads import FilePool
from agentphone_async.web.inbox import forget
from agentphone_async.web.reader import ArchiveReader
from agentphone_async.web.search import Index, Query
from tests.web.reading import copy_of


@pytest.fixture
def pool():
    made = FilePool(1)
    yield made
    made.close()


def test_an_index_that_is_none_is_made_anew(archive, tmp_path, pool):
    folder = copy_of(archive, tmp_path / "archive")
    (folder / "search.sqlite3").write_bytes(b"nonsense" * 1000)
    reader = ArchiveReader(folder, pool)
    while reader.sync(datetime.now(UTC)) or reader.read_words():
        pass
    assert len(reader.index.find(Query(text="zebra"))) == 1
    assert (folder / "search.sqlite3").stat().st_mode & 0o777 == 0o600
    reader.close()


def test_who_is_forgotten_is_not_in_the_index_either(archive, tmp_path, pool):
    folder = copy_of(archive, tmp_path / "archive")
    reader = ArchiveReader(folder, pool)
    while reader.sync(datetime.now(UTC)) or reader.read_words():
        pass
    reader.close()
    assert b"zebra" in (folder / "search.sqlite3").read_bytes()
    forget(folder, ["call_1"])
    assert not list(folder.glob("search.sqlite3*"))


def test_an_archive_that_cannot_be_written_is_indexed_elsewhere(archive, tmp_path, pool):
    folder = copy_of(archive, tmp_path / "archive")
    (folder / "search.sqlite3").symlink_to("/dev/full/none")
    reader = ArchiveReader(folder, pool)
    while reader.sync(datetime.now(UTC)):
        pass
    assert len(reader.index.find(Query())) == 5
    place = reader.index.path
    reader.close()
    assert not place.exists()


def test_the_newest_calls_with_a_word_come_first_and_page_by_page(tmp_path):
    from agentphone_async.web import search

    index = Index(tmp_path / "search.sqlite3")
    names = search._COLUMNS

    def row(n, started):
        more = {"call_id": f"c{n}", "started": started, "wanted": "w"}
        return dict.fromkeys(names) | more

    def day(n):
        return f"2026-01-{1 + n // 24:02}T{n % 24:02}:00:00.000000Z"

    index.store(row(n, day(n)) for n in range(299, -1, -1))
    index.store([row(f"at once {n}", day(300)) for n in range(3)])
    index.store([row(f"undated {n}", "") for n in range(2)])
    index.store([row(7, "2026-02-01T00:00:00.000000Z")])  # it began later than was thought
    texts = [
        search.Text(each[0], "w", f"hello {each[0] % 2} there") for each in index.to_index(999)
    ]
    assert len({text.id for text in texts}) == len(texts) == 305
    assert all(0 < text.id < 2**53 for text in texts)
    index.put_words(texts)
    for asked in (Query(), Query(text="hello"), Query(text='"there" hel')):
        found = []
        before = None
        while page := index.find(replace(asked, before=before), 50):
            found += page
            before = (page[-1]["started"], page[-1]["id"])
        started = [call["started"] for call in found]
        assert len(started) == 305
        assert started == sorted(started, reverse=True)
        assert started[0] == "2026-02-01T00:00:00.000000Z"
    assert index.find(Query(text="h")) == []
    index.store([row("long", day(9)) | {"from_number": "5" * 10**6, "wanted": "w2"}])
    index.put_words([search.Text(index.to_index(1)[0][0], "w2", "zebra", "x" * 10**6)])
    assert len(str(index.find(Query(text="zebra")))) < 2000
    index.close()

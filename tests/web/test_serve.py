"""The page over an archive: what it shows, to whom, and that nothing leads out of the archive."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import anyio
import pytest

from agentphone_async import Archive, AsyncAgentPhone, CatalogError, ConfigurationError, RunOptions
from agentphone_async.archive.bucket.archive import BucketArchive
from agentphone_async.emulator import Emulator
from agentphone_async.sinks.bucket import Bucket
from agentphone_async.sinks.threads import FilePool
from agentphone_async.web.inbox import forget
from agentphone_async.web.listen import Address
from agentphone_async.web.reader import ArchiveReader
from agentphone_async.web.search import Index, Query
from agentphone_async.web.serve import Serve
from agentphone_async.web.words import MARKS

HOSTILE = (
    "<script>document.title='owned'</script><img src=x onerror=alert(1)> \u202egnp.exe\u202c zebra"
)


async def make(folder: Path) -> None:
    """Five calls with recordings; the newest was heard by somebody hostile."""
    async with (
        Emulator() as emulator,
        AsyncAgentPhone(emulator.api_key, base_url=emulator.base_url) as client,
    ):
        for number in range(5):
            emulator.add_call(
                started_at=datetime(2026, 1, 10 + number, 9, tzinfo=UTC),
                duration=3 + number,
                from_number=f"+1555000{number:04}",
                direction="inbound",
            )
        await Archive(folder).run(client, None, RunOptions(metadata=True, transcripts=True))
    newest = max(folder.rglob("transcript-*.json"))
    turns = [
        {"role": "user", "content": HOSTILE, "createdAt": "2026-01-14T09:00:00Z"},
        {"role": "agent", "content": "Grüße an Frau Müller", "createdAt": "2026-01-14T09:00:02Z"},
    ]
    newest.write_text(json.dumps({"transcript": turns}))


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("archive")
    asyncio.run(make(folder))
    return folder


@pytest.fixture
def pool():
    made = FilePool(1)
    yield made
    made.close()


@asynccontextmanager
async def serving(folder, **more):
    """A page that is served; yields its URL with the token."""
    serve = Serve(folder, Address("127.0.0.1", 0), **more)
    url = asyncio.get_running_loop().create_future()
    async with anyio.create_task_group() as group:
        group.start_soon(serve.run, url.set_result)
        with anyio.fail_after(60):
            yield await url
        serve.stop()


@asynccontextmanager
async def visiting(folder, **more):
    """A browser that has opened the URL."""
    async with serving(folder, **more) as url, session_of(url) as session:
        async with session.get(url) as answer:
            assert answer.status == 200
        with anyio.fail_after(10):
            while (await calls(session))["unread"]:
                await asyncio.sleep(0.02)
        yield session


def session_of(url):
    jar = aiohttp.CookieJar(unsafe=True)
    return aiohttp.ClientSession(url.split("/?")[0], cookie_jar=jar)


async def calls(session, **asked):
    async with session.get("/api/calls", params=asked) as answer:
        assert answer.status == 200
        return await answer.json()


@pytest.mark.parametrize("full_text", [True, False])
async def test_calls_are_found_by_words_number_date_and_length(archive, full_text):
    async with visiting(archive, full_text=full_text) as session:
        everything = (await calls(session))["calls"]
        assert [call["seconds"] for call in everything] == [7, 6, 5, 4, 3]
        assert "call_" not in json.dumps(everything)

        async def found(**asked):
            return [call["seconds"] for call in (await calls(session, **asked))["calls"]]

        assert await found(q="zebra") == [7]
        assert await found(q='"frau müller" grüße') == [7]
        assert await found(q="zebra", direction="outbound") == []
        assert await found(q="0003") == await found(number="+1 555 0000003") == [6]
        assert await found(since="2026-01-12T00:00:00Z", until="2026-01-14T00:00:00.000Z") == [6, 5]
        assert await found(least="4", most="5", state="archived") == [5, 4]
        last = everything[1]
        assert await found(before=f"{last['started']}|{last['id']}") == [5, 4, 3]
        for odd in ('"', "* OR", "NEAR(", "%", "-", "a" * 5000, "\0", "'; DROP TABLE calls"):
            await found(q=odd)
        ((call),) = (await calls(session, q="mul"))["calls"] if full_text else [None]
        if call:
            assert f"{MARKS[0]}Müller{MARKS[1]}" in call["snippet"]


@pytest.mark.parametrize(
    "asked",
    [
        {"since": "x"},
        {"since": "0001-01-01T00:00:00+23:59"},
        {"least": "x"},
        {"before": "x"},
        {"before": f"a|{2**64}"},
    ],
)
async def test_what_is_no_filter_is_400(archive, asked):
    async with visiting(archive) as session, session.get("/api/calls", params=asked) as answer:
        assert answer.status == 400


async def test_a_call_has_its_turns_with_times_and_its_peaks(archive):
    async with visiting(archive) as session:
        row_id = (await calls(session))["calls"][0]["id"]
        async with session.get(f"/api/calls/{row_id}") as answer:
            call = await answer.json()
        assert [(turn["role"], turn["at"]) for turn in call["turns"]] == [("user", 0), ("agent", 2)]
        assert call["turns"][0]["said"] == HOSTILE
        assert not {"call_id", "path", "transcript"} & call.keys()
        async with session.get(f"/api/calls/{row_id}/peaks") as answer:
            (peaks,) = (await answer.json())["channels"]
        assert len(peaks) == 600
        assert 0 <= min(peaks) <= max(peaks) <= 255
        assert max(peaks) > 20


async def test_a_recording_comes_in_ranges(archive):
    (path,) = archive.glob("2026/01/14/*.wav")
    audio = path.read_bytes()
    async with visiting(archive) as session:
        url = f"/api/calls/{(await calls(session))['calls'][0]['id']}/audio"
        for asked, status, wanted in (
            (None, 200, audio),
            ("bytes=0-99", 206, audio[:100]),
            ("bytes=100-", 206, audio[100:]),
            ("bytes=-50", 206, audio[-50:]),
            (f"bytes=0-{len(audio) * 2}", 206, audio),
            (f"bytes={len(audio)}-", 416, b""),
            ("bytes=-0", 416, b""),
            ("bytes=x", 200, audio),
            ("bytes=9-2", 200, audio),
            ("bytes=0-1,5-9", 200, audio),
            ("items=0-1", 200, audio),
            (f"bytes=0-{10**30}", 206, audio),
        ):
            headers = {} if asked is None else {"Range": asked}
            async with session.get(url, headers=headers) as answer:
                assert (answer.status, await answer.read()) == (status, wanted), asked
                assert answer.headers["Content-Type"] == "audio/wav"
        async with session.head(url) as answer:
            assert int(answer.headers["Content-Length"]) == len(audio)


async def test_an_archive_in_a_bucket_is_read_where_it_is(tmp_path, monkeypatch):
    bucket = Bucket.from_url(f"memory://serve/{tmp_path.name}")
    async with (
        Emulator() as emulator,
        AsyncAgentPhone(emulator.api_key, base_url=emulator.base_url) as client,
    ):
        call = emulator.add_call(duration=40)
        archive = BucketArchive(bucket, tmp_path / "writer")
        await archive.run(client, None, RunOptions(transcripts=True))
        audio = emulator.expected_audio(call.id)
    asked = []
    stream = bucket.stream

    def noted(path, start, end, size):
        asked.append((start, end))
        return stream(path, start, end, size)

    monkeypatch.setattr(bucket, "stream", noted)
    with pytest.raises(CatalogError, match="there is no archive in memory://"):
        await Serve(
            tmp_path / "c", Address("127.0.0.1", 0), bucket=Bucket.from_url("memory://none/x")
        ).run()
    async with visiting(tmp_path / "cache", bucket=bucket) as session:
        (found,) = (await calls(session))["calls"]
        url = f"/api/calls/{found['id']}"
        async with session.get(f"{url}/audio", headers={"Range": "bytes=1000-1999"}) as answer:
            assert (answer.status, await answer.read()) == (206, audio[1000:2000])
        assert asked == [(1000, 2000)]
        async with session.get(f"{url}/audio") as answer:
            assert await answer.read() == audio
        async with session.get(f"{url}/peaks") as answer:
            assert max((await answer.json())["channels"][0]) > 20
        async with session.get(url) as answer:
            word = (await answer.json())["turns"][0]["said"].split()[0]
        assert len((await calls(session, q=word))["calls"]) == 1
        for head in list(bucket.list()):
            if head.path.endswith(".wav"):
                bucket.remove(head.path)
        async with session.get(f"{url}/audio") as answer:
            assert answer.status == 404


async def test_only_who_has_the_token_gets_in(archive):
    async with serving(archive) as url, session_of(url) as session:
        for path in ("/", "/page.js", "/api/calls", "/api/calls/1/audio", "/?token=wrong", "/none"):
            async with session.get(path) as answer:
                assert answer.status == 403, path
                assert answer.headers["Cache-Control"] == "no-store"
                assert "zebra" not in await answer.text()
        async with session.get(url) as answer:
            cookie = answer.headers["Set-Cookie"]
            assert "HttpOnly" in cookie
            assert "SameSite=Strict" in cookie
            assert url.split("token=")[1] not in cookie
        async with session.get("/") as answer:
            assert answer.status == 200
            policy = answer.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "localhost.evil:80"])
async def test_a_foreign_host_gets_nothing(archive, host):
    async with visiting(archive) as session:
        async with session.get("/api/calls", headers={"Host": host}) as answer:
            assert answer.status == 421
        cross = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
        async with session.get("/api/calls", headers=cross) as answer:
            assert answer.status == 403


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_nothing_can_be_changed(archive, method):
    async with visiting(archive) as session, session.request(method, "/api/calls") as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    "head", ["GET / HTTP/1.1", "GET http://evil.example/ HTTP/1.1\r\nHost: {}"]
)
async def test_a_request_that_is_none_is_refused_in_one_line(archive, caplog, head):
    async with serving(archive) as url:
        address = url.split("/")[2]
        reader, writer = await asyncio.open_connection(*address.split(":"))
        writer.write(f"{head.format(address)}\r\n\r\n".encode())
        assert (await reader.readline()).split()[1] in {b"400", b"421"}
        writer.close()
    assert not [record for record in caplog.records if record.exc_info]


async def test_numbers_that_are_none_are_404(archive):
    async with visiting(archive) as session:
        for row_id in ("0", "99", "9" * 16, "9" * 30, "x", "..%2f..%2fetc", "-1"):
            async with session.get(f"/api/calls/{row_id}") as answer:
                assert answer.status == 404, row_id


def copy_of(archive, folder):
    for path in archive.rglob("*"):
        if path.is_file() and not path.name.startswith("search"):
            place = folder / path.relative_to(archive)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(path.read_bytes())
    return folder


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../secret", "2026/../../secret", "linked", "out/x", "fifo"]
)
async def test_a_catalog_that_lies_leads_nowhere(archive, tmp_path, path):
    (tmp_path / "secret").write_text("secret")
    folder = copy_of(archive, tmp_path / "archive")
    (folder / "linked").symlink_to(tmp_path / "secret")
    (folder / "out").symlink_to("/etc")
    os.mkfifo(folder / "fifo")
    other = sqlite3.connect(folder / "catalog.sqlite3")
    newest = "(SELECT id FROM calls ORDER BY started DESC LIMIT 1)"
    other.execute(f"UPDATE recordings SET path = ? WHERE call_id = {newest}", (path,))
    other.execute(
        f"UPDATE sidecars SET path = ? WHERE call_id = {newest} AND kind = 'transcript'", (path,)
    )
    other.commit()
    other.close()
    async with visiting(folder) as session:
        row_id = (await calls(session))["calls"][0]["id"]
        async with session.get(f"/api/calls/{row_id}") as answer:
            assert (await answer.json())["turns"] == []
        for part in ("audio", "peaks"):
            async with session.get(f"/api/calls/{row_id}/{part}") as answer:
                assert "secret" not in await answer.text()
                assert answer.status == (404 if part == "audio" else 200)


async def test_what_is_new_or_erased_is_seen(archive, tmp_path):
    folder = copy_of(archive, tmp_path / "archive")
    async with visiting(folder) as session:
        other = sqlite3.connect(folder / "catalog.sqlite3")
        for table in ("recordings", "sidecars", "pending"):
            other.execute(
                f"DELETE FROM {table} WHERE call_id IN (SELECT id FROM calls WHERE duration > 5)"
            )
        other.execute("DELETE FROM calls WHERE duration > 5")
        other.execute("UPDATE calls SET status = 'busy', last_seen = '2099-01-01T00:00:00.000000Z'")
        other.commit()
        other.close()
        with anyio.fail_after(8):
            while len((found := await calls(session))["calls"]) != 3:
                await asyncio.sleep(0.05)
        assert {call["status"] for call in found["calls"]} == {"busy"}
        assert (await calls(session, q="zebra"))["calls"] == []


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


async def test_what_is_no_archive_is_one_line(tmp_path):
    serve = Serve(tmp_path / "none", Address("127.0.0.1", 0))
    with pytest.raises(CatalogError, match="there is no archive in"):
        await serve.run()
    with pytest.raises(ConfigurationError, match="SSH tunnel"):
        Serve(tmp_path, Address("0.0.0.0", 80))

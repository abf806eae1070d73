"""The page over an archive: what it shows, to whom, and that nothing leads out of the archive."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3

import anyio
import pytest

from agentphone_async import AsyncAgentPhone, CatalogError, ConfigurationError, RunOptions
from agentphone_async.archive.bucket.archive import BucketArchive
from agentphone_async.emulator import Emulator
from agentphone_async.sinks.bucket import Bucket
from agentphone_async.web.listen import Address
from agentphone_async.web.serve import Serve
from agentphone_async.web.words import MARKS
from tests.web.reading import HOSTILE, calls, copy_of, serving, session_of, visiting


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


async def test_what_is_no_archive_is_one_line(tmp_path):
    serve = Serve(tmp_path / "none", Address("127.0.0.1", 0))
    with pytest.raises(CatalogError, match="there is no archive in"):
        await serve.run()
    with pytest.raises(ConfigurationError, match="SSH tunnel"):
        Serve(tmp_path, Address("0.0.0.0", 80))

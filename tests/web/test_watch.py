"""From a webhook to a recording on the disk, with the emulator as API and as sender."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sqlite3
import threading
import time
from contextlib import asynccontextmanager, closing

import aiohttp
import anyio
import pytest

from agentphone_async import Archive, AsyncAgentPhone, ConfigurationError, RunOptions
from agentphone_async.archive import erase
from agentphone_async.archive.bucket.archive import BucketArchive
from agentphone_async.archive.bucket.store import Store
from agentphone_async.archive.lock import ArchiveLock
from agentphone_async.emulator import Emulator
from agentphone_async.errors import AuthenticationError, CatalogError
from agentphone_async.sinks.bucket import Bucket
from agentphone_async.web.inbox import forget
from agentphone_async.web.listen import Address, notify
from agentphone_async.web.receiver import read_secrets
from agentphone_async.web.watch import Watch, WatchOptions
from tests.support.downloads import partial
from tests.web.conftest import SECRET, event, signed


class Scene:
    """An account whose webhooks go to a watch, and the folder that it keeps."""

    def __init__(self, folder, **emulator):
        with socket.socket() as reserved:
            reserved.bind(("127.0.0.1", 0))
            self.address = Address("127.0.0.1", reserved.getsockname()[1])
        self.folder = folder
        self.archive = None
        self.url = f"http://{self.address}"
        settings = {"webhook": self.url, "webhook_secret": SECRET, "webhook_delays": (0.05,) * 100}
        self.emulator = Emulator(**(settings | emulator))

    async def __aenter__(self):
        await self.emulator.start()
        return self

    async def __aexit__(self, *_):
        await self.emulator.stop()

    @asynccontextmanager
    async def watching(self, *, now=time.time, api_key=None, **options):
        options = WatchOptions(self.address, [SECRET], **({"poll": None} | options))
        key = api_key or self.emulator.api_key
        async with AsyncAgentPhone(key, base_url=self.emulator.base_url) as client:
            watch = Watch(self.archive or Archive(self.folder), client, options, now=now)
            ready = asyncio.Event()
            async with anyio.create_task_group() as group:
                group.start_soon(watch.run, lambda _: ready.set())
                with anyio.fail_after(10):
                    await ready.wait()
                    yield watch
                    watch.stop()

    def rows(self, query):
        if not (self.folder / "catalog.sqlite3").exists():
            return []
        connection = sqlite3.connect(self.folder / "catalog.sqlite3")
        try:
            return connection.execute(query).fetchall()
        except sqlite3.OperationalError:
            return []
        finally:
            connection.close()

    async def until(self, query, expected, seconds=8.0):
        found = None
        with anyio.move_on_after(seconds):
            while (found := await asyncio.to_thread(self.rows, query)) != expected:
                await asyncio.sleep(0.03)
        assert found == expected

    def told(self, call_id):
        ((path,),) = self.rows(
            f"SELECT path FROM sidecars WHERE kind = 'event' AND call_id = '{call_id}'"
        )
        return json.loads((self.folder / path).read_text())

    def expected(self, call_id):
        data = self.emulator.expected_event(call_id)["data"]
        names = ("callId", "summary", "userSentiment", "callSuccessful", "disconnectionReason")
        return {name: data[name] for name in names}


EVENTS = "SELECT call_id FROM sidecars WHERE kind = 'event' ORDER BY call_id"
ARCHIVED = "SELECT call_id FROM recordings WHERE state = 'archived' ORDER BY call_id"


async def test_a_call_that_ends_is_archived_with_what_only_its_webhook_tells(tmp_path):
    async with Scene(tmp_path) as scene, scene.watching() as watch:
        call = scene.emulator.add_call(duration=2)
        await scene.until(EVENTS, [(call.id,)])
        (path,) = tmp_path.rglob("recording-*.wav")
        assert path.read_bytes() == scene.emulator.expected_audio(call.id)
        assert scene.expected(call.id).items() <= scene.told(call.id).items()
        kinds = [("event",), ("metadata",), ("transcript",), ("transcript_text",)]
        await scene.until("SELECT kind FROM sidecars ORDER BY kind", kinds)
        assert await watch_idle(scene)
        assert watch.counts["archived"] == 1


async def test_a_bucket_gets_recording_transcript_and_event(tmp_path):
    bucket = Bucket.from_url(f"memory://watch/{tmp_path.name}")
    async with Scene(tmp_path / "cache") as scene:
        scene.archive = BucketArchive(bucket, scene.folder)
        run = RunOptions(transcripts=True)
        async with scene.watching(run=run, poll=60.0):
            call = scene.emulator.add_call(duration=1)
            await scene.until(EVENTS, [(call.id,)])
        objects = {head.path: head for head in bucket.list()}
        kinds = sorted(
            path.rpartition("/")[2].split("-")[0] for path in objects if path[0] not in "._"
        )
        assert kinds == ["event", "recording", "transcript", "transcript"]
        assert not any(call.id in path for path in objects)
        (event_path,) = (path for path in objects if "event-" in path)
        assert scene.expected(call.id).items() <= json.loads(bucket.read(event_path)).items()
    with closing(Store(bucket, tmp_path / "other")) as other:
        assert other.open(make=False)


async def watch_idle(scene):
    """Whether the inbox empties."""
    async with aiohttp.ClientSession() as session:
        for _ in range(100):
            async with session.get(f"{scene.url}/metrics") as answer:
                if "agentphone_watch_waiting 0" in (await answer.text()).splitlines():
                    return True
            await asyncio.sleep(0.03)
    return False


async def test_a_recording_is_fetched_soon_after_it_appears(tmp_path):
    async with Scene(tmp_path) as scene, scene.watching():
        call = scene.emulator.add_call(duration=2, recording_delay=1.5)
        began = time.monotonic()
        await scene.until(ARCHIVED, [(call.id,)])
        assert time.monotonic() - began < 1.5 + 5
        await scene.until(EVENTS, [(call.id,)])


async def test_what_never_came_is_repaired_by_reading_the_list(tmp_path):
    losing = ["webhook=never,times=1"]
    async with Scene(tmp_path, faults=losing) as scene, scene.watching(poll=0.5):
        lost, heard = (scene.emulator.add_call(duration=1) for _ in range(2))
        await scene.until(ARCHIVED, sorted([(lost.id,), (heard.id,)]))
        await scene.until(EVENTS, [(heard.id,)])


async def test_a_call_that_the_api_does_not_know_is_asked_for_again_and_then_let_go(tmp_path):
    late = [0.0]
    async with Scene(tmp_path) as scene, scene.watching(now=lambda: time.time() + late[0]) as watch:
        call = scene.emulator.add_call(duration=1)
        scene.emulator.remove_call(call.id)
        await until(lambda: scene.emulator.requests.count("get_call", status=404))
        assert watch.counts["unknown"] == 0
        late[0] = 90_000.0
        await until(lambda: watch.counts["unknown"] == 1)
        assert scene.rows("SELECT * FROM recordings") == []


async def until(condition, seconds=5.0):
    with anyio.fail_after(seconds):
        while not condition():
            await asyncio.sleep(0.02)


async def test_facts_are_the_apis_and_not_the_bodys(tmp_path):
    async with Scene(tmp_path) as scene, scene.watching():
        call = scene.emulator.add_call(duration=1, from_number="+15550001111")
        body = event(call.id, **{"from": "+19990000000", "durationSeconds": 9999, "summary": "S"})
        async with aiohttp.ClientSession() as session:
            await session.post(scene.url, data=body, headers=signed(body))
        await scene.until(EVENTS, [(call.id,)])
        ((number, length),) = scene.rows("SELECT from_number, call_duration FROM archive")
        assert (number, length) == ("+15550001111", 1.0)


async def test_after_a_stop_what_was_acknowledged_is_archived_and_what_was_not_comes_again(
    tmp_path,
):
    async with Scene(tmp_path, calls=30, webhook_backlog=True, seconds=1) as scene:
        everything = sorted((call.id,) for call in scene.emulator.calls)
        async with scene.watching():
            await until(
                lambda: any(each.status == "success" for each in scene.emulator.webhook_log)
            )
        assert partial(tmp_path) == []
        async with scene.watching():
            await scene.emulator.events_delivered()
            await scene.until(EVENTS, everything)
        assert scene.rows("SELECT count(*), count(DISTINCT call_id) FROM recordings") == [(30, 30)]


async def test_an_erased_call_stays_erased(tmp_path):
    async with Scene(tmp_path) as scene:
        async with scene.watching():
            call = scene.emulator.add_call(duration=1)
            await scene.until(EVENTS, [(call.id,)])
            assert await watch_idle(scene)
        await erase.forget(tmp_path, [call.id], dry_run=False)
        forget(tmp_path, [call.id])
        async with scene.watching(poll=0.5) as watch:
            scene.emulator.send_event(call.id)
            await scene.emulator.events_delivered()
            assert await watch_idle(scene)
            await until(lambda: watch.counts["polls"] >= 1)
        assert not list(tmp_path.rglob("*.wav"))
        assert scene.rows(EVENTS) == []


async def test_a_lock_that_somebody_holds_is_waited_for(tmp_path):
    async with Scene(tmp_path) as scene:
        lock = ArchiveLock(tmp_path)
        await lock.wait(0, asyncio.sleep, lambda: False)
        with lock:
            async with scene.watching():
                call = scene.emulator.add_call(duration=1)
                await scene.emulator.events_delivered()
                await asyncio.sleep(0.3)
                assert scene.rows(ARCHIVED) == []
        async with scene.watching():
            await scene.until(EVENTS, [(call.id,)])


async def test_a_refused_key_ends_it_at_once(tmp_path):
    async with Scene(tmp_path) as scene:
        with pytest.raises(BaseException) as caught:
            async with scene.watching(api_key="sk_live_wrong", poll=60):
                await asyncio.sleep(5)
        errors = caught.value
        while isinstance(errors, BaseExceptionGroup):
            errors = errors.exceptions[0]
        assert isinstance(errors, AuthenticationError)


@pytest.mark.parametrize("text", ["0.0.0.0:80", "[::]:80", "192.168.1.2:80", "*:80"])
def test_other_machines_connect_only_if_that_is_meant(text):
    address = Address.parse(text)
    with pytest.raises(ConfigurationError, match="--behind-proxy"):
        WatchOptions(address, [SECRET])
    assert WatchOptions(address, [SECRET], behind_proxy=True).address == address


@pytest.mark.parametrize(
    "text",
    ["", "8080", ":8080", "host", "example.com:80", "127.0.0.1:", "127.0.0.1:65536", "::1:80",
     "127.0.0.1:-1", "127.0.0.1:\u0661", "127.0.0.1:1x", "[127.0.0.1:1"],
)  # fmt: skip
def test_an_address_that_is_none_is_one_line(text):
    with pytest.raises(ConfigurationError, match="HOST:PORT"):
        Address.parse(text)


@pytest.mark.parametrize("text", ["127.0.0.1:0", "localhost:80", "[::1]:80"])
def test_loopback_addresses(text):
    assert Address.parse(text).is_loopback
    assert str(Address.parse(text)) == text


async def test_a_port_that_is_taken_is_one_line(tmp_path):
    async with Scene(tmp_path) as scene, scene.watching():
        with pytest.raises(BaseException) as caught:
            async with Scene.watching(scene):
                pass
        assert "cannot listen on" in str(caught.value.exceptions[0])


async def test_a_catalog_that_is_newer_gets_no_inbox(tmp_path):
    connection = sqlite3.connect(tmp_path / "catalog.sqlite3")
    connection.execute(f"PRAGMA application_id = {int.from_bytes(b'APac', 'big')}")
    connection.execute("PRAGMA user_version = 999")
    connection.execute("CREATE TABLE t (x)")
    connection.commit()
    connection.close()
    watch = Watch(Archive(tmp_path), None, WatchOptions(Address("127.0.0.1", 0), [SECRET]))
    with pytest.raises(CatalogError, match="update agentphone-async"):
        await watch.run()
    assert not (tmp_path / "inbox.sqlite3").exists()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.mkdir(), "a directory"),
        (lambda path: write(path, b"", 0o600), "is empty"),
        (lambda path: write(path, b" \n\n", 0o600), "is empty"),
        (lambda path: write(path, b"whsec_a", 0o644), "chmod 600"),
        (lambda path: write(path, b"whsec_a", 0o604), "chmod 600"),
        (lambda path: write(path, b"whsec_a", 0o620), "chmod 600"),
        (lambda path: write(path, b"\xff\xfe", 0o600), "not text"),
        (lambda path: write(path, b"x" * 5000, 0o600), "longer"),
        (lambda path: os.mkfifo(path, 0o600), "not a file"),
    ],
)
def test_a_secret_file_that_holds_no_secret_is_one_line(tmp_path, make, said):
    path = tmp_path / "secret"
    make(path)
    if path.is_fifo():
        threading.Thread(target=lambda: path.open("wb").close(), daemon=True).start()
    with pytest.raises(ConfigurationError, match=said) as caught:
        read_secrets(path)
    assert "\n" not in str(caught.value)


def write(path, data, mode):
    path.write_bytes(data)
    path.chmod(mode)


def test_a_secret_file_may_hold_the_old_and_the_new_one(tmp_path):
    write(tmp_path / "secret", b"\xef\xbb\xbfwhsec_new\r\n\nwhsec_old\n", 0o400)
    assert read_secrets(tmp_path / "secret") == ["whsec_new", "whsec_old"]


def test_systemd_is_told(tmp_path, monkeypatch):
    assert not notify("READY=1")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        assert notify("READY=1")
        assert systemd.recv(100) == b"READY=1"
    (tmp_path / "notify").unlink()
    assert not notify("STOPPING=1")

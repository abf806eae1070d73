"""Arguments that cannot work are refused in one line; the others do what they say."""

from __future__ import annotations

import asyncio
import gc
from contextlib import aclosing
from datetime import timedelta
from pathlib import Path, PurePosixPath
from unittest.mock import Mock

import pytest

from agentphone_async import (
    AlreadyArchived,
    Archive,
    Archived,
    AsyncAgentPhone,
    Fsync,
    LocalSink,
    NoRecording,
    Target,
)
from agentphone_async.archive.erase import forget, hold, prune
from agentphone_async.emulator import EmulatorThread
from agentphone_async.errors import ConfigurationError, NotAudioError
from agentphone_async.models import Call, CallPage
from agentphone_async.recordings import jobs
from agentphone_async.sinks import local
from tests.support.downloads import files, impatient, wave
from tests.support.raw_server import RawServer, respond

BODY = wave(2_000)
THERE = respond(200, BODY, content_type="audio/wav")


async def collect(outcomes):
    async with aclosing(outcomes):
        return [outcome async for outcome in outcomes]


CALL = Call.from_json({"id": "call_x"})
PAGE = CallPage.from_json({"data": [{"id": "call_x"}]})


@pytest.mark.parametrize(
    "calls",
    ["call_x", b"call_x", bytearray(b"x"), None, 7, {"call_x": 1}, PurePosixPath("x"), CALL, PAGE],
)
async def test_one_id_is_no_list_of_them(calls, tmp_path):
    async with impatient("http://127.0.0.1:1") as client:
        with pytest.raises(ConfigurationError, match="use a list of ids or calls, or fetch_record"):
            await collect(client.download_recordings(calls, tmp_path))


@pytest.mark.parametrize("item", [None, 7, b"call_x", ["call_x"], PurePosixPath("call_x")])
async def test_what_is_no_call_is_refused_when_its_turn_comes(item, tmp_path):
    async with RawServer(THERE) as server, impatient(server.base_url) as client:
        with pytest.raises(ConfigurationError, match=f"calls has {type(item).__name__}; use ids"):
            await collect(client.download_recordings(iter(["call_x", item]), tmp_path))


@pytest.mark.parametrize("wait", [-1, float("nan"), "5", None, True])
@pytest.mark.parametrize("concurrency", [0, -1, 1.5, "8", None, True])
async def test_numbers_that_are_none_are_refused(wait, concurrency, tmp_path):
    async with impatient("http://127.0.0.1:1") as client:
        with pytest.raises(ConfigurationError, match=r"wait is .*; use seconds"):
            await client.fetch_recording("call_x", tmp_path, wait=wait)
        with pytest.raises(ConfigurationError, match=r"wait is .*; use seconds"):
            await collect(client.download_recordings(["call_x"], tmp_path, wait=wait))
        with pytest.raises(ConfigurationError, match=r"concurrency is .*; use 'auto', or 1"):
            await collect(client.download_recordings(["x"], tmp_path, concurrency=concurrency))


@pytest.mark.parametrize(
    ("call_id", "where", "told"),
    [
        (["call_x"], {"dest": "d"}, "call_id is list"),
        (None, {"dest": "d"}, "call_id is NoneType"),
        ("call_x", {}, "neither is given"),
        ("call_x", {"dest": "d", "path": "d/f"}, "both are given"),
        ("call_x", {"dest": ""}, "dest is empty"),
        ("call_x", {"dest": b"d"}, "dest is bytes"),
        ("call_x", {"dest": 7}, "dest is int"),
        ("call_x", {"dest": LocalSink}, "dest is the class LocalSink; make a sink of it"),
        ("call_x", {"dest": Mock(spec=["publish", "stage"])}, "lacks existing, begin, discard, ac"),
        ("call_x", {"path": "d/"}, "not the path of a file"),
        ("call_x", {"path": ""}, "not the path of a file"),
        ("call_x", {"path": "."}, "not the path of a file"),
        ("call_x", {"path": ".."}, "not the path of a file"),
        ("call_x", {"path": b"f"}, "path is bytes"),
    ],
)
async def test_where_to_must_be_clear(call_id, where, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    async with impatient("http://127.0.0.1:1") as client:
        with pytest.raises(ConfigurationError, match=told):
            await client.fetch_recording(call_id, **where)
    assert list(tmp_path.iterdir()) == []


async def test_what_is_there_is_replaced_if_asked(tmp_path):
    name = tmp_path / "recording-call_x.wav"
    name.write_bytes(wave(1_000))
    async with RawServer(THERE) as server, impatient(server.base_url) as client:
        (kept,) = await collect(client.download_recordings(["call_x"], tmp_path))
        assert isinstance(kept, AlreadyArchived)
        (made,) = await collect(client.download_recordings(["call_x"], tmp_path, overwrite=True))
    assert isinstance(made, Archived)
    assert files(tmp_path) == {"recording-call_x.wav": BODY}


async def test_recordings_that_are_not_ready_are_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr("agentphone_async.recordings.jobs.FIRST_POLL", 0.01)
    script = respond(404), respond(404), respond(425), THERE
    async with RawServer(*script) as server, impatient(server.base_url) as client:
        (outcome,) = await collect(client.download_recordings(["call_x"], tmp_path, wait=30))
        assert isinstance(outcome, Archived)
    async with RawServer(respond(404)) as server, impatient(server.base_url) as client:
        (outcome,) = await collect(client.download_recordings(["call_y"], tmp_path, wait=0.3))
        assert isinstance(outcome, NoRecording)
        assert len(server.requests) > 1


async def test_a_sink_of_ones_own_is_used_and_left_open(tmp_path):
    sink = LocalSink(tmp_path, fsync=Fsync.OFF)
    async with RawServer(THERE) as server, impatient(server.base_url) as client:
        recording = await client.fetch_recording("call_x", sink)
        (other,) = await collect(client.download_recordings(["call_y"], sink))
    assert recording.path.as_posix() == "recording-call_x.wav"
    assert other.recording.path.as_posix() == "recording-call_y.wav"
    assert len(files(tmp_path)) == 2
    await sink.aclose()


async def test_the_callers_iterator_is_closed_when_the_consumer_leaves(tmp_path):
    closed = []

    async def ids():
        try:
            for number in range(10_000):
                yield f"call_{number}"
        finally:
            await asyncio.sleep(0)
            closed.append(True)

    async with RawServer(THERE) as server, impatient(server.base_url) as client:
        async with aclosing(client.download_recordings(ids(), tmp_path)) as outcomes:
            await anext(outcomes)
        assert closed == [True]


async def test_refused_answers_leave_no_stray_task(tmp_path):
    script = respond(200, b"<html>no</html>" * 100, content_type="text/html")
    async with RawServer(script) as server, impatient(server.base_url) as client:
        before = asyncio.all_tasks()
        for _ in range(50):
            with pytest.raises(NotAudioError):
                await client.fetch_recording("call_x", tmp_path)
        gc.collect()
        ours = asyncio.all_tasks() - before
        assert not [task for task in ours if "asyncgen" in repr(task) or "aclose" in repr(task)]


@pytest.fixture
def server():
    with EmulatorThread() as running:
        yield running


async def test_two_hundred_transfers_are_two_hundred(server, tmp_path):
    server.settings.latency = 0.5
    given = [server.add_call(duration=0.01).id for _ in range(200)]
    async with impatient(server.base_url) as client:
        await collect(client.download_recordings(given, tmp_path, concurrency=200))
    assert server.requests.peak_in_flight == 200


@pytest.mark.parametrize(
    ("connections", "affordable", "most"),
    [(None, 1_000, 256), (None, 90, 90), (100, 1_000, 100), (2, 1_000, 2)],
)
async def test_automatic_transfers_have_a_maximum(connections, affordable, most, monkeypatch):
    monkeypatch.setattr(
        "agentphone_async.client.affordable", lambda transfers: min(transfers, affordable)
    )
    async with impatient("http://127.0.0.1:1", connections=connections) as client:
        limits = client.session.limits
        assert limits.concurrency == (connections or 64)
        assert client.workers("auto") == client.workers("auto") == most
        assert (limits.concurrency, limits.max_concurrency) == (min(8, most), most)


async def test_more_than_there_are_descriptors_for_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("agentphone_async.client.affordable", lambda most: min(most, 90))
    async with RawServer(THERE) as server, impatient(server.base_url) as client:
        with pytest.raises(ConfigurationError, match=r"file descriptors for 90.*ulimit -n"):
            await collect(client.download_recordings(["call_x"], tmp_path, concurrency=200))


def test_descriptors_are_asked_for_up_to_what_is_allowed():
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, before[1]))
        assert jobs.affordable(200) == 200
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 200 + jobs.RESERVED
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def test_many_single_recordings_share_threads_and_read_the_folder_once(tmp_path, monkeypatch):
    read = []
    real = local.sweep

    def counted(folder, *more):
        read.append(folder)
        return real(folder, *more)

    monkeypatch.setattr(local, "sweep", counted)
    async with RawServer(THERE) as server, impatient(server.base_url) as client:
        await asyncio.gather(
            *(client.fetch_recording(f"call_{number}", tmp_path) for number in range(60))
        )
        import threading

        ours = [each for each in threading.enumerate() if "agentphone" in each.name]
        assert len(ours) <= 8
    assert len(files(tmp_path)) == 60
    assert len(read) <= 4, "several threads may begin at once, and each reads no more than once"


USES = {
    "one": lambda client, folder: client.fetch_recording("call_x", folder),
    "many": lambda client, folder: collect(client.download_recordings(["call_x"], folder)),
    "stream": lambda client, _: collect(client.stream_recording("call_x")),
    "ask": lambda client, _: client.calls.get("call_x"),
    "list": lambda client, _: collect(client.calls.list().__aiter__()),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_second_event_loop_is_said(use, tmp_path):
    client = AsyncAgentPhone(base_url="http://127.0.0.1:1", api_key="sk_test")
    with asyncio.Runner() as first:
        first.run(client.__aenter__())
        with pytest.raises(ConfigurationError, match="another event loop"):
            asyncio.run(use(client, tmp_path))
        first.run(client.aclose())


@pytest.mark.parametrize("use", USES.values(), ids=USES)
async def test_a_client_that_was_closed_says_so(use, tmp_path):
    async with AsyncAgentPhone(base_url="http://127.0.0.1:1", api_key="sk_test") as client:
        pass
    with pytest.raises(ConfigurationError, match="client is closed"):
        await use(client, tmp_path)


@pytest.mark.parametrize("ids", ["call_x", b"call_x", None, {"call_x": 1}, Path("call_x")])
async def test_a_single_id_is_refused_wherever_many_are_taken(ids, tmp_path):
    client = AsyncAgentPhone(base_url="http://127.0.0.1:1", api_key="sk_test")
    async with client:
        for use in (
            lambda: forget(tmp_path, ids, dry_run=False),
            lambda: hold(tmp_path, ids),
            lambda: prune(tmp_path, timedelta(days=1), keep={"status": ids}),
            lambda: Archive(tmp_path).run(client, calls=ids) if ids else forget(tmp_path, ids),
        ):
            with pytest.raises(ConfigurationError, match=f"is {type(ids).__name__}; use a list"):
                await use()
    assert list(tmp_path.iterdir()) == []


async def test_names_with_rare_extensions_are_there_already(tmp_path):
    (tmp_path / "recording-call_x.opus").write_bytes(b"OggS" + bytes(24) + b"OpusHead" + bytes(100))
    sink = LocalSink(tmp_path)
    target = Target(PurePosixPath(), "recording-call_x")
    assert await sink.existing([target]) == [PurePosixPath("recording-call_x.opus")]
    await sink.aclose()

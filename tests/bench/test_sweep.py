"""A sweep over a real server: what is measured is what came, and the rest is told."""

from __future__ import annotations

import asyncio
import itertools
import json
from pathlib import PurePosixPath

import pytest

from agentphone_async import RetryPolicy
from agentphone_async.bench import sweep as sweep_module
from agentphone_async.bench.null_sink import NullSink
from agentphone_async.bench.report import as_json
from agentphone_async.bench.stopwatch import resident_bytes
from agentphone_async.bench.sweep import Sweep, probe
from agentphone_async.errors import ConnectionFailedError, DestinationError, ServerError
from agentphone_async.sinks.threads import FilePool
from tests.support.downloads import wave
from tests.support.raw_server import RawServer, respond


class Meter(NullSink):
    """Counts what is published, and lets time pass when enough was."""

    def __init__(self, needed=5):
        super().__init__(pool=FilePool(1))  # not closed with each step
        self.needed = needed
        self.published = 0
        self.seconds = []
        self._news = asyncio.Event()

    async def publish(self, batch):
        stored = await super().publish(batch)
        self.published += len(batch)
        self._news.set()
        return stored

    async def sleep(self, seconds):
        self.seconds.append(seconds)
        until = self.published + self.needed
        while self.published < until:
            self._news.clear()
            await self._news.wait()


def sweep_of(emulator, client_of, meter, transfers, **more):
    return Sweep(
        transfers,
        seconds=1.0,
        client=lambda _: client_of(emulator.base_url),
        sink=lambda: meter,
        **{"sleep": meter.sleep, **more},
    )


async def measured(sweep, ids):
    return [step async for step in sweep.steps(itertools.cycle(ids))]


@pytest.fixture
def ids(emulator):
    return [emulator.add_call(duration=1.0).id for _ in range(3)]


async def test_each_number_is_measured_after_a_warm_up(emulator, client_of, ids):
    meter = Meter(300)
    steps = await measured(sweep_of(emulator, client_of, meter, [1, 3, "auto"]), ids)
    assert [step.transfers for step in steps] == [1, 3, "auto"]
    assert meter.seconds == [0.2, 1.0, 0.2, 1.0, 2.0, 1.0]
    size = len(emulator.expected_audio(ids[0]))
    for step in steps:
        assert step.recordings >= 10  # 300 were published meanwhile; some had arrived before
        assert step.bytes >= 10 * size
        assert step.requests == step.recordings
        assert 0 < step.first_byte[50] <= step.total[50] <= step.total[99]
        assert step.cpu > 0
        assert (step.failed, step.absent, step.retried, step.error) == (0, 0, 0, None)
    assert [step.settled is not None for step in steps] == [False, False, True]


async def test_no_more_run_at_a_time_than_the_number_says(emulator, client_of, ids):
    emulator.settings.latency = 0.005
    await measured(sweep_of(emulator, client_of, Meter(), [2]), ids)
    assert emulator.requests.peak_in_flight == 2


async def test_steps_go_on_through_the_ids(emulator, client_of, ids):
    taken = []

    def endless():
        for call_id in itertools.cycle(ids):
            taken.append(call_id)
            yield call_id

    sweep = sweep_of(emulator, client_of, Meter(), [1, 1])
    assert len([step async for step in sweep.steps(endless())]) == 2
    assert taken == list(itertools.islice(itertools.cycle(ids), len(taken)))


async def test_what_is_absent_or_fails_is_counted_apart(emulator, client_of, ids):
    emulator.fail(route="recording", call_id=ids[0], status=500)
    wanted = [*ids[:2], "call_that_never_was"]
    (step,) = await measured(sweep_of(emulator, client_of, Meter(10), [1]), wanted)
    assert min(step.recordings, step.absent, step.failed) >= 5
    assert step.retried == 2 * step.failed  # three attempts each
    assert step.requests == step.recordings + step.absent + 3 * step.failed
    assert isinstance(step.error, ServerError)
    assert not any(call_id in json.dumps(as_json([step], {})) for call_id in ids)


async def test_nothing_but_failures_is_an_error(emulator, client_of, ids):
    emulator.fail(route="recording", status=500)

    async def until_some_have_failed(_):
        while len(emulator.requests) < 12:
            await asyncio.sleep(0)

    sweep = sweep_of(emulator, client_of, Meter(), [2], sleep=until_some_have_failed)
    with pytest.raises(ServerError):
        await measured(sweep, ids)


async def test_a_server_that_is_gone_ends_the_sweep_early(emulator, client_of, ids, monkeypatch):
    monkeypatch.setattr(sweep_module, "HOPELESS", 20)
    emulator.fail(route="recording", status=500)
    for_ever = asyncio.Event()
    sweep = sweep_of(emulator, client_of, Meter(), [2], sleep=lambda _: for_ever.wait())
    with pytest.raises(ServerError):
        await measured(sweep, ids)
    assert len(emulator.requests) >= 60


async def test_a_sink_that_fails_ends_the_sweep(emulator, client_of, ids):
    class Full(Meter):
        async def publish(self, batch):
            raise DestinationError("the disk is full")

    for_ever = asyncio.Event()
    sweep = sweep_of(emulator, client_of, Full(), [4], sleep=lambda _: for_ever.wait())
    with pytest.raises(DestinationError, match="full"):
        await measured(sweep, ids)


async def test_the_probe_takes_an_absent_recording_for_an_answer(emulator, client, ids):
    await probe(client, ids[0])
    await probe(client, "call_that_never_was")
    assert [request.status for request in emulator.requests] == [200, 404]


async def test_the_probe_tells_a_wrong_address(client_of, monkeypatch):
    async with RawServer(b"") as server:
        url = server.base_url
    client = client_of(url, retry=RetryPolicy(attempts=1, first_delay=0.0, total=0.0))
    monkeypatch.setattr(client.session.limits._circuit, "_first_contact_budget", 0.0)
    with pytest.raises(ConnectionFailedError):
        await probe(client, "call_x")


async def test_large_bodies_are_hashed_in_parts_and_kept_nowhere(client_of):
    body = wave(5 * 1024 * 1024 + 3)
    meter = Meter(2)
    async with RawServer(respond(200, body, content_type="audio/wav")) as server:
        sweep = Sweep([2], 1.0, lambda _: client_of(server.base_url), lambda: meter, meter.sleep)
        (step,) = await measured(sweep, ["call_x"])
    assert step.recordings >= 1
    assert step.bytes >= len(body)


async def test_the_null_sink_stores_nothing_and_never_has_anything():
    from agentphone_async.sinks.interface import Target

    sink = NullSink()
    target = Target(PurePosixPath(), "recording-x")
    assert await sink.existing([target, target]) == [None, None]
    upload = await sink.begin(target)
    await upload.write([b"ab", b"c"])
    assert upload.size == 3
    await upload.abort()
    await sink.aclose()


def test_memory_is_told_in_bytes():
    assert 5e6 < (resident_bytes() or 1e7) < 5e9


def test_the_report_is_plain_data_with_its_knee():
    from agentphone_async.bench.figures import Step

    steps = [
        Step(1, 2.0, 4_000_000, 8, 8, first_byte={50: 0.1}, total={50: 0.2}, peak_rss=7),
        Step("auto", 2.0, 9_000_000, 18, 18, settled=5),
    ]
    report = json.loads(json.dumps(as_json(steps, {"source": "emulator"})))
    assert (report["source"], report["knee"], report["schema"]) == ("emulator", 1, 1)
    assert report["steps"][0]["bytes_per_second"] == 2_000_000
    assert report["steps"][0]["first_byte_seconds"] == {"p50": 0.1}
    assert report["steps"][1] | {"transfers": "auto", "settled": 5} == report["steps"][1]

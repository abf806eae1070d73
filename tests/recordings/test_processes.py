"""Several processes: the same outcomes as one, equal shares of every limit, and nothing left."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import pickle
import queue
import signal
import sys
import threading
from collections import Counter
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from agentphone_async import errors
from agentphone_async.config import RetryPolicy, Settings, Timeouts
from agentphone_async.models import Call
from agentphone_async.protocol import endpoints
from agentphone_async.protocol.absence import GRACE
from agentphone_async.recordings import processes
from agentphone_async.recordings.channel import Channel
from agentphone_async.recordings.downloader import Job, flat_target
from agentphone_async.recordings.outcomes import (
    AlreadyArchived,
    Archived,
    Failed,
    NoRecording,
    NotReadyYet,
)
from agentphone_async.recordings.pipes import (
    Arrived,
    Broken,
    Close,
    Done,
    Drop,
    Jobs,
    NoMore,
    Order,
    Pause,
    Settled,
    framed,
    messages_of,
    next_from,
)
from agentphone_async.recordings.processes import ProcessDownloader, WorkerLostError
from agentphone_async.recordings.valve import LeftError
from agentphone_async.recordings.worker_process import Worker, share_of, share_of_limits
from agentphone_async.sinks.local import Fsync
from agentphone_async.transport.session import Session
from agentphone_async.transport.timetable import Timetable
from tests.support.downloads import files, wave
from tests.support.raw_server import RawServer, respond

RETRY = RetryPolicy(attempts=2, first_delay=0.001, longest_delay=0.002, total=5.0)
BODY = wave(20_000)
WAV = respond(200, BODY, content_type="audio/wav")
LARGE_PART = respond(200, wave(9_000_000), content_type="audio/wav")[:6_000_000]
NONE = respond(404, b'{"error":{"message":"none"}}', content_type="application/json")


def settings(base_url, **more):
    return Settings(api_key="sk_secret", base_url=base_url, retry=RETRY, **more)


def session(base_url, **more):
    return Session(settings(base_url, **more))


async def outcomes_of(downloader, calls):
    async with aclosing(downloader.batches(calls)) as batches:
        return [outcome async for batch in batches for outcome in batch]


@pytest.fixture
def started(monkeypatch):
    """The processes that were started, which must all have gone at the end of the test."""
    found = []
    start = asyncio.create_subprocess_exec

    async def recorded(*args, **options):
        process = await start(*args, **options)
        found.append(process)
        return process

    monkeypatch.setattr(asyncio, "create_subprocess_exec", recorded)
    yield found
    for process in found:
        assert process.returncode is not None
        with pytest.raises(ProcessLookupError):
            os.kill(process.pid, 0)


class TestTogether:
    async def test_every_call_has_its_outcome_and_every_byte_its_place(self, started, tmp_path):
        def answer(request):
            return NONE if "none" in request.target else WAV

        async def reply(connection, request):
            await connection.send(answer(request))

        young = Call(id="none-young", status="completed", ended_at=datetime.now(UTC))
        talking = Call(id="talking", status="in-progress")
        named = [f"call {number}" for number in range(30)]
        (tmp_path / "recording-there.wav").write_bytes(b"mine")
        arrived = []
        async with RawServer(reply) as server:
            downloader = ProcessDownloader(
                session(server.base_url), tmp_path, 2, concurrency=4, progress=arrived.append
            )
            calls = [*named, "call 1", "there", "none", young, talking]
            outcomes = await outcomes_of(downloader, calls)
        kinds = Counter(type(outcome) for outcome in outcomes)
        assert kinds[Archived] + kinds[AlreadyArchived] == 32
        assert kinds[Archived] >= 30
        assert (kinds[NoRecording], kinds[NotReadyYet], kinds[Failed]) == (1, 2, 0)
        assert {outcome.call_id for outcome in outcomes} == {
            *named, "there", "none", "none-young", "talking",
        }  # fmt: skip
        waiting = {o.call_id: o.call for o in outcomes if isinstance(o, NotReadyYet)}
        assert waiting == {"none-young": young, "talking": talking}
        there = files(tmp_path)
        assert there.pop("recording-there.wav") == b"mine"
        assert list(there.values()) == [BODY] * 30
        for outcome in outcomes:
            if isinstance(outcome, Archived):
                assert outcome.recording.path.read_bytes() == BODY
                assert outcome.recording.sha256 == hashlib.sha256(BODY).hexdigest()
        assert sum(arrived) >= 30 * len(BODY)
        assert len(started) == 2
        assert not any("sk_secret" in str(request) for request in server.requests)

    async def test_a_process_that_dies_costs_only_what_it_was_at(self, started, tmp_path):
        held = asyncio.Event()
        released = asyncio.Event()

        async def reply(connection, request):
            if "held" in request.target and not released.is_set():
                await connection.send(LARGE_PART)
                held.set()
                await connection.wait_gone()
            else:
                await connection.send(WAV)

        async def calls():
            yield "held"
            await held.wait()
            yield "early"  # the other one has it, and has looked for leftovers when it stored it
            while not {".part", ".wav"} <= {path.suffix for path in tmp_path.iterdir()}:
                await asyncio.sleep(0)
            os.kill(_owner_of(server, started), signal.SIGKILL)
            for number in range(10):
                yield f"call {number}"

        async with RawServer(reply) as server:
            downloader = ProcessDownloader(session(server.base_url), tmp_path, 2, concurrency=2)
            outcomes = await outcomes_of(downloader, calls())
        failed = [outcome for outcome in outcomes if isinstance(outcome, Failed)]
        assert "held" in {outcome.call_id for outcome in failed}
        assert all(isinstance(outcome.error, WorkerLostError) for outcome in failed)
        assert "signal 9" in str(failed[0].error)
        assert failed[0].error.call_id == failed[0].call_id
        assert len(outcomes) == 12
        assert len(files(tmp_path)) == 12 - len(failed)
        assert not any(name.endswith(".part") for name in files(tmp_path))

    async def test_when_none_is_left_the_run_is_broken(self, started, tmp_path):
        async def reply(connection, _request):
            for process in started:
                os.kill(process.pid, signal.SIGKILL)
            await connection.wait_gone()

        endless = (f"call {number}" for number in range(10**9))
        async with RawServer(reply) as server:
            downloader = ProcessDownloader(session(server.base_url), tmp_path, 2, concurrency=2)
            with pytest.raises(WorkerLostError, match="none is left"):
                await outcomes_of(downloader, endless)
        assert files(tmp_path) == {}

    async def test_a_disk_that_fails_breaks_the_run(self, started, tmp_path):
        (tmp_path / "file").write_bytes(b"")
        downloader = ProcessDownloader(session("http://127.0.0.1:9"), tmp_path / "file", 1)
        with pytest.raises(errors.DestinationError, match="is a file"):
            await outcomes_of(downloader, ["call_x"])

    async def test_leaving_early_drops_what_is_under_way(self, started, tmp_path):
        first = asyncio.Event()

        async def reply(connection, request):
            if "quick" in request.target:
                await connection.send(WAV)
                return
            await connection.send(LARGE_PART)
            first.set()
            await connection.wait_gone()

        async with RawServer(reply) as server:
            downloader = ProcessDownloader(session(server.base_url), tmp_path, 2, concurrency=2)
            async with aclosing(downloader.batches(["slow", "quick", "quick2"])) as batches:
                assert await anext(batches)
                await first.wait()
        assert not [name for name in files(tmp_path) if "quick" not in name]

    async def test_what_the_calls_raise_is_raised(self, started, tmp_path):
        def calls():
            yield "call_x"
            raise LookupError("the list broke off")

        async with RawServer(WAV) as server:
            downloader = ProcessDownloader(session(server.base_url), tmp_path, 1)
            with pytest.raises(LookupError):
                await outcomes_of(downloader, calls())


def _owner_of(server, started):
    """The process at the other end of the server's first connection."""
    port = server.connections[0]._writer.get_extra_info("peername")[1]
    for process in started:
        table = f"/proc/{process.pid}/fd"
        inodes = {os.readlink(f"{table}/{fd}") for fd in os.listdir(table)}
        with open("/proc/net/tcp") as sockets:
            for line in list(sockets)[1:]:
                fields = line.split()
                if int(fields[1].split(":")[1], 16) == port and f"socket:[{fields[9]}]" in inodes:
                    return process.pid
    raise AssertionError("nobody has that connection")


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
async def test_however_the_parent_ends_its_processes_end_and_leave_nothing(number, code, tmp_path):
    got_two = asyncio.Event()

    async def reply(connection, _request):
        await connection.send(LARGE_PART)  # a part of it is on the disk now
        if len(server.connections) == 2:
            got_two.set()
        await connection.wait_gone()

    async with RawServer(reply) as server:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "agentphone_async", "fetch", "a", "b", "--dest", str(tmp_path)),
            *("--base-url", server.base_url, "--processes", "2", "--transfers", "2"),
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        await got_two.wait()
        os.killpg(process.pid, number)  # as a terminal does
        _, said = await process.communicate()  # its processes have that pipe, too: all have gone
    assert process.returncode == code
    assert b"Traceback" not in said
    assert files(tmp_path) == {}


class TestShares:
    def orders(self, tmp_path, count, **more):
        return list(
            ProcessDownloader(session("http://127.0.0.1:9"), tmp_path, count, **more).orders()
        )

    @pytest.mark.parametrize(
        ("count", "transfers", "each"),
        [
            (1, 16, [16]),
            (2, 16, [8, 8]),
            (3, 16, [6, 5, 5]),
            (4, 2, [1, 1]),
            (2, "auto", [None] * 2),
        ],
    )
    def test_transfers_are_dealt_out(self, tmp_path, count, transfers, each):
        orders = self.orders(tmp_path, count, concurrency=transfers)
        assert [order.transfers for order in orders] == each
        assert {order.shares for order in orders} == {len(each)}

    def test_the_key_stays_here(self, tmp_path):
        (order,) = self.orders(tmp_path, 1)
        assert order.settings.api_key is None
        assert b"sk_secret" not in framed(order)

    @pytest.mark.parametrize("wrong", [{"processes": 0}, {"concurrency": 0}])
    def test_none_at_all_is_refused(self, tmp_path, wrong):
        with pytest.raises(ValueError, match="at least 1"):
            ProcessDownloader(session("http://127.0.0.1:9"), tmp_path, **{"processes": 1, **wrong})

    async def test_rates_and_connections_are_divided(self, tmp_path):
        order = order_of(tmp_path, "http://127.0.0.1:9", shares=4, tpslimit=10.0, bwlimit="8M")
        limits = share_of_limits(order)
        assert limits.request_rate == 2.5
        assert limits._bytes.rate == 2 * 2**20
        assert (limits.concurrency, limits.max_concurrency) == (16, 16)

    async def test_auto_finds_its_share_of_the_connections(self, tmp_path):
        order = order_of(tmp_path, "http://127.0.0.1:9", shares=2, transfers=None)
        limits = share_of_limits(order)
        assert limits.concurrency < limits.max_concurrency == 32

    def test_a_timetable_keeps_its_times(self):
        whole = Timetable.parse("08:00,512k 18:00,off")
        part = share_of(whole, 4)
        noon = datetime(2026, 1, 5, 12, tzinfo=UTC)
        assert (whole.rate_at(noon), part.rate_at(noon)) == (512 * 1024, 128 * 1024)
        assert part.rate_at(noon + timedelta(hours=8)) is None


def order_of(tmp_path, base_url, *, shares=1, transfers=2, **more):
    return Order(
        settings(base_url, timeouts=Timeouts(connect=5, read=5, head=5), **more),
        shares,
        transfers,
        tmp_path,
        Fsync.OFF,
        GRACE,
        skip_existing=True,
        max_file_size=None,
    )


class Inbox:
    """Messages for a worker, in the place of its pipe."""

    def __init__(self, *messages):
        self._messages = queue.Queue()
        self.put(*messages)

    def put(self, *messages):
        for message in messages:
            self._messages.put(message)

    def __iter__(self):
        return iter(self._messages.get, "closed")


class Outbox(io.BytesIO):
    """What a worker says; an event tells that it has said something."""

    def messages(self):
        return list(messages_of(io.BytesIO(self.getvalue())))

    def of(self, kind):
        return [message for message in self.messages() if isinstance(message, kind)]


def job(call_id):
    return Job(call_id, None, flat_target(call_id, None))


class TestWorker:
    async def test_it_fetches_says_so_and_ends(self, tmp_path):
        async with RawServer(WAV) as server:
            inbox, outbox = Inbox(Jobs([job("a"), job("b")]), NoMore()), Outbox()
            await Worker(order_of(tmp_path, server.base_url), iter(inbox), outbox).run()
        inbox.put("closed")
        outcomes = [outcome for message in outbox.of(Settled) for outcome in message.outcomes]
        assert {outcome.call_id for outcome in outcomes} == {"a", "b"}
        assert sum(message.size for message in outbox.of(Arrived)) == 2 * len(BODY)
        assert outbox.messages()[-1] == Done()

    async def test_a_parent_that_has_gone_ends_it(self, tmp_path):
        inbox = Inbox(Jobs([job("a")]))

        async def reply(connection, _request):
            await connection.send(WAV[:10_000])
            inbox.put("closed")
            await connection.wait_gone()

        async with RawServer(reply) as server:
            outbox = Outbox()
            await Worker(order_of(tmp_path, server.base_url), iter(inbox), outbox).run()
        assert outbox.of(Done) == []
        assert files(tmp_path) == {}

    async def test_what_breaks_the_run_is_the_last_thing_it_says(self, tmp_path):
        (tmp_path / "file").write_bytes(b"")
        inbox, outbox = Inbox(Jobs([job("a")]), NoMore()), Outbox()
        await Worker(order_of(tmp_path / "file", "http://127.0.0.1:9"), iter(inbox), outbox).run()
        inbox.put("closed")
        assert isinstance(outbox.messages()[-1], Broken)
        assert isinstance(outbox.messages()[-1].error, errors.DestinationError)

    async def test_closed_it_begins_nothing_more_and_says_what_is_left(self, tmp_path):
        async with RawServer(WAV) as server:
            jobs = [job(str(number)) for number in range(5)]
            inbox, outbox = Inbox(Close(), Jobs(jobs), NoMore()), Outbox()
            await Worker(order_of(tmp_path, server.base_url), iter(inbox), outbox).run()
        inbox.put("closed")
        outcomes = [outcome for message in outbox.of(Settled) for outcome in message.outcomes]
        assert [type(outcome.error) for outcome in outcomes] == [LeftError] * 5
        assert outbox.messages()[-1] == Done()
        assert server.requests == []

    async def test_told_to_drop_it_lets_go_of_what_is_under_way(self, tmp_path):
        inbox, outbox = Inbox(Jobs([job("a"), job("b")]), NoMore()), Outbox()

        async def reply(connection, _request):
            await connection.send(LARGE_PART)
            inbox.put(Drop())
            await connection.wait_gone()

        async with RawServer(reply) as server:
            await Worker(order_of(tmp_path, server.base_url), iter(inbox), outbox).run()
        inbox.put("closed")
        outcomes = [outcome for message in outbox.of(Settled) for outcome in message.outcomes]
        assert [type(outcome.error) for outcome in outcomes] == [LeftError] * 2
        assert outbox.of(Arrived)[-1].held == 0
        assert outbox.messages()[-1] == Done()
        assert files(tmp_path) == {}

    async def test_other_bytes_than_those_known_get_the_other_name(self, tmp_path):
        other = flat_target("a.v2", None)
        wanted = replace(flat_target("a", None), known="0" * 64, other=other)
        async with RawServer(WAV) as server:
            inbox, outbox = Inbox(Jobs([Job("a", None, wanted)]), NoMore()), Outbox()
            await Worker(order_of(tmp_path, server.base_url), iter(inbox), outbox).run()
        inbox.put("closed")
        ((outcome,),) = [message.outcomes for message in outbox.of(Settled)]
        assert outcome.recording.path == tmp_path / f"{other.stem}.wav"

    async def test_a_pause_that_the_host_asks_for_is_passed_on(self, tmp_path):
        busy = respond(429, b"{}", content_type="application/json", retry_after="0.01")
        async with RawServer(busy, WAV) as server:
            inbox, outbox = Inbox(Jobs([job("a")]), NoMore()), Outbox()
            await Worker(order_of(tmp_path, server.base_url), iter(inbox), outbox).run()
        inbox.put("closed")
        (pause,) = outbox.of(Pause)
        assert 0 < pause.seconds < 1
        assert outbox.messages()[-1] == Done()

    async def test_a_pause_of_another_is_kept(self, tmp_path):
        worker = Worker(order_of(tmp_path, "http://127.0.0.1:9"), iter(()), Outbox())
        worker._obey(Pause(60.0))
        assert 59 < worker._limits.paused_for <= 60

    def test_the_thread_that_reads_outlives_no_loop(self, tmp_path):
        loop = asyncio.new_event_loop()
        loop.close()
        inbox = Inbox(NoMore(), "closed")
        worker = Worker(order_of(tmp_path, "http://127.0.0.1:9"), iter(inbox), Outbox())
        reading = threading.Thread(target=worker._read, args=(loop, None))
        reading.start()
        reading.join(5)
        assert not reading.is_alive()


class FakeWorker:
    def __init__(self, *messages):
        self.stdout = asyncio.StreamReader()
        for message in messages:
            self.stdout.feed_data(framed(message))
        self.told = []
        self.held = 0
        self.ended = False

    def call(self, message):
        self.told.append(message)

    async def end(self):
        self.ended = True


class FakeProcess:
    """Takes what it is told, and does nothing."""

    def __init__(self):
        self.stdin, self.stdout = self, None
        self.stdout = asyncio.StreamReader()
        self.jobs = []
        self.no_more = False

    def write(self, data):
        (message,) = messages_of(io.BytesIO(data))
        match message:
            case Jobs(jobs):
                self.jobs += [job.call_id for job in jobs]
            case NoMore():
                self.no_more = True

    async def drain(self):
        pass


class TestFeeding:
    async def fed(self, tmp_path, count, transfers, calls, pace=None):
        """What each process is given when none settles anything, and whether that was all."""
        plan = ProcessDownloader(
            session("http://127.0.0.1:9"), tmp_path, count, concurrency=transfers
        )
        given = Channel(256 * count)
        crew = processes._Crew(plan)
        fakes = [FakeProcess() for _ in range(count)]
        workers = [
            processes._Worker(order, fake) for order, fake in zip(plan.orders(), fakes, strict=True)
        ]
        feeding = [asyncio.create_task(worker.feed(given, crew._job, pace)) for worker in workers]
        for call_id in calls:
            await given.put(call_id)
        given.done()
        for _ in range(1000):
            await asyncio.sleep(0)
        for task in feeding:
            task.cancel()
        return [fake.jobs for fake in fakes], [fake.no_more for fake in fakes]

    async def test_a_short_list_is_shared_by_all(self, tmp_path):
        jobs, all_told = await self.fed(tmp_path, 2, 16, [str(number) for number in range(8)])
        assert min(map(len, jobs)) >= 3
        assert sorted(jobs[0] + jobs[1]) == [str(number) for number in range(8)]
        assert all_told == [True, True]

    async def test_near_the_end_no_job_waits_behind_a_slow_one(self, tmp_path):
        jobs, _ = await self.fed(tmp_path, 2, 2, ["slow", "quick", "third"])
        assert [len(each) for each in jobs] == [1, 1]

    async def test_none_gets_a_job_before_its_request_is_within_the_rate(self, tmp_path):
        allowed = asyncio.Semaphore(3)
        calls = [str(number) for number in range(8)]
        jobs, _ = await self.fed(tmp_path, 2, 16, calls, allowed.acquire)
        assert sum(map(len, jobs)) == 3

    @pytest.mark.parametrize(("limit", "skip", "paced"), [
        (None, False, False), (5.0, False, True), (5.0, True, False),
    ])  # fmt: skip
    async def test_only_what_costs_a_request_is_counted(self, tmp_path, limit, skip, paced):
        plan = ProcessDownloader(
            session("http://127.0.0.1:9", tpslimit=limit), tmp_path, 2, skip_existing=skip
        )
        assert (processes._Crew(plan)._pace() is not None) == paced

    async def test_in_the_middle_there_is_always_a_next_one(self, tmp_path):
        jobs, all_told = await self.fed(tmp_path, 2, 16, [str(number) for number in range(512)])
        assert all(40 < len(each) < 200 for each in jobs)
        assert all_told == [False, False]


class TestPauses:
    async def test_what_one_meets_holds_for_all_and_for_the_session_here(self, tmp_path):
        plan = ProcessDownloader(session("http://127.0.0.1:9"), tmp_path, 3)
        crew = processes._Crew(plan)
        crew._workers = workers = [FakeWorker(Pause(2.0), Done()), FakeWorker(), FakeWorker()]
        limits = plan.session.limits
        limits.listeners.add(crew._pass_on_pause)
        await crew._listen(workers[0], Channel(8))
        assert [worker.told for worker in workers] == [[Pause(2.0)]] * 3
        assert workers[0].ended
        assert 1 < limits.paused_for <= 2

    async def test_what_the_session_here_meets_holds_for_all(self, started, tmp_path):
        """A process that is told to wait asks for nothing until that is over."""
        async with RawServer(WAV) as server:
            here = session(server.base_url)
            downloader = ProcessDownloader(here, tmp_path, 2, concurrency=2)
            told = asyncio.Event()

            async def calls():
                yield "early"
                await server.until(lambda: len(server.requests) == 1)
                here.limits.throttled(0.3)
                told.set()
                yield "late"

            before = asyncio.create_task(told.wait())
            async with aclosing(downloader.batches(calls())) as batches:
                await anext(batches)
                await before
                began = asyncio.get_running_loop().time()
                assert isinstance((await anext(batches))[0], Archived)
                assert asyncio.get_running_loop().time() - began > 0.2
        assert here.limits.listeners == set()


async def test_a_progress_hook_that_fails_is_not_called_again(tmp_path, caplog):
    told = []

    def progress(size):
        told.append(size)
        raise ZeroDivisionError

    crew = processes._Crew(
        ProcessDownloader(session("http://127.0.0.1:9"), tmp_path, 2, progress=progress)
    )
    crew._workers = [FakeWorker(Arrived(1, 0), Arrived(2, 0), Done())]
    await crew._listen(crew._workers[0], Channel(8))
    assert told == [1]
    assert "is not called any more" in caplog.text


class TestMessages:
    async def test_they_arrive_as_they_were(self):
        reader = asyncio.StreamReader()
        sent = [Arrived(5, 2), Settled([NoRecording("a")]), Done()]
        for message in sent:
            reader.feed_data(framed(message))
        reader.feed_eof()
        assert [await next_from(reader) for _ in range(4)] == [*sent, None]

    @pytest.mark.parametrize("cut", [0, 2, 4, 9, -1])
    async def test_one_that_is_cut_off_is_none(self, cut):
        data = framed(Arrived(5, 2))[:cut]
        assert list(messages_of(io.BytesIO(data))) == []
        reader = asyncio.StreamReader()
        reader.feed_data(data)
        reader.feed_eof()
        assert await next_from(reader) is None

    def test_calls_keep_their_raw_json(self):
        call = Call.from_json({"id": "call_x", "status": "completed", "extra": [1]})
        target = replace(flat_target("call_x", call), known="0", other=flat_target("y", call))
        (came,) = messages_of(io.BytesIO(framed(Jobs([Job("call_x", call, target)]))))
        assert came.jobs[0].call.raw == call.raw
        assert came.jobs[0].target == target


def every_error(kind):
    yield kind
    for below in kind.__subclasses__():
        yield from every_error(below)


SPECIAL = {
    "sent": False,
    "status": 429,
    "code": "RATE_LIMIT_EXCEEDED",
    "details": (errors.FieldProblem("body.x", "wrong", "type"),),
    "retry_after": 2.5,
    "media_type": "text/html",
    "received": 5,
    "expected": 9,
    "errno": 28,
    "filename": "/x",
    "holder": "pid 1",
}


@pytest.mark.parametrize(
    "kind",
    sorted({*every_error(errors.AgentPhoneError), LeftError}, key=lambda kind: kind.__name__),
    ids=lambda kind: kind.__name__,
)
def test_every_error_passes_through_a_pipe_with_all_its_fields(kind):
    error = kind("something is wrong")
    fields = vars(error) | {name: SPECIAL[name] for name in vars(error) if name in SPECIAL}
    vars(error).update(fields)
    error.about(endpoints.get_recording("call_x")).attempts = 3
    came = pickle.loads(pickle.dumps(error, pickle.HIGHEST_PROTOCOL))
    assert type(came) is kind
    assert vars(came) == vars(error)
    assert (came.call_id, came.attempts, came.method) == ("call_x", 3, "GET")
    assert (str(came), came.args, came.transient) == (str(error), error.args, error.transient)

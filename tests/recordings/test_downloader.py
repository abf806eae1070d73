"""Many recordings: bounded, complete, each outcome once, and over when the consumer leaves."""

from __future__ import annotations

import asyncio
import gc
import itertools
import ssl
from contextlib import aclosing
from datetime import timedelta
from pathlib import PurePosixPath

import pytest
import trustme

from agentphone_async import Target
from agentphone_async.emulator import Emulator
from agentphone_async.errors import (
    CertificateError,
    InvalidIdError,
    NotAudioError,
    RecordingNotFoundError,
    ServerError,
    TransportError,
)
from agentphone_async.recordings import downloader as downloader_module
from agentphone_async.recordings import fetch as fetch_module
from agentphone_async.recordings import transfer
from agentphone_async.recordings.jobs import flat_target
from agentphone_async.recordings.outcomes import (
    AlreadyArchived,
    Archived,
    NoRecording,
    NotReadyYet,
)
from tests.support.downloads import add, at_rest, call, collect, files, impatient, partial, wave

pytestmark = pytest.mark.usefixtures("nothing_left")


MOST_HELD = 8 + downloader_module.BATCH * (
    2 + downloader_module.WAITING + downloader_module.PUBLISHERS + 1
)
"""Calls that four workers, the queues and the outcomes of a run hold at most."""


class Counted:
    """An infinite stream of ids that counts how many were taken."""

    def __init__(self, names=None):
        self.taken = 0
        self._names = names or (f"call_{n:06}" for n in itertools.count())

    def __iter__(self):
        return self

    def __next__(self):
        self.taken += 1
        return next(self._names)


class TestOutcomes:
    async def test_every_call_has_exactly_one(self, server, client, tmp_path):
        good = add(server, 30)
        server.fail(route="recording", call_id=good[3], html=True)
        server.fail(route="recording", call_id=good[4], status=500)
        server.fail(route="recording", call_id=good[5], status=503, times=2)
        (tmp_path / f"recording-{good[6]}.wav").write_bytes(wave(1000))
        absent = [f"call_absent{n}" for n in range(5)]
        given = [*good, *absent, "..", "x" * 5000]
        outcomes = await collect(client.download_recordings(given, tmp_path))
        assert sorted(outcome.call_id for outcome in outcomes) == sorted(given)
        by_id = {outcome.call_id: outcome for outcome in outcomes}
        assert isinstance(by_id[good[3]].error, NotAudioError)
        assert isinstance(by_id[good[4]].error, ServerError)
        assert by_id[good[4]].error.attempts == 3
        assert by_id[good[5]].recording.attempts == 3
        assert isinstance(by_id[good[6]], AlreadyArchived)
        assert by_id[good[6]].path.read_bytes() == wave(1000)
        assert all(isinstance(by_id[name], NoRecording) for name in absent)
        assert isinstance(by_id[".."].error, InvalidIdError)
        assert isinstance(by_id["x" * 5000].error, InvalidIdError)
        archived = [outcome for outcome in outcomes if isinstance(outcome, Archived)]
        assert len(archived) == 27
        for outcome in archived:
            expected = server.expected_audio(outcome.call_id)
            assert outcome.recording.path.read_bytes() == expected
        assert len(files(tmp_path)) == 28

    async def test_nothing_gives_nothing(self, server, client, tmp_path):
        assert await collect(client.download_recordings([], tmp_path / "none")) == []
        assert not (tmp_path / "none").exists()
        assert len(server.requests) == 0

    @pytest.mark.parametrize(("body", "times"), [(30_000, 40), (5_000_000, 9)])
    async def test_the_same_call_many_times_is_one_file(
        self, body, times, server, client, tmp_path
    ):
        one = server.add_call(audio=wave(body)).id
        outcomes = await collect(client.download_recordings([one] * times, tmp_path, concurrency=8))
        assert len(outcomes) == times
        kinds = [type(outcome) for outcome in outcomes]
        assert kinds.count(Archived) == 1
        assert kinds.count(AlreadyArchived) == times - 1
        assert files(tmp_path) == {f"recording-{one}.wav": wave(body)}

    async def test_a_second_run_asks_for_nothing_that_is_there(self, server, client, tmp_path):
        given = add(server, 20)
        await collect(client.download_recordings(given[:15], tmp_path))
        server.requests.clear()
        outcomes = await collect(client.download_recordings(given, tmp_path))
        assert sum(isinstance(outcome, Archived) for outcome in outcomes) == 5
        assert server.requests.count("recording") == 5

    async def test_calls_tell_what_a_404_means(self, server, client, tmp_path):
        young = call("call_young", ended=timedelta(minutes=5))
        old = call("call_old")
        live = call("call_live", status="in-progress")
        given = [young, old, live, "call_bare"]
        outcomes = await collect(client.download_recordings(given, tmp_path))
        assert {type(outcome) for outcome in outcomes} == {NotReadyYet, NoRecording}
        by_id = {outcome.call_id: outcome for outcome in outcomes}
        assert by_id["call_young"] == NotReadyYet("call_young", young)
        assert by_id["call_live"] == NotReadyYet("call_live", live)
        assert by_id["call_old"] == NoRecording("call_old", old)
        assert by_id["call_bare"] == NoRecording("call_bare")
        assert server.requests.count("recording", call_id="call_live") == 0

    async def test_a_404_leaves_no_garbage(self, client, tmp_path):
        gc.collect()
        gc.disable()
        try:
            await collect(client.download_recordings(["call_a", "call_b", "call_c"], tmp_path))
            left = [each for each in gc.get_objects() if isinstance(each, RecordingNotFoundError)]
        finally:
            gc.enable()
        assert not left  # each kept 22 objects, until a search for garbage found them

    async def test_the_grace_can_be_chosen(self, client, tmp_path):
        young = call(ended=timedelta(minutes=5))
        calls = client.download_recordings([young], tmp_path, grace=timedelta(minutes=1))
        assert await collect(calls) == [NoRecording(young.id, young)]

    async def test_names_can_be_chosen(self, server, client, tmp_path):
        def by_day(call_id, _call):
            return Target(PurePosixPath("2026/11"), f"x-{call_id[-1]}")

        given = add(server, 3)
        outcomes = await collect(client.download_recordings(given, tmp_path, target_of=by_day))
        assert set(files(tmp_path)) == {f"2026/11/x-{n}.wav" for n in range(3)}
        assert {outcome.recording.path for outcome in outcomes} == {
            tmp_path / "2026" / "11" / f"x-{n}.wav" for n in range(3)
        }

    async def test_ids_that_differ_only_by_case_are_two_files(self, server, client, tmp_path):
        for name in ("call_a", "call_A"):
            server.add_call(id=name, duration=0.1)
        await collect(client.download_recordings(["call_a", "call_A"], tmp_path))
        names = [name.lower() for name in files(tmp_path)]
        assert len(set(names)) == 2

    async def test_a_failure_is_kept_without_its_frames(self, server, client, tmp_path):
        (one,) = add(server, 1)
        server.fail(route="recording", truncate=-1)
        (outcome,) = await collect(client.download_recordings([one], tmp_path))
        assert isinstance(outcome.error, TransportError)
        chain = [outcome.error, outcome.error.__cause__, outcome.error.__context__]
        assert [link.__traceback__ for link in chain if link is not None] == [None] * 3

    async def test_a_certificate_that_does_not_hold_is_each_calls_failure(self, tmp_path):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
        async with Emulator(tls=context) as server, impatient(server.base_url) as client:
            outcomes = await collect(client.download_recordings(add(server, 3), tmp_path))
        assert {type(outcome.error) for outcome in outcomes} == {CertificateError}


class TestCallsGiven:
    async def test_an_infinite_generator_is_read_no_further_than_needed(
        self, server, client, tmp_path
    ):
        source = Counted()
        async with aclosing(
            client.download_recordings(source, tmp_path, concurrency=4)
        ) as outcomes:
            settled = 0
            async for outcome in outcomes:
                assert isinstance(outcome, NoRecording)
                settled += 1
                if settled == 1000:
                    break
        assert source.taken >= 1000
        # The channels and what the stages hold: given, sifted, wanted, settled, outcomes.
        most = MOST_HELD
        assert source.taken <= 1000 + most

    async def test_a_consumer_that_stands_still_stops_the_reading(self, server, client, tmp_path):
        source = Counted()
        async with aclosing(
            client.download_recordings(source, tmp_path, concurrency=4)
        ) as outcomes:
            await anext(outcomes)
            await at_rest(lambda: len(server.requests))
            most = MOST_HELD
            assert source.taken <= most + downloader_module.BATCH
            slots = client.session.limits.slots
            assert await at_rest(lambda: slots.held) == 0  # nobody sits on a connection meanwhile

    async def test_an_async_iterable_feeds_as_it_goes(self, server, client, tmp_path):
        given = add(server, 3)
        news = asyncio.Queue()

        async def arriving():
            while (item := await news.get()) is not None:
                yield item

        async with aclosing(client.download_recordings(arriving(), tmp_path)) as outcomes:
            for one in given:
                news.put_nowait(one)
                assert (await anext(outcomes)).call_id == one
            news.put_nowait(None)
            assert await anext(outcomes, None) is None

    @pytest.mark.parametrize("kind", ["sync", "async"])
    async def test_an_exception_in_the_iterable_ends_the_run(self, kind, server, client, tmp_path):
        given = add(server, 10)

        def broken():
            yield from given
            raise ZeroDivisionError

        async def broken_later():
            for one in given:
                yield one
            raise ZeroDivisionError

        calls = broken() if kind == "sync" else broken_later()
        with pytest.raises(ZeroDivisionError):
            await collect(client.download_recordings(calls, tmp_path))
        whole = {f"recording-{one}.wav": server.expected_audio(one) for one in given}
        assert files(tmp_path).items() <= whole.items()

    async def test_an_exception_in_a_name_ends_the_run(self, server, client, tmp_path):
        def broken(call_id, _call):
            if call_id == "call_0003":
                raise ZeroDivisionError
            return flat_target(call_id, None)

        with pytest.raises(ZeroDivisionError):
            await collect(client.download_recordings(add(server, 5), tmp_path, target_of=broken))

    @pytest.mark.parametrize("concurrency", [0, -1])
    async def test_no_transfer_at_all_is_refused(self, concurrency, client, tmp_path):
        with pytest.raises(ValueError, match="1 or more"):
            await collect(client.download_recordings([], tmp_path, concurrency=concurrency))


class TestConcurrency:
    async def test_never_more_at_once_than_asked_for(self, server, client, tmp_path):
        server.settings.latency = 0.01
        given = add(server, 60)
        await collect(client.download_recordings(given, tmp_path, concurrency=5))
        assert server.requests.peak_in_flight == 5

    async def test_the_sessions_limit_holds_over_two_runs(self, server, tmp_path):
        server.settings.latency = 0.01
        given = add(server, 40)
        async with impatient(server.base_url, connections=6) as client:
            await asyncio.gather(
                collect(client.download_recordings(given[:20], tmp_path)),
                collect(client.download_recordings(given[20:], tmp_path)),
            )
        assert server.requests.peak_in_flight == 6
        assert len(files(tmp_path)) == 40

    async def test_one_poisonous_recording_does_not_hold_up_the_others(
        self, server, client, tmp_path
    ):
        given = add(server, 40)
        server.fail(route="recording", call_id=given[0], stall=10)
        async with aclosing(client.download_recordings(given, tmp_path, concurrency=3)) as outcomes:
            arrived = [(await anext(outcomes)).call_id for _ in range(39)]
        assert sorted(arrived) == given[1:]

    async def test_tasks_and_channels_do_not_grow_with_the_count(self, client, tmp_path):
        most = 0
        async with aclosing(
            client.download_recordings((f"call_{n}" for n in range(1000)), tmp_path, concurrency=16)
        ) as outcomes:
            settled = 0
            async for _ in outcomes:
                settled += 1
                most = max(most, len(asyncio.all_tasks()))
        assert settled == 1000
        assert most <= 16 + 8

    async def test_a_slow_consumer_that_uses_the_client_itself_is_not_locked_out(
        self, server, tmp_path, monkeypatch
    ):
        """Waiting for memory while holding all connections would stop both forever."""
        monkeypatch.setattr(downloader_module, "BATCH", 8)
        monkeypatch.setattr(fetch_module, "BUDGET", 300_000)
        monkeypatch.setattr(transfer, "PATIENCE", 0.05)
        given = [server.add_call(id=f"call_{n}", audio=wave(100_000)).id for n in range(200)]
        server.add_call(id="call_other", audio=wave(1000))
        async with (
            impatient(server.base_url, connections=2, api_key=server.api_key) as client,
            aclosing(client.download_recordings(given, tmp_path, concurrency=2)) as outcomes,
        ):
            first = await anext(outcomes)
            assert await at_rest(lambda: len(server.requests)) < 200
            async with asyncio.timeout(5):  # forever, if it fails
                assert (await client.calls.get("call_other")).id == "call_other"
            rest = [outcome async for outcome in outcomes]
        assert len({outcome.call_id for outcome in [first, *rest]}) == 200
        assert len(files(tmp_path)) == 200


class TestLeaving:
    async def test_breaking_off_ends_everything_at_once(self, server, client, tmp_path):
        given = add(server, 1000)  # more than may be on their way when the first one has settled
        large = [server.add_call(audio=wave(6_000_000)).id for _ in range(4)]
        server.fail(route="recording", call_id=large[0], stall=5_000_000)
        async with aclosing(
            client.download_recordings([*large, *given], tmp_path, concurrency=6)
        ) as outcomes:
            async for outcome in outcomes:
                if isinstance(outcome, Archived) and outcome.call_id in given:
                    break
        assert partial(tmp_path) == []
        before = len(server.requests)
        # Of what was under way on the six connections, the server may hear a little later.
        assert await at_rest(lambda: len(server.requests)) <= before + 6 < len(given)

    async def test_leaving_before_the_first_step_costs_nothing(self, server, client, tmp_path):
        await client.download_recordings(add(server, 3), tmp_path).aclose()
        assert len(server.requests) == 0

    async def test_an_exception_of_the_consumer_is_its_own(self, server, client, tmp_path):
        async def consume():
            async with aclosing(client.download_recordings(add(server, 50), tmp_path)) as outcomes:
                async for _ in outcomes:
                    raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await consume()

    async def test_the_client_works_on_afterwards(self, server, client, tmp_path):
        given = add(server, 40)
        async with aclosing(client.download_recordings(given, tmp_path)) as outcomes:
            await anext(outcomes)
        outcomes = await collect(client.download_recordings(given, tmp_path))
        assert len(outcomes) == 40
        assert len(files(tmp_path)) == 40

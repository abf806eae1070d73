from __future__ import annotations

import asyncio
import os
import ssl
import threading
import urllib.error
import urllib.request

import pytest
import trustme

from agentphone_async.emulator import (
    CallLife,
    Emulator,
    EmulatorThread,
    LoggedRequest,
    RequestLog,
    SystemClock,
    VirtualClock,
)


async def _stop_in_the_middle(connect):
    emulator = Emulator(bandwidth=1000)
    await emulator.start()
    call = emulator.add_call(duration=60)
    live = emulator.add_call(status="in-progress")
    async with connect(emulator) as one, connect(emulator) as two, connect(emulator) as idle:
        one.send(f"/v1/calls/{call.id}/recording", close=False)
        two.send(f"/v1/calls/{live.id}/transcript/stream", close=False)
        await one.head()
        await two.head()
        await emulator.stop()
        for client in (one, two, idle):
            await client.rest()
            assert client.reader.at_eof() or client.reader.exception()
    assert emulator.requests.in_flight == 0
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", emulator.settings.port)


async def test_stopping_cuts_what_is_under_way_and_leaves_nothing(connect):
    await _stop_in_the_middle(connect)  # event loops open files of their own when first used
    open_files, tasks = set(os.listdir("/dev/fd")), asyncio.all_tasks()
    await _stop_in_the_middle(connect)
    assert asyncio.all_tasks() == tasks
    assert len(os.listdir("/dev/fd")) == len(open_files)


async def test_it_comes_back_on_the_same_port_with_the_same_calls(ask):
    emulator = Emulator(calls=3)
    async with emulator:
        base_url, calls = emulator.base_url, emulator.calls
    await emulator.stop()  # a second time does no harm
    async with emulator:
        assert (emulator.base_url, emulator.calls) == (base_url, calls)
        assert (await ask(emulator, "/v1/calls")).status == 200


def test_it_has_no_address_before_it_is_started():
    with pytest.raises(RuntimeError, match="before it is started"):
        _ = Emulator().base_url


def test_the_key_is_in_no_repr():
    emulator = Emulator(api_key="sk_secret")
    assert "sk_secret" not in repr(emulator) + repr(emulator.settings)


async def test_a_port_that_is_taken_is_an_error(emulator):
    with pytest.raises(OSError, match="address already in use"):
        await Emulator(port=emulator.settings.port).start()


async def test_it_speaks_tls(connect):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    async with Emulator(tls=context) as emulator, connect(emulator) as client:
        assert emulator.base_url.startswith("https://127.0.0.1:")
        call = emulator.add_call(duration=30)
        client.send(f"/v1/calls/{call.id}/recording", close=False)
        assert (await client.answer()).body == emulator.expected_audio(call.id)
        emulator.fail(truncate=1000)
        client.send(f"/v1/calls/{call.id}/recording")
        assert (await client.rest()).body == emulator.expected_audio(call.id)[:1000]


async def test_a_handler_sees_requests_one_after_another_on_one_connection(emulator, connect):
    async with connect(emulator) as client:
        for path in ("/v1/calls", "/nowhere", "/v1/calls?limit=0"):
            client.send(path, close=False)
        statuses = [(await client.answer()).status for _ in range(3)]
    assert statuses == [200, 404, 422]


def test_a_thread_serves_tests_without_a_loop():
    with EmulatorThread(calls=2) as emulator:
        call = emulator.add_call(duration=1)
        emulator.fail(route="recording", status=503, times=1)
        url = f"{emulator.base_url}/v1/calls/{call.id}/recording"
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(url)
        refused.value.close()
        with urllib.request.urlopen(url) as answer:
            assert answer.read() == emulator.expected_audio(call.id)
        assert emulator.requests.count("recording", call_id=call.id) == 2
        assert len(emulator.calls) == 3
        assert len(emulator.fault_log) == 1
        assert emulator.expected_size(call.id) == 16_044
        emulator.change_recording(call.id, b"x")
        assert emulator.remove_call(call.id).audio == b"x"
        assert emulator.source_of("call_x") is None
        emulator.stop()
        emulator.start()
        assert url.startswith(emulator.base_url)
    emulator.close()
    assert len(emulator.calls) == 2


def test_a_thread_can_move_a_virtual_clock(clock):
    with EmulatorThread(clock=clock) as emulator:
        call = emulator.add_call(recording_delay=5)
        emulator.advance(5)
        assert call.has_recording(clock.now())
    with EmulatorThread() as emulator, pytest.raises(TypeError):
        emulator.advance(1)


def test_a_thread_whose_port_is_taken_ends():
    with EmulatorThread() as first:
        second = EmulatorThread(port=first.settings.port)
        with pytest.raises(OSError, match="address already in use"):
            second.start()
    assert not any(thread.name == "agentphone-emulator" for thread in threading.enumerate())
    with pytest.raises(RuntimeError, match="not running"):
        second.stop()


async def test_virtual_sleepers_wake_in_order_and_cancelled_ones_are_gone(clock):
    woken = []

    async def sleeper(seconds):
        await clock.sleep(seconds)
        woken.append(seconds)

    tasks = [asyncio.ensure_future(sleeper(seconds)) for seconds in (3, 1, 2, 0)]
    await clock.until_sleeping(3)
    clock.advance(2)
    await asyncio.gather(tasks[1], tasks[2])
    assert woken == [0, 1, 2]
    tasks[0].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert clock.sleeping == 0
    assert isinstance(clock, VirtualClock)


async def test_the_system_clock_can_sleep_for_ever():
    clock = SystemClock()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(clock.sleep(float("inf")), 0.01)
    assert clock.now().tzinfo is not None


def _filled(keep, requests):
    log = RequestLog(keep)
    for number in range(requests):
        route, call_id = "recording" if number % 2 else "get_call", f"call_{number % 4}"
        target = f"/{number}?a=1&a={number}"
        entry = LoggedRequest("GET", target, route, call_id, {}, float(number))
        log.opened(entry)
        log.answered(entry, 200 if number % 4 else 404)
        log.closed()
    return log


def test_counts_are_exact_and_details_are_capped():
    log = _filled(10, 100)
    assert (len(log), len(list(log)), log[-1].target) == (100, 10, "/99?a=1&a=99")
    assert log[-1].query == {"a": "99"}
    assert log.count("recording") == log.count("get_call") == 50
    assert log.count("recording", call_id="call_1") == log.count(call_id="call_1") == 25
    assert log.count("recording", call_id="call_0") == 0
    assert (log.count(status=404), log.count("get_call", status=404)) == (25, 25)
    assert len(log.of("recording", "call_3")) == 3
    with pytest.raises(ValueError, match="by call id or by status"):
        log.count(call_id="call_1", status=200)
    log.clear()
    assert (len(log), log.count(), list(log)) == (0, 0, [])


def test_a_log_that_keeps_nothing_still_counts():
    log = _filled(0, 100)
    assert (log.count("recording"), list(log)) == (50, [])
    with pytest.raises(ValueError, match="as far as kept"):
        log.count("recording", call_id="call_1")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "emulator.example", ""])
def test_other_machines_are_let_in_only_when_asked_twice(host):
    with pytest.raises(ValueError, match="set allow_remote as well"):
        Emulator(host=host)


async def test_links_lead_where_the_client_came_from(ask):
    async with Emulator(host="0.0.0.0", allow_remote=True) as emulator:
        assert emulator.base_url == f"http://127.0.0.1:{emulator.settings.port}"
        call = emulator.add_call()
        answer = await ask(emulator, f"/v1/calls/{call.id}", headers={"Host": "emulator:8321"})
        link = answer.json()["recordingUrl"]
        assert link == f"http://emulator:8321/v1/calls/{call.id}/recording"


async def test_links_ignore_a_foreign_host_on_loopback(emulator, ask):
    call = emulator.add_call()
    answer = await ask(emulator, f"/v1/calls/{call.id}", headers={"Host": "evil.example"})
    assert answer.json()["recordingUrl"].startswith(emulator.base_url)


async def test_new_calls_begin_end_and_get_their_recording(clock, ask):
    async with Emulator(
        clock=clock, new_calls=6, seconds=8, spread=0, life=CallLife(recording=3)
    ) as emulator:
        for _ in range(6):
            await clock.until_sleeping()
            clock.advance(10)
        await clock.until_sleeping()
        statuses = [call.status(clock.now()) for call in emulator.calls]
        assert len(statuses) == 7
        assert statuses[0] in {"in-progress", "ringing"}
        talked = next(call for call in reversed(emulator.calls) if call.recorded)
        assert (await ask(emulator, f"/v1/calls/{talked.id}/recording")).status == 200

from __future__ import annotations

from datetime import timedelta

import pytest

from agentphone_async.emulator import Emulator, audio_bytes
from agentphone_async.emulator.routes.recording import wanted_range


async def test_a_recording_is_the_audio_that_can_be_recomputed(emulator, ask):
    call = emulator.add_call(duration=12.5)
    answer = await ask(emulator, f"/v1/calls/{call.id}/recording", key=False)
    assert answer.status == 200
    assert answer.body == audio_bytes(1, call.id, 12.5) == emulator.expected_audio(call.id)
    assert int(answer.headers["content-length"]) == emulator.expected_size(call.id)
    assert answer.headers["content-type"] == "audio/wav"
    name = f'attachment; filename="recording-{call.id}.wav"'
    assert answer.headers["content-disposition"] == name
    assert answer.headers["etag"].startswith('"')


async def test_large_recordings_arrive_whole_and_the_connection_lives_on(emulator, connect):
    calls = [emulator.add_call(duration=seconds) for seconds in (300, 0.5, 40)]
    async with connect(emulator) as client:
        for call in calls:
            client.send(f"/v1/calls/{call.id}/recording", close=False)
            assert (await client.answer()).body == emulator.expected_audio(call.id)


@pytest.mark.parametrize(
    ("header", "size", "wanted"),
    [
        (None, 10, "all"),
        ("bytes=0-0", 10, (0, 1)),
        ("bytes=3-", 10, (3, 10)),
        ("bytes=3-99", 10, (3, 10)),
        ("bytes=-4", 10, (6, 10)),
        ("bytes=-40", 10, (0, 10)),
        ("bytes=-0", 10, "unsatisfiable"),
        ("bytes=10-", 10, "unsatisfiable"),
        ("bytes=0-", 0, "unsatisfiable"),
        ("bytes=0-1,4-5", 10, "all"),
        ("lines=0-1", 10, "all"),
        ("bytes", 10, "unsatisfiable"),
        ("bytes=5-2", 10, "unsatisfiable"),
        ("bytes=-", 10, "unsatisfiable"),
        ("bytes=a-b", 10, "unsatisfiable"),
        ("bytes=\u0663-", 10, "unsatisfiable"),
        ("bytes=" + "9" * 5000 + "-", 10, "unsatisfiable"),
        ("bytes=0-" + "9" * 5000, 10, (0, 10)),
    ],
)
def test_range_headers_mean_what_the_rfc_says(header, size, wanted):
    assert wanted_range(header, size) == wanted


async def test_ranges_over_the_wire(emulator, ask):
    call = emulator.add_call(duration=2)
    path, whole = f"/v1/calls/{call.id}/recording", emulator.expected_audio(call.id)
    part = await ask(emulator, path, headers={"Range": "bytes=100-199"})
    assert (part.status, part.body) == (206, whole[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(whole)}"
    none = await ask(emulator, path, headers={"Range": f"bytes={len(whole)}-"})
    assert (none.status, none.json()["detail"]) == (416, "Requested Range Not Satisfiable")
    assert none.headers["content-range"] == f"bytes */{len(whole)}"


async def test_if_range_resumes_only_the_same_recording(emulator, ask):
    call = emulator.add_call(duration=2)
    path = f"/v1/calls/{call.id}/recording"
    etag = (await ask(emulator, path)).headers["etag"]
    headers = {"Range": "bytes=10-", "If-Range": etag}
    assert (await ask(emulator, path, headers=headers)).status == 206
    for other in (f"W/{etag}", '"else"', "Sun, 22 Nov 2026 12:00:00 GMT"):
        again = await ask(emulator, path, headers=headers | {"If-Range": other})
        assert (again.status, again.body) == (200, emulator.expected_audio(call.id))
    emulator.change_recording(call.id)
    changed = await ask(emulator, path, headers=headers)
    assert (changed.status, changed.body) == (200, audio_bytes(1, call.id, 2, version=1))
    assert changed.headers["etag"] != etag


async def test_head_is_not_allowed_and_has_no_body(emulator, ask):
    call = emulator.add_call()
    answer = await ask(emulator, f"/v1/calls/{call.id}/recording", "HEAD")
    assert (answer.status, answer.body, answer.headers["allow"]) == (405, b"", "GET")
    assert emulator.requests[0].route == "recording"


async def test_three_kinds_of_404_look_the_same(emulator, ask):
    live = emulator.add_call(status="in-progress")
    silent = emulator.add_call(recording=False)
    answers = [
        await ask(emulator, f"/v1/calls/{identity}/recording", key=False)
        for identity in (live.id, silent.id, "call_nobody")
    ]
    assert [answer.status for answer in answers] == [404] * 3
    assert answers[0].body == answers[1].body
    assert answers[0].json()["error"]["code"] == "RECORDING_NOT_FOUND"
    assert answers[2].json()["error"]["type"] == "not_found_error"


@pytest.mark.parametrize("identity", ["a%20b", "..", "%00", "%1b[31m", "x" * 129, "a%2Fb"])
async def test_a_malformed_id_is_a_validation_error(emulator, ask, identity):
    answer = await ask(emulator, f"/v1/calls/{identity}/recording")
    assert answer.status == 422
    assert answer.json()["detail"][0]["loc"] == ["path", "call_id"]


async def test_an_encoded_slash_stays_inside_the_id(emulator, ask):
    call = emulator.add_call(id='we/../ird"\r\nX: y', duration=1)
    answer = await ask(emulator, "/v1/calls/we%2F..%2Fird%22%0D%0AX%3A%20y/recording")
    assert answer.body == emulator.expected_audio(call.id)
    assert "x" not in answer.headers
    assert "/" in answer.headers["content-disposition"]


async def test_a_recording_appears_after_its_delay(clock, ask):
    async with Emulator(clock=clock) as emulator:
        call = emulator.add_call(recording_delay=30)
        path = f"/v1/calls/{call.id}/recording"
        assert (await ask(emulator, path)).status == 404
        clock.advance(29.9)
        assert (await ask(emulator, path)).status == 404
        clock.advance(0.1)
        assert (await ask(emulator, path)).status == 200


async def test_audio_of_ones_own_and_mp3(emulator, ask):
    own = emulator.add_call(audio=b"RIFF....")
    mp3 = emulator.add_call(media_type="audio/mpeg", duration=1)
    answer = await ask(emulator, f"/v1/calls/{own.id}/recording")
    assert answer.body == b"RIFF...." == emulator.expected_audio(own.id)
    emulator.change_recording(own.id, b"RIFF,,,,")
    changed = await ask(emulator, f"/v1/calls/{own.id}/recording")
    assert changed.body == b"RIFF,,,,"
    assert changed.headers["etag"] != answer.headers["etag"]
    answer = await ask(emulator, f"/v1/calls/{mp3.id}/recording")
    assert answer.headers["content-type"] == "audio/mpeg"
    assert answer.headers["content-disposition"].endswith('.mp3"')
    assert len(answer.body) == emulator.expected_size(mp3.id)


async def test_without_the_add_on_there_are_recordings_but_no_urls(ask):
    async with Emulator(recording_addon=False) as emulator:
        call = emulator.add_call()
        row = (await ask(emulator, f"/v1/calls/{call.id}")).json()
        assert (row["recordingAvailable"], row["recordingUrl"]) == (True, None)
        path = f"/v1/calls/{call.id}/recording"
        assert (await ask(emulator, path)).status == 404
        enabled = await ask(emulator, "/credits/recording/enable", "POST")
        assert enabled.json()["recordingEnabled"] is True
        assert (await ask(emulator, path)).status == 200
        row = (await ask(emulator, f"/v1/calls/{call.id}")).json()
        assert row["recordingUrl"] == f"{emulator.base_url}{path}"


async def test_the_cache_of_audio_is_bounded_and_never_wrong(ask):
    async with Emulator(calls=30, seconds=3, spread=0, audio_cache=100_000) as emulator:
        for _ in range(2):
            for call in (call for call in emulator.calls if call.recorded):
                answer = await ask(emulator, f"/v1/calls/{call.id}/recording")
                assert answer.body == audio_bytes(1, call.id, 3)
        cache = emulator._service.store._cache
        assert 0 < sum(map(len, cache.values())) <= 100_000
        assert call.id in {key[0] for key in cache}  # the latest has driven out older ones


async def test_a_folder_is_served_file_by_file(tmp_path, ask):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    files = {
        "b.wav": audio_bytes(1, "b", 3),
        "deep/a.WAV": audio_bytes(1, "a", 1.5),
        "deep/er/not really.wav": b"no wave at all",
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "notes.txt").write_text("no")
    async with Emulator(recordings=tmp_path, calls=99) as emulator:
        served = {}
        for call in emulator.calls:
            source = emulator.source_of(call.id)
            name = source.relative_to(tmp_path).as_posix()
            answer = await ask(emulator, f"/v1/calls/{call.id}/recording")
            served[name] = (answer.body, call.seconds)
            part = await ask(
                emulator, f"/v1/calls/{call.id}/recording", headers={"Range": "bytes=5-8"}
            )
            assert (part.status, part.body) == (206, files[name][5:9])
            assert emulator.expected_audio(call.id) == files[name]
            assert emulator.expected_size(call.id) == len(files[name])
        lengths = {"b.wav": 3.0, "deep/a.WAV": 1.5, "deep/er/not really.wav": None}
        assert served == {name: (files[name], lengths[name]) for name in files}
        start = emulator.calls[-1].started_at
        assert start.date() == emulator.day
        assert emulator.calls[0].started_at - start < timedelta(days=1)
        ids = {call.id for call in emulator.calls}
    assert {call.id for call in Emulator(recordings=tmp_path, seed=99).calls} == ids


async def test_nothing_outside_the_folder_is_served(tmp_path, ask):
    inside, outside = tmp_path / "in", tmp_path / "out.wav"
    inside.mkdir()
    outside.write_bytes(audio_bytes(1, "x", 1))
    (inside / "link.wav").symlink_to(outside)
    (inside / "tree").symlink_to(tmp_path, target_is_directory=True)
    (inside / "real.wav").write_bytes(audio_bytes(1, "y", 1))
    (inside / "alias.wav").symlink_to(inside / "real.wav")
    async with Emulator(recordings=inside) as emulator:
        sources = {emulator.source_of(call.id) for call in emulator.calls}
        assert sources == {inside / "real.wav"}
        answer = await ask(emulator, "/v1/calls/..%2Fout.wav/recording")
        assert answer.status == 422


async def test_a_file_larger_than_a_piece_is_streamed(tmp_path, ask):
    content = audio_bytes(1, "long", 120)
    (tmp_path / "long.wav").write_bytes(content)
    async with Emulator(recordings=tmp_path) as emulator:
        answer = await ask(emulator, f"/v1/calls/{emulator.calls[0].id}/recording")
        assert answer.body == content


async def test_a_file_that_is_gone_is_404(tmp_path, ask):
    (tmp_path / "a.wav").write_bytes(audio_bytes(1, "a", 1))
    async with Emulator(recordings=tmp_path) as emulator:
        (tmp_path / "a.wav").unlink()
        answer = await ask(emulator, f"/v1/calls/{emulator.calls[0].id}/recording")
        assert answer.status == 404


def test_a_folder_that_is_none_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        Emulator(recordings=tmp_path / "file")
    with pytest.raises(FileNotFoundError):
        Emulator(recordings=tmp_path / "absent")

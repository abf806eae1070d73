"""What answers can say, and not mean: each is obeyed, refused or started again from zero."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agentphone_async import AsyncAgentPhone, RunOptions
from agentphone_async.errors import (
    AgentPhoneError,
    AuthenticationError,
    NotAudioError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
    SurplusBytesError,
    TransportError,
    TruncatedRecordingError,
    UnexpectedResponseError,
)
from tests.conftest import Sleeps
from tests.faults.conftest import Scene


async def test_a_404_is_asked_again_while_the_call_is_young_or_the_list_says_otherwise(
    scene: Scene,
):
    young = scene.add(id="young", started_at=datetime.now(UTC) - timedelta(hours=1), duration=0.1)
    scene.fail_one(status=404)
    scene.emulator.fail(route="recording", call_id=young.id, status=404)
    report = await scene.run()
    assert (report.disputed, report.not_ready, report.archived) == (1, 2, 5)
    again = await scene.run()
    assert (again.disputed, again.not_ready) == (1, 2)
    assert scene.emulator.requests.count("recording", call_id=scene.first.id) == 1
    assert scene.emulator.requests.count("recording", call_id=young.id) == 2
    scene.oracle.options = RunOptions(recheck=True)
    await scene.oracle.holds(report)


async def test_410_is_final(scene: Scene):
    scene.fail_one(status=410)
    report = await scene.run()
    assert (report.no_recording, report.failed, report.archived) == (1, 0, 5)
    assert (await scene.run()).no_recording == 1
    assert scene.emulator.requests.count("recording", call_id=scene.first.id) == 1
    scene.oracle.options = RunOptions(recheck=True)
    await scene.oracle.holds(report)


@pytest.mark.parametrize(
    ("status", "kind"), [(401, AuthenticationError), (403, PermissionDeniedError)]
)
@pytest.mark.parametrize("page", [0, 1])
async def test_a_refused_key_ends_the_run_at_once(scene: Scene, status, kind, page):
    for number in range(150):
        scene.add(id=f"more_{number}", duration=0.1, recording=number % 50 == 0)
    scene.emulator.fail(route="list_calls", status=status, skip=page)
    with pytest.raises(kind):
        await scene.run()
    assert scene.folder.exists() == bool(page)
    assert scene.emulator.requests.count("list_calls", status=status) == 1
    await scene.oracle.holds()


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
async def test_what_passes_is_retried(scene: Scene, status):
    scene.fail_one(status=status, times=2)
    scene.emulator.fail(route="list_calls", status=status, times=2)
    await scene.endures()
    assert scene.emulator.requests.count("recording", call_id=scene.first.id) == 3


@pytest.mark.parametrize(("status", "kind"), [(429, RateLimitError), (500, ServerError)])
async def test_what_does_not_pass_fails_one_recording(scene: Scene, status, kind):
    scene.fail_one(status=status)
    error = await scene.fails_one(kind)
    assert error.attempts == 3  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("asked", "least", "most"),
    [
        (7, 7, 7.1),
        ("date:9", 7, 9.1),
        ("date:-60", 0, 0.1),
        ("soon", 0, 0.1),
        (10**9, 3600, 3600.1),
    ],
)
async def test_a_retry_after_is_obeyed_within_reason_by_everybody(
    scene: Scene, sleeps: Sleeps, asked, least, most
):
    for number in range(20):
        scene.add(id=f"more_{number}", duration=0.1)
    scene.emulator.fail(route="recording", status=429, retry_after=asked, times=1)
    pauses: list[float] = []

    def prepare(client: AsyncAgentPhone) -> None:
        limits = client.session.limits
        real = limits.pause

        def spy(seconds: float, **more: Any) -> None:
            pauses.append(seconds)
            real(seconds, **more)

        limits.pause = spy  # type: ignore[method-assign]

    await scene.endures(sleeps=sleeps, options=RunOptions(transfers=4), prepare=prepare)
    assert least <= max(sleeps, default=0) <= most
    assert least <= max(pauses) <= most, "the whole host is paused, for all workers"


async def test_a_body_shorter_than_its_length_is_retried(scene: Scene):
    scene.fail_one(truncate=-100, times=2)
    await scene.endures()


async def test_a_body_that_is_always_short_fails(scene: Scene):
    scene.fail_one(truncate=500)
    await scene.fails_one(AgentPhoneError)


@pytest.mark.parametrize("surplus", [1, 100_000])
async def test_surplus_bytes_are_never_written(scene: Scene, surplus):
    scene.fail_one(surplus=surplus)
    report = await scene.run()
    assert report.failed + report.archived == 6
    kinds = SurplusBytesError | TransportError | UnexpectedResponseError
    assert all(isinstance(error, kinds) for _, error in report.failures), report.failures
    await scene.oracle.holds(report)


async def test_without_a_length_the_wave_header_decides(scene: Scene):
    scene.fail_one(framing="close", truncate=-100, times=1)
    scene.emulator.fail(route="recording", call_id="call_1", framing="close")
    await scene.endures()


async def test_without_a_length_nor_sizes_it_is_kept_and_suspect(scene: Scene):
    from agentphone_async.emulator import damaged_wave

    scene.oracle.altered[scene.first.id] = damaged_wave(
        scene.emulator.expected_audio(scene.first.id), "streamed"
    )
    scene.fail_one(framing="close", wav="streamed")
    await scene.endures(suspect=1)


async def test_without_a_length_and_always_cut_off_it_fails(scene: Scene):
    scene.fail_one(framing="close", truncate=1000)
    await scene.fails_one(TruncatedRecordingError)


async def test_chunks_without_the_last_one_are_retried(scene: Scene):
    scene.fail_one(framing="chunked", truncate=1000, times=2)
    scene.emulator.fail(route="recording", call_id="call_1", framing="chunked")
    await scene.endures()


async def test_a_partial_answer_that_nobody_asked_for_is_no_recording(scene: Scene):
    scene.fail_one(status=206)
    await scene.fails_one(NotAudioError, "206")


@pytest.mark.parametrize(
    "second",
    [
        {"shift_range": 1000},
        {"content_range": "bytes 0-5/9600044"},
        {"content_range": "bytes"},
        {"ignore_range": True},
        {"status": 416},
        {"status": 304},
        {"etag": "new"},
        {"change_recording": True},
    ],
    ids=lambda fault: next(iter(fault)) + str(next(iter(fault.values())))[:9],
)
async def test_a_resume_that_proves_nothing_starts_from_zero(scene: Scene, second):
    large = scene.large()
    scene.emulator.fail(route="recording", call_id=large.id, truncate=6_000_000, times=1)
    scene.emulator.fail(route="recording", call_id=large.id, times=1, **second)
    await scene.endures()
    asked = [r.headers.get("Range") for r in scene.emulator.requests.of("recording", large.id)]
    assert asked[0] is None
    assert asked[1], "it was worth a range request"


async def test_a_resume_that_is_proven_goes_on(scene: Scene):
    large = scene.large()
    scene.emulator.fail(route="recording", call_id=large.id, truncate=6_000_000, times=1)
    await scene.endures()
    ranges = [r.headers.get("Range") for r in scene.emulator.requests.of("recording", large.id)]
    assert len(ranges) == 2
    assert ranges[1] is not None


async def test_gzip_that_nobody_asked_for_is_decoded_and_never_compared(scene: Scene):
    scene.fail_one(gzip=True)
    await scene.endures()


async def test_a_redirect_loop_is_bounded(scene: Scene):
    scene.fail_one(redirect="loop")
    await scene.fails_one(UnexpectedResponseError, "redirect")
    assert scene.emulator.requests.count("recording", call_id=scene.first.id) < 40


async def test_a_redirect_from_https_to_http_is_refused(over_tls, tmp_path: Path):
    emulator, authority = over_tls
    scene = Scene(emulator, tmp_path / "archive")
    scene.fail_one(redirect="downgrade")
    with authority.cert_pem.tempfile() as file:
        report = await scene.run(ca_file=file)
    assert (report.archived, report.failed) == (6, 1)
    assert isinstance(report.failures[0][1], UnexpectedResponseError)
    scene.oracle.counts(report)
    assert len(await scene.oracle.disk()) == 6


@pytest.mark.parametrize("where", ["same", "other-host"])
async def test_a_redirect_is_followed_without_the_key(scene: Scene, where):
    scene.fail_one(redirect=where)
    report = await scene.run()
    assert report.archived + report.failed == 6
    for request in scene.emulator.requests.of("recording"):
        assert "Authorization" not in request.headers
    await scene.oracle.holds(report)


@pytest.mark.parametrize("fault", [{"status": 204, "body": b""}, {"body": b""}])
async def test_nothing_is_no_recording(scene: Scene, fault):
    scene.fail_one(**fault)
    await scene.fails_one(NotAudioError)

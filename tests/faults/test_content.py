"""What bodies can be, instead of a recording, or as an odd one."""

from __future__ import annotations

import json

import pytest

from agentphone_async import RunOptions
from agentphone_async.archive.catalog.database import Catalog
from agentphone_async.archive.catalog.recordings import current_recordings
from agentphone_async.archive.verify import verify
from agentphone_async.emulator import damaged_wave
from agentphone_async.errors import NotAudioError
from tests.faults.conftest import Scene


@pytest.mark.parametrize(
    "fault",
    [
        {"html": True},
        {"body": json.dumps({"detail": "no"}), "media_type": "application/json"},
        {"body": json.dumps({"detail": "no"}), "media_type": "audio/wav"},
        {"body": b"<!doctype html><title>Sign in", "media_type": "audio/wav"},
    ],
    ids=["html", "json", "json-called-wav", "html-called-wav"],
)
async def test_text_is_rejected_and_quoted(scene: Scene, fault):
    scene.fail_one(**fault)
    await scene.fails_one(NotAudioError, "not audio")


@pytest.mark.parametrize("damage", ["rf64", "odd", "list", "mulaw"])
async def test_odd_wave_files_that_are_whole_are_archived(scene: Scene, damage):
    name = scene.first.id
    scene.oracle.altered[name] = damaged_wave(scene.emulator.expected_audio(name), damage)
    scene.fail_one(wav=damage)
    await scene.endures()


@pytest.mark.parametrize("damage", ["long", "short"])
async def test_wave_files_that_contradict_themselves_are_kept_and_suspect(scene: Scene, damage):
    name = scene.first.id
    scene.oracle.altered[name] = damaged_wave(scene.emulator.expected_audio(name), damage)
    scene.fail_one(wav=damage)
    report = await scene.run()
    assert (report.archived, report.suspect, report.failed) == (5, 1, 0)
    async with await Catalog.open(scene.folder, write=False) as catalog:
        row = (await catalog.run(current_recordings, [name]))[name]
    assert row.state == "suspect"
    assert row.last_error
    await scene.oracle.holds(report)


async def test_a_header_without_audio_is_empty_and_at_peace(scene: Scene):
    name = scene.first.id
    scene.oracle.altered[name] = damaged_wave(scene.emulator.expected_audio(name), "header-only")
    scene.fail_one(wav="header-only")
    report = await scene.run()
    assert (report.archived, report.suspect, report.failed) == (6, 0, 0)
    async with await Catalog.open(scene.folder, write=False) as catalog:
        row = (await catalog.run(current_recordings, [name]))[name]
    assert (row.state, row.duration, row.last_error) == ("empty", 0.0, None)
    assert (await verify(scene.folder)).clean
    await scene.oracle.holds(report)
    assert (await verify(scene.folder)).clean


@pytest.mark.parametrize("damage", ["streamed", "zero"])
async def test_sizes_of_streams_are_fine_where_http_tells_the_length(scene: Scene, damage):
    name = scene.first.id
    scene.oracle.altered[name] = damaged_wave(scene.emulator.expected_audio(name), damage)
    scene.fail_one(wav=damage)
    await scene.endures()


async def test_mpeg_is_kept_under_its_own_extension(scene: Scene):
    scene.add(id="mpeg", duration=0.3, media_type="audio/mpeg")
    await scene.endures()
    assert len(list(scene.folder.rglob("recording-mpeg.mp3"))) == 1
    assert not list(scene.folder.rglob("recording-mpeg.wav"))


async def test_a_recording_that_changed_is_a_new_version(scene: Scene):
    await scene.run()
    scene.emulator.change_recording(scene.first.id)
    report = await scene.run(options=RunOptions(refresh=True))
    assert (report.archived, report.already_archived) == (1, 5)
    assert len(list(scene.folder.rglob("*.wav"))) == 7
    await scene.oracle.holds(report)

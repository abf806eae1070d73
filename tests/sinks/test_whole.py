"""What counts as a recording that is there already, and what is only in the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentphone_async import AsyncAgentPhone, Failed
from agentphone_async.emulator import Emulator, damaged_wave
from agentphone_async.errors import RecordingExistsError
from agentphone_async.sinks.whole import whats_wrong


def put(path: Path, kind: str, audio: bytes) -> None:
    match kind:
        case "whole":
            path.write_bytes(audio)
        case "link to a whole one":
            other = path.with_name("other.wav")
            other.write_bytes(audio)
            path.symlink_to(other)
        case "streamed" | "header-only":
            path.write_bytes(damaged_wave(audio, kind))
        case "empty":
            path.write_bytes(b"")
        case "junk":
            path.write_bytes(b"<html>not found</html>")
        case "cut off":
            path.write_bytes(audio[:-10])
        case "dangling":
            path.symlink_to(path.with_name("nowhere"))
        case "folder":
            path.mkdir()


GOOD = ["whole", "link to a whole one", "streamed", "header-only"]
BAD = {
    "empty": "an empty file",
    "junk": "not a recording",
    "cut off": "a recording that was cut off",
    "dangling": "a symbolic link that leads nowhere",
    "folder": "a folder",
}


@pytest.mark.parametrize("kind", [*GOOD, *BAD])
async def test_fetch_takes_only_recordings_for_recordings(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path, kind
):
    call = emulator.add_call(id="call_x", duration=0.2)
    path = tmp_path / "recording-call_x.wav"
    put(path, kind, emulator.expected_audio(call.id))
    assert whats_wrong(str(path)) == BAD.get(kind)
    (outcome,) = [one async for one in client.download_recordings([call.id], tmp_path)]
    if kind in GOOD:
        assert type(outcome).__name__ == "AlreadyArchived"
        assert emulator.requests.count("recording") == 0
        return
    assert isinstance(outcome, Failed)
    assert f"{BAD[kind]} is in the way at" in str(outcome.error)
    assert "move it away" in str(outcome.error)
    with pytest.raises(RecordingExistsError, match="is in the way"):
        await client.fetch_recording(call.id, tmp_path)
    if kind != "folder":
        recording = await client.fetch_recording(call.id, tmp_path, overwrite=True)
        assert recording.path.read_bytes() == emulator.expected_audio(call.id)
        assert not recording.path.is_symlink()


async def test_what_contradicts_itself_is_there_if_the_server_has_the_same(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    call = emulator.add_call(id="call_x", duration=0.2)
    emulator.fail(route="recording", wav="long")
    for kind in ("Archived", "AlreadyArchived"):
        (outcome,) = [one async for one in client.download_recordings([call.id], tmp_path)]
        assert type(outcome).__name__ == kind


def test_a_free_name_is_free(tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        whats_wrong(str(tmp_path / "nothing"))

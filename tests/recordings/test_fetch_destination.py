"""Where one recording is put, and what stays there."""

from __future__ import annotations

import pytest

from agentphone_async.errors import (
    ConfigurationError,
    RecordingExistsError,
    RecordingNotFoundError,
)
from tests.support.downloads import files, impatient, open_files, wave
from tests.support.raw_server import RawServer, respond

SMALL = wave(30_000)
STREAMED = wave(5 * 1024 * 1024 + 2)


class TestDestination:
    async def test_a_path_is_the_files_own(self, tmp_path):
        path = tmp_path / "new" / "monday.wave"
        async with (
            RawServer(respond(body=SMALL, content_type="audio/wav")) as server,
            impatient(server.base_url) as client,
        ):
            recording = await client.fetch_recording("call_x", path=path)
        assert recording.path == path
        assert files(tmp_path) == {"new/monday.wave": SMALL}

    async def test_a_folder_that_exists_gets_the_usual_name(self, tmp_path):
        async with (
            RawServer(respond(body=SMALL, content_type="audio/wav")) as server,
            impatient(server.base_url) as client,
        ):
            recording = await client.fetch_recording("call_x", str(tmp_path))
        assert recording.path == tmp_path / "recording-call_x.wav"

    @pytest.mark.parametrize("name", ["new", "new/", "day.wav", "file"])
    async def test_dest_is_always_a_folder(self, name, tmp_path):
        async with (
            RawServer(respond(body=SMALL, content_type="audio/wav")) as server,
            impatient(server.base_url) as client,
        ):
            recording = await client.fetch_recording("call_x", f"{tmp_path}/{name}")
        assert files(tmp_path) == {f"{name.strip('/')}/recording-call_x.wav": SMALL}
        assert recording.path == tmp_path / name / "recording-call_x.wav"

    async def test_a_file_url_is_a_folder_too(self, tmp_path):
        async with (
            RawServer(respond(body=SMALL, content_type="audio/wav")) as server,
            impatient(server.base_url) as client,
        ):
            await client.fetch_recording("call_x", f"file://{tmp_path}/with%20space")
        assert files(tmp_path) == {"with space/recording-call_x.wav": SMALL}

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            ({}, "neither is given"),
            ({"dest": "calls", "path": "calls/x.wav"}, "both are given"),
            ({"path": "calls/"}, "not the path of a file"),
            ({"path": "."}, "not the path of a file"),
            ({"dest": ""}, "dest is empty"),
            ({"dest": 7}, "dest is int"),
            ({"dest": "file://host/calls"}, "names no folder of this machine"),
        ],
    )
    async def test_what_can_be_no_destination_is_refused(self, arguments, told, tmp_path):
        async with (
            RawServer(respond(body=SMALL, content_type="audio/wav")) as server,
            impatient(server.base_url) as client,
        ):
            with pytest.raises(ConfigurationError, match=told):
                await client.fetch_recording("call_x", **arguments)
        assert server.requests == []

    @pytest.mark.parametrize(
        "name", ["recording-call_x.wav", "recording-call_x.mp3", "recording-call_x.flac"]
    )
    async def test_what_is_there_is_kept_and_nothing_asked_for(self, name, tmp_path):
        (tmp_path / name).write_bytes(SMALL)
        async with (
            RawServer(respond(body=SMALL, content_type="audio/wav")) as server,
            impatient(server.base_url) as client,
        ):
            with pytest.raises(RecordingExistsError, match=r"recording-call_x.*kept") as caught:
                await client.fetch_recording("call_x", tmp_path)
        assert isinstance(caught.value, FileExistsError)
        assert (caught.value.call_id, caught.value.path) == ("call_x", tmp_path / name)
        assert server.requests == []
        assert files(tmp_path) == {name: SMALL}

    async def test_a_name_taken_while_fetching_is_kept_too(self, tmp_path):
        def progress(_):
            (tmp_path / "recording-call_x.wav").write_bytes(b"mine")

        async with (
            RawServer(respond(body=SMALL, content_type="audio/wav")) as server,
            impatient(server.base_url) as client,
        ):
            with pytest.raises(FileExistsError, match="kept"):
                await client.fetch_recording("call_x", tmp_path, progress=progress)
            assert client._budget.held == 0
        assert files(tmp_path) == {"recording-call_x.wav": b"mine"}
        assert open_files(tmp_path) == []

    @pytest.mark.parametrize("body", [SMALL, STREAMED], ids=["gathered", "streamed"])
    async def test_overwriting_replaces_in_one_step(self, body, tmp_path):
        final = tmp_path / "recording-call_x.wav"
        final.write_bytes(b"old")

        def progress(_):
            assert final.read_bytes() == b"old"

        async with (
            RawServer(respond(body=body, content_type="audio/wav")) as server,
            impatient(server.base_url) as client,
        ):
            await client.fetch_recording("call_x", tmp_path, overwrite=True, progress=progress)
        assert files(tmp_path) == {"recording-call_x.wav": body}

    async def test_a_failed_overwrite_keeps_the_old_file(self, tmp_path):
        (tmp_path / "recording-call_x.wav").write_bytes(b"old")
        async with RawServer(respond(404)) as server, impatient(server.base_url) as client:
            with pytest.raises(RecordingNotFoundError):
                await client.fetch_recording("call_x", tmp_path, overwrite=True)
        assert files(tmp_path) == {"recording-call_x.wav": b"old"}

    async def test_a_dangling_link_is_in_the_way_like_a_file(self, tmp_path):
        (tmp_path / "recording-call_x.wav").symlink_to(tmp_path / "nowhere")
        async with (
            RawServer(respond(body=SMALL, content_type="audio/wav")) as server,
            impatient(server.base_url) as client,
        ):
            with pytest.raises(FileExistsError):
                await client.fetch_recording("call_x", tmp_path)
        assert not (tmp_path / "nowhere").exists()

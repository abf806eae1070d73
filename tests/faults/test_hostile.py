"""Input that means harm: contained, bounded, and harmless to whoever reads about it."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from agentphone_async import Archive, AsyncAgentPhone, Limits, RunOptions, Timeouts
from agentphone_async.errors import AgentPhoneError, ConfigurationError, RecordingTooLargeError
from tests.faults.conftest import Scene
from tests.support.raw_server import RawServer, respond

IDS = [
    "../../etc/passwd",
    "/absolute",
    "a\\b",
    "nul\0inside",
    "CON",
    "con",
    "trailing.",
    "trailing ",
    "x" * 200,
    "\u202egnp.wav",
    "line\nbreak",
    "\x1b[31mred\x1b[0m",
    "CamelCase",
    "camelcase",
    "caf\u00e9",
    "cafe\u0301",
    "~/.ssh",
    "%2e%2e%2f",
    "-rf",
    "a?b=c#d",
]
REFUSED = ["..", ".", "x" * 10_000]


async def test_ids_stay_inside_distinct_and_harmless(scene: Scene):
    for call_id in [*IDS, *REFUSED]:
        scene.add(id=call_id, duration=0.1)
    scene.oracle.unfetchable = REFUSED
    report = await scene.run()
    assert (report.archived, report.failed) == (6 + len(IDS), len(REFUSED))
    for _, error in report.failures:
        assert str(error).isprintable()
        assert len(str(error)) < 500
    names = [path.relative_to(scene.folder).as_posix() for path in scene.folder.rglob("*.wav")]
    assert len({name.casefold() for name in names}) == len(names) == 6 + len(IDS)
    for name in names:
        assert name.isascii()
        assert name.isprintable()
        assert max(map(len, name.split("/"))) <= 255
    assert [path.name for path in scene.folder.parent.iterdir()] == ["archive"]
    await scene.oracle.holds(report)


async def test_an_endless_body_meets_the_size_limit(scene: Scene):
    scene.fail_one(framing="chunked", endless=True)
    options = RunOptions(limits=Limits(max_file_size=3_000_000))
    await scene.fails_one(RecordingTooLargeError, "limit", options=options)


async def test_a_gzip_bomb_meets_the_size_limit(scene: Scene):
    scene.fail_one(gzip_bomb=50_000_000)
    options = RunOptions(limits=Limits(max_file_size=3_000_000))
    await scene.fails_one(AgentPhoneError, options=options)


async def test_a_header_bomb_is_refused(scene: Scene):
    scene.fail_one(headers={"X-Bomb": "x" * 1_000_000})
    await scene.fails_one(AgentPhoneError)


async def test_a_page_without_measure_is_refused(scene: Scene):
    row = b'{"id":"x"},'
    page = b'{"data":[' + row * 7_000_000 + b'{"id":"y"}],"hasMore":false}'
    async with RawServer(respond(body=page, content_type="application/json")) as server:
        with pytest.raises(AgentPhoneError, match="over"):
            await scene.run(base_url=server.base_url, timeouts=Timeouts())
    assert not scene.folder.exists()
    await scene.oracle.holds()


async def test_recording_urls_are_never_followed(scene: Scene):
    async with RawServer(respond(body=b"stolen")) as elsewhere:
        urls = [
            "http://169.254.169.254/latest/meta-data",
            f"{elsewhere.base_url}/steal",
            "file:///etc/passwd",
        ]

        def bend(page: dict) -> dict:
            rows = [
                {**row, "recordingUrl": urls[n % len(urls)]} for n, row in enumerate(page["data"])
            ]
            return {**page, "data": rows}

        scene.emulator.fail(route="list_calls", edit=bend)
        await scene.endures()
        assert elsewhere.connections == []


async def test_the_key_appears_nowhere_and_travels_to_the_api_only(
    scene: Scene, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    key = scene.emulator.api_key
    scene.emulator.fail(route="recording", status=500, probability=0.5)
    scene.emulator.fail(route="recording", redirect="other-host", probability=0.5)
    report = await scene.run()
    for _, error in report.failures:
        assert key not in f"{error}{error!r}{vars(error)}"
    assert key not in caplog.text
    async with AsyncAgentPhone(key, base_url=scene.emulator.base_url) as client:
        assert key not in f"{client!r}{client.settings!r}{client.session!r}"
    for request in scene.emulator.requests:
        assert key not in request.target
        if request.route == "recording":
            assert "Authorization" not in request.headers
    for path in scene.folder.rglob("*"):
        assert path.is_dir() or key.encode() not in path.read_bytes()
    await scene.oracle.holds(report)


def test_credentials_in_a_base_url_are_refused_unseen():
    with pytest.raises(ConfigurationError) as caught:
        AsyncAgentPhone("k", base_url="https://me:hunter2@api.example.com")
    assert "hunter2" not in str(caught.value)


async def test_links_below_the_destination_are_not_followed(scene: Scene, tmp_path: Path):
    outside = tmp_path / "outside"
    outside.mkdir()
    scene.folder.mkdir()
    (scene.folder / f"{scene.began:%Y}").symlink_to(outside)
    with pytest.raises(AgentPhoneError, match="symbolic link"):
        await scene.run()
    assert os.listdir(outside) == []
    (scene.folder / f"{scene.began:%Y}").unlink()
    await scene.oracle.holds()


async def test_a_destination_that_is_a_link_is_the_users_own_choice(scene: Scene, tmp_path: Path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    report = await scene.run(archive=Archive(tmp_path / "link"))
    assert report.archived == 6

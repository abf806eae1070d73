"""Progress is not a failure: what came of a large recording is continued, in this run and later."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat

import pytest

from agentphone_async.errors import TransportError
from agentphone_async.sinks import leftovers, uploads
from tests.recordings.test_fetch_resume import (
    NEW,
    OLD,
    broken,
    fetched,
    offset_of,
    part,
    part_then_close,
    small_steps,  # noqa: F401 - a fixture
    whole,
)
from tests.support.downloads import files, impatient, open_files, partial
from tests.support.raw_server import RawServer, respond, then_hold

DEAD = 2**22 + 1  # no process has so large a number

pytestmark = pytest.mark.usefixtures("small_steps")


async def test_a_recording_that_is_cut_again_and_again_arrives_in_one_run(tmp_path):
    """Seven cuts, and two attempts: each of them brought something."""
    script = broken(OLD, 220_000), *[part_then_close(OLD, 130_000)] * 6, part(OLD)
    recording, requests = await fetched(script, tmp_path, attempts=2)
    assert recording.path.read_bytes() == OLD
    offsets = [offset_of(request) for request in requests[1:]]
    assert offsets == sorted(set(offsets)), "each resumes from where the last one stopped"


async def test_the_same_bytes_once_more_are_no_progress(tmp_path):
    """A server that ignores ranges, and always stops at the same place: not forever."""
    async with (
        RawServer(broken(OLD, 220_000)) as server,
        impatient(server.base_url, attempts=3) as client,
    ):
        with pytest.raises(TransportError):
            await client.fetch_recording("call_x", tmp_path)
    assert len(server.requests) <= 4


async def lost(tmp_path, *script):
    async with RawServer(*script) as server, impatient(server.base_url, attempts=1) as client:
        with pytest.raises(TransportError):
            await client.fetch_recording("call_x", tmp_path)
        assert client._budget.held == 0
    assert open_files(tmp_path) == []
    return files(tmp_path)


async def test_the_next_run_goes_on_with_what_this_one_leaves(tmp_path):
    left = await lost(tmp_path, broken(OLD, 700_000))
    assert {name.rpartition(".")[2] for name in left} == {"kept", "note"}
    assert sorted(left) == sorted(partial(tmp_path))
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in left}
    assert modes == {0o600}
    (part_kept,) = [body for name, body in left.items() if name.endswith(".kept")]
    assert OLD.startswith(part_kept)
    recording, (first, second) = await fetched((whole(OLD), part(OLD)), tmp_path)
    assert "range" not in first.headers
    assert offset_of(second) == len(part_kept)
    assert recording.path.read_bytes() == OLD


async def test_so_does_one_that_was_cancelled(tmp_path):
    answer = whole(OLD)
    async with (
        RawServer(then_hold(answer[:-300_000])) as server,
        impatient(server.base_url) as client,
    ):
        came = 0

        def progress(size):
            nonlocal came
            came += size
            if came > 600_000:
                task.cancel()

        task = asyncio.ensure_future(client.fetch_recording("call_x", tmp_path, progress=progress))
        with pytest.raises(asyncio.CancelledError):
            await task
    assert len(files(tmp_path)) == 2
    recording, requests = await fetched((whole(OLD), part(OLD)), tmp_path)
    assert recording.path.read_bytes() == OLD
    assert len(requests) == 2


@pytest.mark.parametrize(
    "harm",
    [
        lambda kept, note: kept.write_bytes(kept.read_bytes()[:-1] + b"?"),
        lambda kept, note: kept.write_bytes(kept.read_bytes()[:-1]),
        lambda kept, note: note.write_bytes(b"{}"),
        lambda kept, note: note.write_bytes(b"no json"),
        lambda kept, note: note.unlink(),
        lambda kept, note: kept.unlink(),
    ],
)
async def test_a_part_that_is_not_what_its_note_says_is_worth_nothing(harm, tmp_path):
    left = await lost(tmp_path, broken(OLD, 700_000))
    note, kept = (tmp_path / name for name in sorted(left, key=lambda name: name[-4:] != "note"))
    harm(kept, note)
    async with RawServer(whole(OLD)) as server, impatient(server.base_url) as client:
        recording = await client.fetch_recording("call_x", tmp_path)
    assert recording.path.read_bytes() == OLD
    assert all("range" not in request.headers for request in server.requests)


@pytest.mark.parametrize(
    "answers",
    [
        (whole(NEW, etag='"v2"'),),  # another version: the part is not even asked about
        (whole(OLD), respond(500), part(OLD)),
        (whole(OLD), part(NEW, etag='"v2"'), whole(NEW, etag='"v2"')),
        (whole(OLD), respond(416), whole(OLD)),
    ],
)
async def test_only_what_the_server_proves_the_same_is_gone_on_with(answers, tmp_path):
    await lost(tmp_path, broken(OLD, 700_000))
    async with RawServer(*answers) as server, impatient(server.base_url) as client:
        recording = await client.fetch_recording("call_x", tmp_path)
    assert recording.path.read_bytes() in (OLD, NEW)
    assert list(files(tmp_path)) == ["recording-call_x.wav"]


async def as_a_kill_leaves_it(folder, *, pid):
    """What lies there in the middle of a transfer, as if that process had written it."""
    seen = folder / "seen"
    answer = whole(OLD)[:-300_000]
    async with RawServer(then_hold(answer)) as server, impatient(server.base_url) as client:
        task = asyncio.ensure_future(client.fetch_recording("call_x", seen))
        while not list(seen.glob("*.note")):
            await asyncio.wait([task], timeout=0.01)
        left = files(seen)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    shutil.rmtree(seen)
    ours, theirs = f"-{os.getpid():x}-", f"-{pid:x}-"
    for name, content in left.items():
        (folder / name.replace(ours, theirs)).write_bytes(
            content.replace(ours.encode(), theirs.encode())
        )


@pytest.mark.parametrize(
    ("pid", "boot", "answers", "resumed"),
    [
        (DEAD, None, (whole(OLD), part(OLD)), True),
        (DEAD, None, (whole(NEW, etag='"v2"'),), False),
        (DEAD, "another", (whole(OLD),), False),
        (1, None, (whole(OLD),), False),
    ],
    ids=["dead", "another version", "the machine was started again", "alive"],
)
async def test_what_a_killed_run_has_written_is_gone_on_with(
    pid, boot, answers, resumed, tmp_path, monkeypatch
):
    await as_a_kill_leaves_it(tmp_path, pid=pid)
    assert leftovers.sweep(tmp_path) == (pid != DEAD)
    if boot is not None:
        monkeypatch.setattr(uploads, "boot_id", lambda: boot)
    async with RawServer(*answers) as server, impatient(server.base_url) as client:
        recording = await client.fetch_recording("call_x", tmp_path)
    assert recording.path.read_bytes() in (OLD, NEW)
    assert any("range" in request.headers for request in server.requests) is resumed
    assert len(files(tmp_path)) == 1 + (pid != DEAD)


async def test_parts_that_nobody_goes_on_with_are_swept_after_a_week(tmp_path):
    left = await lost(tmp_path, broken(OLD, 700_000))
    leftovers.sweep(tmp_path)
    assert files(tmp_path) == left
    for name in left:
        os.utime(tmp_path / name, (1.0, 1.0))
    leftovers.sweep(tmp_path)
    assert files(tmp_path) == {}

"""An archive of five calls, the page over it, and somebody who visits it."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import anyio

from agentphone_async import Archive, AsyncAgentPhone, RunOptions
from agentphone_async.emulator import Emulator
from agentphone_async.web.listen import Address
from agentphone_async.web.serve import Serve

HOSTILE = (
    "<script>document.title='owned'</script><img src=x onerror=alert(1)> \u202egnp.exe\u202c zebra"
)


async def make(folder: Path) -> None:
    """Five calls with recordings; the newest was heard by somebody hostile."""
    async with (
        Emulator() as emulator,
        AsyncAgentPhone(emulator.api_key, base_url=emulator.base_url) as client,
    ):
        for number in range(5):
            emulator.add_call(
                started_at=datetime(2026, 1, 10 + number, 9, tzinfo=UTC),
                duration=3 + number,
                from_number=f"+1555000{number:04}",
                direction="inbound",
            )
        await Archive(folder).run(client, None, RunOptions(metadata=True, transcripts=True))
    newest = max(folder.rglob("transcript-*.json"))
    turns = [
        {"role": "user", "content": HOSTILE, "createdAt": "2026-01-14T09:00:00Z"},
        {"role": "agent", "content": "Grüße an Frau Müller", "createdAt": "2026-01-14T09:00:02Z"},
    ]
    newest.write_text(json.dumps({"transcript": turns}))


def copy_of(archive, folder):
    for path in archive.rglob("*"):
        if path.is_file() and not path.name.startswith("search"):
            place = folder / path.relative_to(archive)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(path.read_bytes())
    return folder


@asynccontextmanager
async def serving(folder, **more):
    """A page that is served; yields its URL with the token."""
    serve = Serve(folder, Address("127.0.0.1", 0), **more)
    url = asyncio.get_running_loop().create_future()
    async with anyio.create_task_group() as group:
        group.start_soon(serve.run, url.set_result)
        with anyio.fail_after(60):
            yield await url
        serve.stop()


@asynccontextmanager
async def visiting(folder, **more):
    """A browser that has opened the URL."""
    async with serving(folder, **more) as url, session_of(url) as session:
        async with session.get(url) as answer:
            assert answer.status == 200
        with anyio.fail_after(10):
            while (await calls(session))["unread"]:
                await asyncio.sleep(0.02)
        yield session


def session_of(url):
    jar = aiohttp.CookieJar(unsafe=True)
    return aiohttp.ClientSession(url.split("/?")[0], cookie_jar=jar)


async def calls(session, **asked):
    async with session.get("/api/calls", params=asked) as answer:
        assert answer.status == 200
        return await answer.json()

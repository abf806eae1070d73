"""The bytes of a recording are let go as soon as it is published."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import aclosing

from agentphone_async import Body
from tests.support.downloads import impatient, wave
from tests.support.raw_server import RawServer, respond


def bodies() -> list[Body]:
    """All that are alive, those of other tests included."""
    return [kept for kept in gc.get_objects() if isinstance(kept, Body)]


async def test_nothing_keeps_a_published_recording_while_the_next_one_is_waited_for(tmp_path):
    more = asyncio.Event()
    before = {id(body) for body in bodies()}

    async def calls() -> AsyncIterator[str]:
        yield "call_1"
        await more.wait()
        yield "call_2"

    async with (
        RawServer(respond(body=wave(50_000), content_type="audio/wav")) as server,
        impatient(server.base_url) as client,
        aclosing(client.download_recordings(calls(), tmp_path)) as outcomes,
    ):
        await anext(outcomes)
        async with asyncio.timeout(3):  # the thread that wrote it lets go in its own time
            while any(id(kept) not in before for kept in bodies()):
                await asyncio.sleep(0)
        more.set()
        assert (await anext(outcomes)).call_id == "call_2"

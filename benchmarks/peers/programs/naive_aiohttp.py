"""Run as a program: BASE_URL IDS OUT TRANSFERS. The loop that everybody writes first."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import aiohttp


async def main(base_url: str, ids: list[str], out: Path, transfers: int) -> None:
    slots = asyncio.Semaphore(transfers)

    async def one(call_id: str) -> None:
        async with slots, session.get(f"{base_url}/v1/calls/{call_id}/recording") as response:
            if response.status == 404:
                return
            response.raise_for_status()
            (out / f"recording-{call_id}.wav").write_bytes(await response.read())

    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(one(call_id) for call_id in ids))


asyncio.run(
    main(sys.argv[1], Path(sys.argv[2]).read_text().split(), Path(sys.argv[3]), int(sys.argv[4]))
)

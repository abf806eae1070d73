"""Run as a program: BASE_URL IDS OUT TRANSFERS. The least that aiohttp can do; nothing checked."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import aiohttp
import uvloop
from yarl import URL


def write(path: Path, pieces: list[bytes]) -> None:
    with path.open("wb", buffering=0) as file:
        file.writelines(pieces)


async def main(base_url: str, ids: Iterator[str], out: Path, transfers: int) -> None:
    loop = asyncio.get_running_loop()

    async def worker() -> None:
        for call_id in ids:
            url = URL(f"{base_url}/v1/calls/{call_id}/recording", encoded=True)
            async with session.get(url) as response:
                if response.status == 404:
                    continue
                response.raise_for_status()
                pieces = [piece async for piece in response.content.iter_any()]
            path = out / f"recording-{call_id}.wav"
            await loop.run_in_executor(pool, write, path, pieces)

    with ThreadPoolExecutor(4) as pool:
        async with aiohttp.ClientSession(
            cookie_jar=aiohttp.DummyCookieJar(), read_bufsize=2**18, auto_decompress=False
        ) as session:
            await asyncio.gather(*(worker() for _ in range(transfers)))


with Path(sys.argv[2]).open(encoding="ascii") as lines:
    uvloop.run(
        main(sys.argv[1], (line.strip() for line in lines), Path(sys.argv[3]), int(sys.argv[4]))
    )

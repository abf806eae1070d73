"""Run as a program: BASE_URL IDS OUT TRANSFERS. The official SDK, used as its docs suggest."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from agentphone import AsyncAgentPhone, NotFoundError  # type: ignore[import-untyped]  # ships none


async def main(base_url: str, ids: list[str], out: Path, transfers: int) -> None:
    slots = asyncio.Semaphore(transfers)

    async def one(call_id: str) -> None:
        async with slots:
            try:
                recording = await client.calls.get_recording(call_id)
            except NotFoundError:
                return
            (out / f"recording-{call_id}.wav").write_bytes(recording.content)

    async with AsyncAgentPhone(api_key="sk_live_benchmark", base_url=base_url) as client:
        await asyncio.gather(*(one(call_id) for call_id in ids))


asyncio.run(
    main(sys.argv[1], Path(sys.argv[2]).read_text().split(), Path(sys.argv[3]), int(sys.argv[4]))
)

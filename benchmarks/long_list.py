"""A list of calls of any length, computed instead of stored: newest first, as the API gives it.

Old calls were never answered and have no recording, so that a first run is the walk alone; the
calls of the last night have one. ``GET /requests`` says what was asked, ``POST /night`` lets a
night pass.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web

NIGHT = 48
"""Calls that are new in the morning."""

SPACING = timedelta(minutes=10)
AUDIO = (
    b"RIFF\x64\x01\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x40\x1f\x00\x00\x80\x3e\x00\x00"
    + (b"\x02\x00\x10\x00data\x40\x01\x00\x00" + bytes(320))
)


class LongList:
    """``old`` calls that rang in vain, and after a night `NIGHT` more with a recording."""

    def __init__(self, old: int) -> None:
        self.old = old
        self.new = 0
        self.asked: Counter[str] = Counter()
        self.night_began = datetime.now(UTC) - timedelta(hours=8)

    def call(self, number: int) -> dict[str, Any]:
        """Call ``number``, counted from the oldest."""
        recent = number >= self.old
        at = self.night_began + (number - self.old) * SPACING
        if not recent:
            at -= timedelta(days=2)  # long enough ago that nobody waits for their recordings
        stamp = at.isoformat(timespec="seconds").replace("+00:00", "Z")
        return {
            "id": f"call_{number * 2654435761 % 2**64:016x}{number:08x}",
            "agentId": "agt_abc123",
            "phoneNumberId": "num_xyz789",
            "fromNumber": "+15559870000",
            "toNumber": "+15551230000",
            "direction": "inbound",
            "status": "completed" if recent else "no-answer",
            "startedAt": stamp,
            "endedAt": stamp,
            "durationSeconds": 1 if recent else 0,
            "recordingAvailable": recent,
        }

    async def page(self, request: web.Request) -> web.Response:
        """One page of the list."""
        self.asked["pages"] += 1
        limit, offset = (int(request.query.get(name, 20)) for name in ("limit", "offset"))
        total = self.old + self.new
        numbers = range(total - 1 - offset, max(-1, total - 1 - offset - limit), -1)
        rows = [self.call(number) for number in numbers]
        answer = {"data": rows, "hasMore": offset + len(rows) < total, "total": total}
        return web.json_response(answer)

    async def recording(self, _: web.Request) -> web.Response:
        """The same short recording for every call."""
        self.asked["recordings"] += 1
        return web.Response(body=AUDIO, content_type="audio/wav")

    async def requests(self, _: web.Request) -> web.Response:
        """What was asked since the last time."""
        asked, self.asked = self.asked, Counter()
        return web.json_response(asked)

    async def night(self, _: web.Request) -> web.Response:
        """Let `NIGHT` calls come in."""
        self.new += NIGHT
        return web.json_response({"calls": self.old + self.new})

    def application(self) -> web.Application:
        """The routes."""
        app = web.Application()
        app.router.add_get("/v1/calls", self.page)
        app.router.add_get("/v1/calls/{id}/recording", self.recording)
        app.router.add_get("/requests", self.requests)
        app.router.add_post("/night", self.night)
        return app


async def main() -> None:
    """Serve as many calls as the argument says; print the base URL; end with standard input."""
    runner = web.AppRunner(LongList(int(sys.argv[1])).application())
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    print(f"http://{host}:{port}", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main())

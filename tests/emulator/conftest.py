"""A client without manners: bytes out, bytes in, and how the connection ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

import pytest

from agentphone_async.emulator import Emulator, VirtualClock


@dataclass(frozen=True)
class RawAnswer:
    raw: bytes
    end: str

    @property
    def status(self) -> int:
        return int(self.raw.split(b" ", 2)[1])

    @property
    def headers(self) -> dict[str, str]:
        lines = self.raw.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
        return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}

    @property
    def body(self) -> bytes:
        return self.raw.partition(b"\r\n\r\n")[2]

    def json(self) -> Any:
        return json.loads(self.body)

    def dechunked(self) -> tuple[bytes, bool]:
        """The chunks' contents, and whether the last chunk was there."""
        rest, found = self.body, []
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            if int(size, 16) == 0:
                return b"".join(found), rest == b"\r\n"
            found.append(rest[: int(size, 16)])
            rest = rest[int(size, 16) + 2 :]
        return b"".join(found), False


class RawClient:
    """One connection to an emulator."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator

    async def __aenter__(self) -> Self:
        context = None
        if self.emulator.settings.tls is not None:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.reader, self.writer = await asyncio.open_connection(
            "127.0.0.1", self.emulator.settings.port, ssl=context
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):  # a reset is what many a test is about
            await self.writer.wait_closed()

    def send(
        self,
        target: str,
        method: str = "GET",
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | dict[str, Any] = b"",
        key: bool = True,
        close: bool = True,
    ) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"Host": "127.0.0.1", **(headers or {})}
        lines = [f"{method} {target} HTTP/1.1"]
        if close:
            lines.append("Connection: close")
        if key:
            lines.append(f"Authorization: Bearer {self.emulator.api_key}")
        if content or method == "POST":
            lines.append(f"Content-Length: {len(content)}")
        lines += [f"{name}: {value}" for name, value in sent.items()]
        self.writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + content)

    async def rest(self) -> RawAnswer:
        """Everything until the connection ends."""
        received = bytearray()
        try:
            while piece := await self.reader.read(1 << 20):
                received += piece
        except ConnectionResetError:
            return RawAnswer(bytes(received), "reset")
        return RawAnswer(bytes(received), "closed")

    async def head(self) -> RawAnswer:
        return RawAnswer(await self.reader.readuntil(b"\r\n\r\n"), "open")

    async def answer(self) -> RawAnswer:
        """One answer with a Content-Length, on a connection that stays open."""
        top = await self.head()
        length = int(top.headers.get("content-length", "0"))
        return RawAnswer(top.raw + await self.reader.readexactly(length), "open")

    async def is_silent(self) -> bool:
        """Whether the connection is open and says nothing."""
        try:
            await asyncio.wait_for(self.reader.read(1), 0.05)
        except TimeoutError:
            return True
        return False


@pytest.fixture
def connect():
    """``async with connect(emulator) as client``: a raw connection."""
    return RawClient


@pytest.fixture
def ask():
    """``await ask(emulator, target, …)``: one request on a connection of its own."""

    async def one(emulator: Emulator, target: str, method: str = "GET", **more: Any) -> RawAnswer:
        async with RawClient(emulator) as client:
            client.send(target, method, **more)
            return await client.rest()

    return one


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(datetime(2026, 11, 22, 12, tzinfo=UTC))


@pytest.fixture
async def emulator():
    async with Emulator() as running:
        yield running

"""`serve`: a page on this machine, to find calls and to listen to them."""

from __future__ import annotations

import asyncio
import logging
import re
import sqlite3
from collections.abc import Callable
from contextlib import aclosing, closing, suppress
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

import anyio
from aiohttp import hdrs, web

from agentphone_async.archive.catalog.rows import stamp
from agentphone_async.errors import (
    AgentPhoneError,
    ConfigurationError,
    DestinationError,
)
from agentphone_async.sinks.bucket import Bucket
from agentphone_async.sinks.threads import FilePool
from agentphone_async.web.guard import HEADERS, Guard
from agentphone_async.web.listen import Address, listen, runner_of
from agentphone_async.web.place import Opened
from agentphone_async.web.reader import ArchiveReader
from agentphone_async.web.search import PAGE, Query

SYNC = 2.0
"""Seconds between looks at whether the catalog has changed."""

_PAGES = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
    "/player.js": ("player.js", "text/javascript"),
}
_AUDIO = {"audio/wav": "audio/wav", "audio/x-wav": "audio/wav", "audio/mpeg": "audio/mpeg"}

T = TypeVar("T")
_log = logging.getLogger("agentphone_async.web")


class Serve:
    """Shows an archive until it is stopped; nothing in the archive is changed but the index.

    Args:
        folder: the archive; of one in a bucket, its cache.
        address: where; only loopback.
        bucket: where its files are, if not in the folder.
        full_text: as for `Index`.

    Raises:
        ConfigurationError: other machines could connect.
    """

    def __init__(
        self,
        folder: Path,
        address: Address,
        *,
        bucket: Bucket | None = None,
        full_text: bool = True,
    ) -> None:
        if not address.is_loopback:
            raise ConfigurationError(
                f"{address} is reachable from other machines, and recordings are for you; listen "
                "on 127.0.0.1, and use an SSH tunnel (ssh -L) from elsewhere"
            )
        self._folder = folder
        self._address = address
        self._bucket = bucket
        self._full_text = full_text
        self._guard = Guard()
        self._stopping = asyncio.Event()
        self._pool = FilePool(2)
        self._thread = FilePool(1)  # of the catalog, and of what is written into the index
        self._reading = FilePool(1)  # of what is asked
        self._reader: ArchiveReader

    def stop(self) -> None:
        """Close the page."""
        self._stopping.set()

    async def run(self, ready: Callable[[str], Any] = lambda _: None) -> None:
        """Serve.

        Args:
            ready: told the URL to open.

        Raises:
            CatalogError: there is no archive, or its catalog cannot be read.
            ConfigurationError: the address cannot be used.
        """
        try:
            self._reader = await self._thread.run(
                lambda: ArchiveReader(
                    self._folder, self._pool, bucket=self._bucket, full_text=self._full_text
                )
            )
            try:
                await self._serve(ready)
            finally:
                await self._thread.run(self._reader.close)
        finally:
            self._reading.close()
            self._thread.close()
            self._pool.close()

    async def _serve(self, ready: Callable[[str], Any]) -> None:
        runner = runner_of(self.app(), 1.0)
        await runner.setup()
        try:
            url = self._guard.at(await listen(runner, self._address))
            await self._thread.run(self._reader.sync, datetime.now(UTC))
            async with anyio.create_task_group() as group:
                group.start_soon(self._keep_up)
                ready(url)
                await self._stopping.wait()
                group.cancel_scope.cancel()
        finally:
            await runner.cleanup()

    async def _keep_up(self) -> None:
        """Follow the catalog, and read what was said, the newest calls first."""
        while True:
            more = False
            try:
                more = await self._thread.run(self._reader.sync, datetime.now(UTC))
                if not more:
                    more = await self._thread.run(self._reader.read_words)
            except (AgentPhoneError, OSError, sqlite3.Error) as error:
                _log.warning("the index is behind: %s", error)
            await anyio.sleep(0 if more else SYNC)

    async def _ask(self, work: Callable[..., T], *args: Any) -> T:
        return await self._reading.run(work, *args)

    # ---------------------------------------------------------------- routes

    def app(self) -> web.Application:
        """The routes, behind the guard."""
        app = web.Application(middlewares=[self._guard.admit], client_max_size=1)
        for path in _PAGES:
            app.router.add_get(path, self._page)
        app.router.add_get("/api/calls", self._calls)
        app.router.add_get(r"/api/calls/{id:\d{1,16}}", self._call)
        app.router.add_get(r"/api/calls/{id:\d{1,16}}/peaks", self._peaks)
        app.router.add_get(r"/api/calls/{id:\d{1,16}}/audio", self._audio)
        return app

    async def _page(self, request: web.Request) -> web.Response:
        name, kind = _PAGES[request.path]
        body = files("agentphone_async.web").joinpath("page", name).read_bytes()
        return web.Response(body=body, content_type=kind, charset="utf-8")

    async def _calls(self, request: web.Request) -> web.Response:
        try:
            query = query_of(dict(request.query))
        except (ValueError, OverflowError):
            raise web.HTTPBadRequest(reason="That is not a filter.") from None
        index = self._reader.index
        calls = await self._ask(index.find, query, PAGE)
        total, unread = await self._ask(index.count)
        return web.json_response({"calls": calls, "total": total, "unread": unread, "page": PAGE})

    async def _call(self, request: web.Request) -> web.Response:
        call = await self._one(request)
        turns = await self._read(
            self._reader.turns, call["transcript"], call["started"], call["seconds"]
        )
        told = await self._read(self._reader.event, call["event"])
        hidden = {"call_id", "path", "transcript", "event", "wanted", "indexed"}
        shown = {name: value for name, value in call.items() if name not in hidden}
        shown |= {
            "has_audio": call["path"] is not None,
            "summary": told.get("summary"),
            "sentiment": told.get("userSentiment"),
            "successful": told.get("callSuccessful"),
            "reason": told.get("disconnectionReason"),
            "turns": turns,
        }
        return web.json_response(shown)

    async def _peaks(self, request: web.Request) -> web.Response:
        call = await self._with_audio(request)
        try:
            peaks = await self._read(self._reader.peaks, call["path"])
        except DestinationError:
            peaks = None
        return web.json_response({"channels": [] if peaks is None else peaks.channels})

    async def _audio(self, request: web.Request) -> web.StreamResponse:
        call = await self._with_audio(request)
        try:
            file = await self._read(self._reader.files.open, call["path"])
        except DestinationError as error:
            _log.warning("%s", error)
            raise web.HTTPNotFound(reason="The recording cannot be read.") from error
        with closing(file):
            return await self._send(request, file, call["media_type"])

    async def _send(
        self, request: web.Request, file: Opened, media_type: str | None
    ) -> web.StreamResponse:
        size = file.size
        start, end, status = _range_of(request.headers.get(hdrs.RANGE, ""), size)
        headers = {
            **_guarded(media_type),
            hdrs.ACCEPT_RANGES: "bytes",
            hdrs.CONTENT_LENGTH: str(end - start),
        }
        if status != 200:
            about = f"{start}-{end - 1}" if status == 206 else "*"
            headers[hdrs.CONTENT_RANGE] = f"bytes {about}/{size}"
        answer = web.StreamResponse(status=status, headers=headers)
        await answer.prepare(request)
        if request.method != "HEAD":
            try:
                async with aclosing(file.pieces(start, end)) as pieces:
                    with suppress(ConnectionError):  # the browser seeks: it has left
                        async for piece in pieces:
                            await answer.write(piece)
            except (DestinationError, OSError) as error:
                _log.warning("a recording broke off: %s", error)
                if request.transport is not None:
                    request.transport.close()
        return answer

    async def _read(self, work: Callable[..., T], *args: Any) -> T:
        return await self._pool.run(work, *args)

    async def _one(self, request: web.Request) -> dict[str, Any]:
        call = await self._ask(self._reader.index.one, int(request.match_info["id"]))
        if call is None:
            raise web.HTTPNotFound(reason="There is no such call.")
        return call

    async def _with_audio(self, request: web.Request) -> dict[str, Any]:
        call = await self._one(request)
        if call["path"] is None:
            raise web.HTTPNotFound(reason="The call has no recording here.")
        return call


def _guarded(media_type: str | None) -> dict[str, str]:
    kind = _AUDIO.get(media_type or "", "application/octet-stream")
    return {**HEADERS, hdrs.CONTENT_TYPE: kind}


def _range_of(wanted: str, size: int) -> tuple[int, int, int]:
    """Start, end and status of an answer to a request for (a part of) a file of this size.

    What is not one range of bytes is not heeded, as RFC 9110 (14.2) has it.
    """
    found = re.fullmatch(r"bytes=(?:([0-9]{1,18})-([0-9]*)|-([0-9]{1,18}))", wanted.strip())
    if found is None:
        return 0, size, 200
    first, last, suffix = found.groups()
    if suffix is not None:
        start, end = max(0, size - int(suffix)), size
    elif last and int(last[:19]) < int(first):
        return 0, size, 200
    else:
        start, end = int(first), min(int(last[:19]) + 1, size) if last else size
    return (start, end, 206) if start < end else (0, 0, 416)


def query_of(said: dict[str, str]) -> Query:
    """What the page asks for.

    Raises:
        ValueError: a value cannot be read.
    """

    def moment(name: str) -> str | None:
        value = said.get(name)
        if not value:
            return None
        when = datetime.fromisoformat(value)
        return stamp(when if when.tzinfo else when.replace(tzinfo=UTC))

    def number(name: str) -> float | None:
        return float(said[name]) if said.get(name) else None

    before = None
    if said.get("before"):
        started, _, row_id = said["before"].rpartition("|")
        before = (started, int(row_id))
        if abs(before[1]) >= 2**63:
            raise ValueError(row_id)
    return Query(
        text=said.get("q") or None,
        since=moment("since"),
        until=moment("until"),
        number=said.get("number") or None,
        direction=said.get("direction") or None,
        state=said.get("state") or None,
        least=number("least"),
        most=number("most"),
        before=before,
    )

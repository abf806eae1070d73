"""Call ids from arguments, from a file, or from standard input; as many as there may be."""

from __future__ import annotations

import asyncio
import codecs
import csv
import json
import os
import re
import stat
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path
from urllib.parse import unquote

import aiofiles
import click

from agentphone_async.recordings.stop import StopToken

BLOCK = 64 * 1024
LONGEST_LINE = 4 * 1024 * 1024
"""Bytes of a line that are kept; a call's JSON may have its transcript inside."""

HEADINGS = ("id", "call_id", "callId")
"""Of the column of ids, in a file of tab-separated values."""

_RECORDING_URL = re.compile(
    r"https?://[^/\s]+(?:/[^?#\s]*)?/v1/calls/(?P<id>[^/?#\s]+)/recording/?(?:[?#].*)?"
)


async def call_ids(
    arguments: Sequence[str], file: Path | None, stop: StopToken | None = None
) -> AsyncGenerator[str]:
    """The arguments, then those of the file's lines; empty lines and ``#`` comments are left out.

    A line is an id, the URL of a recording, or a JSON object that names a call, as ``calls list``,
    ``ls``, ``missing``, ``archive`` and ``fetch`` print them with ``-o json``. Below a line of
    headings, as ``-o tsv`` and ``export`` print it, it is a row. The file ``-`` is standard
    input. It may keep one waiting forever, but not after a stop.

    Raises:
        click.BadParameter: the file cannot be read.
        RunStoppedError: stopped while more was to be read.
    """
    stop = stop or StopToken()
    for call_id in arguments:
        yield _from_url(call_id)
    if file is None:
        return
    rest = bytearray()
    lines_read = Lines()
    async with aclosing(_stdin_blocks() if str(file) == "-" else _file_blocks(file)) as blocks:
        while block := await stop.through(lambda _: _next(blocks, file)):
            first, *lines = block.split(b"\n")
            # A longer line is not an id, and what is cut off does not matter.
            if len(rest) < (LONGEST_LINE if rest.startswith(b"{") else BLOCK):
                rest += first
            if not lines:
                continue
            for line in (bytes(rest), *lines[:-1]):
                if (found := lines_read.id_in(line)) is not None:
                    yield found
            rest = bytearray(lines[-1])
    if (found := lines_read.id_in(bytes(rest))) is not None:
        yield found


def count_ids(file: Path) -> int:
    """How many a file has, without keeping it; 0 if it cannot be read."""
    lines_read = Lines()
    try:
        with file.open("rb") as lines:
            return sum(lines_read.id_in(line) is not None for line in lines)
    except OSError:
        return 0


class Lines:
    """The lines of one file, in their order; the first may be headings, to find ids by."""

    def __init__(self) -> None:
        self._is_first = True
        self._column: int | None = None
        self._separator = "\t"

    def id_in(self, line: bytes) -> str | None:
        """The call's id that the next line has; None for a line without one."""
        # Windows tools begin a text file with a byte-order mark, which `strip` does not know.
        text = line.removeprefix(codecs.BOM_UTF8).decode("utf-8", "surrogateescape")
        stripped = text.strip()
        if not stripped or stripped.startswith("#"):
            return None
        if stripped.startswith("{"):
            return _from_json(stripped)
        if self._is_first:
            self._is_first = False
            if self._are_headings(text):
                return None
        if self._column is None:
            return _from_url(stripped)
        cells = self._cells(text)
        return _from_url(cells[self._column].strip()) or None if cells[self._column :] else stripped

    def _are_headings(self, text: str) -> bool:
        for self._separator in ("\t", ","):
            for column, cell in enumerate(self._cells(text)):
                if cell.strip() in HEADINGS:
                    self._column = column
                    return True
        return False

    def _cells(self, text: str) -> list[str]:
        line = text.strip("\r\n")
        if self._separator == "\t":
            return line.split("\t")
        return next(csv.reader([line.replace("\0", "")]), [])


def _from_url(text: str) -> str:
    match = _RECORDING_URL.fullmatch(text)
    return text if match is None else unquote(match["id"], errors="surrogateescape")


def _from_json(text: str) -> str | None:
    """The id in an object; None if it is about no call; the text itself if that is not known."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return text
    for key in ("call_id", "callId", "id"):
        if isinstance(found := data.get(key), str):
            return found
    inner = data.get("call", data.get("data"))
    if isinstance(inner, dict):
        return _from_json(json.dumps(inner))
    return None if data.get("event") == "summary" else text


async def _next(blocks: AsyncGenerator[bytes], file: Path) -> bytes:
    try:
        return await anext(blocks, b"")
    except OSError as error:
        raise click.BadParameter(
            f"cannot read {str(file)!r}: {error.strerror}", param_hint="--from-file"
        ) from error


async def _file_blocks(file: Path | int) -> AsyncGenerator[bytes]:
    async with aiofiles.open(file, "rb") as opened:
        while block := await opened.read(BLOCK):
            yield block


async def _stdin_blocks() -> AsyncGenerator[bytes]:
    """Standard input: a pipe is watched by the loop, so that an interrupt need not wait for it."""
    number = sys.stdin.fileno()
    mode = os.fstat(number).st_mode
    can_be_watched = stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(number)
    if not can_be_watched or sys.platform == "win32":
        async with aclosing(_file_blocks(os.dup(number))) as blocks:
            async for block in blocks:
                yield block
        return
    # Not connect_read_pipe: it makes the file non-blocking, and a terminal's output is that file.
    while True:
        await _readable(number)
        block = os.read(number, BLOCK)
        if not block:
            return
        yield block


async def _readable(number: int) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_reader(number, ready.set_result, None)
    try:
        await ready
    finally:
        loop.remove_reader(number)

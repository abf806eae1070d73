"""Call ids from arguments, from a file, or from standard input; as many as there may be."""

from __future__ import annotations

import asyncio
import codecs
import os
import stat
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path

import aiofiles

from agentphone_async.recordings.valve import Valve

BLOCK = 64 * 1024


async def call_ids(
    arguments: Sequence[str], file: Path | None, valve: Valve | None = None
) -> AsyncGenerator[str]:
    """The arguments, then the file's lines; empty lines and ``#`` comments are left out.

    The file ``-`` is standard input. It may keep one waiting for ever, but not for longer than the
    valve is open.

    Raises:
        OSError: the file cannot be read.
        LeftError: the valve was closed while more was to be read.
    """
    valve = valve or Valve()
    for call_id in arguments:
        yield call_id
    if file is None:
        return
    rest = b""
    async with aclosing(_stdin_blocks() if str(file) == "-" else _file_blocks(file)) as blocks:
        while block := await valve.through(lambda _: anext(blocks, b"")):
            # What is cut off of a line without end only makes a refused id a shorter refused id.
            *lines, rest = (rest[:BLOCK] + block).split(b"\n")
            for line in lines:
                if (found := _id_in(line)) is not None:
                    yield found
    if (found := _id_in(rest)) is not None:
        yield found


def _id_in(line: bytes) -> str | None:
    # Windows tools begin a text file with a byte-order mark, which `strip` does not know.
    text = line.removeprefix(codecs.BOM_UTF8).decode("utf-8", "surrogateescape").strip()
    return text if text and not text.startswith("#") else None


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

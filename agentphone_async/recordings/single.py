"""One recording on its own: from its call's id to its place, or to whoever reads its bytes."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import anyio

from agentphone_async.errors import (
    ConfigurationError,
    RecordingExistsError,
    RecordingGoneError,
    RecordingNotFoundError,
)
from agentphone_async.protocol import endpoints
from agentphone_async.protocol.endpoints import Request
from agentphone_async.protocol.ranges import is_whole
from agentphone_async.protocol.recording import (
    FIRST_LOOK,
    HEAD_BYTES,
    Chunk,
    Expected,
    expected_body,
    not_audio,
    refuse_other,
    refuse_size,
    short,
)
from agentphone_async.recordings.fetch import Fetched, Fetcher, settled
from agentphone_async.recordings.jobs import FIRST_POLL, LONGEST_POLL, Place, flat_target
from agentphone_async.recordings.outcomes import Recording, erased
from agentphone_async.recordings.transfer import refusal
from agentphone_async.sinks.interface import Target
from agentphone_async.transport.answer import Answer
from agentphone_async.transport.session import Session

if TYPE_CHECKING:
    from agentphone_async.sinks.interface import Sink


async def store_one(
    fetcher: Fetcher, place: Place, call_id: str, target: Target, wait: float, *, overwrite: bool
) -> Recording:
    """See `AsyncAgentPhone.fetch_recording`."""
    if await _is_erased(place, call_id):
        raise erased(call_id)
    if not overwrite:
        taken = (await place.sink.existing([target]))[0]
        if taken is not None:
            raise _exists(call_id, place.root / taken)
    fetched = await _patiently(lambda: _believed(fetcher, call_id, target), wait)
    try:
        if await _is_erased(place, call_id):  # while it came
            await place.sink.discard(fetched.ready)
            raise erased(call_id)
        stored = (await place.sink.publish([fetched.ready]))[0]
    finally:
        fetcher.budget.release(fetched.held)
    path = place.root / stored.name
    if stored.in_the_way is not None:
        raise _exists(call_id, path, stored.in_the_way)
    if not stored.new:
        raise _exists(call_id, path)
    return fetched.recording(call_id, place.root, stored)


async def _is_erased(place: Place, call_id: str) -> bool:
    return place.erased is not None and (await place.erased.look()).covers(call_id)


async def _believed(fetcher: Fetcher, call_id: str, target: Target) -> Fetched:
    """Fetch it, again if the answer turns out to be another request's."""
    while True:
        try:
            fetched = await fetcher.fetch(call_id, target)
        except RecordingNotFoundError as error:
            await settled([error.trust])
            if error.trust is None or not error.trust.distrusted:
                raise
            continue
        try:
            await settled([fetched.trust])
            if fetched.trust is None or not fetched.trust.distrusted:
                return fetched
        except BaseException:
            fetcher.budget.release(fetched.held)
            raise
        fetcher.budget.release(fetched.held)
        await fetcher.sink.discard(fetched.ready)


async def _patiently(ask: Callable[[], Awaitable[Fetched]], wait: float) -> Fetched:
    """Ask again, with growing pauses, while there is no recording and ``wait`` is not over."""
    deadline = time.monotonic() + wait
    pause = FIRST_POLL
    while True:
        try:
            return await ask()
        except RecordingNotFoundError as error:
            left = deadline - time.monotonic()
            if left <= 0 or isinstance(error, RecordingGoneError):
                raise
            asked = error.retry_after or 0.0
        await anyio.sleep(min(max(pause, asked), left))
        pause = min(pause * 1.5, LONGEST_POLL)


def where_to(
    call_id: str, dest: str | Path | Sink | None, path: str | Path | None
) -> tuple[str | Path | Sink, Target]:
    """The folder, and the name in it, from what a caller gives: one of the two.

    Raises:
        ConfigurationError: neither or both are given, ``path`` is not the path of a file, or
            ``call_id`` is not text.
    """
    if not isinstance(call_id, str):
        raise ConfigurationError(
            f"call_id is {type(call_id).__name__}; use the id, such as 'call_ghi012', and for many "
            "download_recordings"
        )
    if (dest is None) == (path is None):
        raise ConfigurationError(
            "give either dest, the folder, or path=, the file; "
            + ("neither is given" if dest is None else "both are given")
        )
    if dest is not None:
        return dest, flat_target(call_id, None)
    if not isinstance(path, str | Path):
        raise ConfigurationError(f"path is {type(path).__name__}; use the path of a file")
    file = Path(path)
    if not file.name or file.name == ".." or str(path).endswith(("/", "\\", "/.")):
        raise ConfigurationError(
            f"path is {str(path)!r}, not the path of a file; use dest for a folder"
        )
    return file.parent, Target(PurePosixPath(), file.name, extension="")


def _exists(call_id: str, path: Path, obstacle: str | None = None) -> RecordingExistsError:
    if obstacle is None:
        line = f"{path} is there already; it was kept (use overwrite=True to replace it)"
    else:
        line = (
            f"{obstacle} is in the way at {path}; it was kept: move it away, or use "
            "overwrite=True to replace it"
        )
    return RecordingExistsError(line, call_id=call_id, path=path)


async def streamed(session: Session, call_id: str) -> AsyncGenerator[bytes]:
    """See `AsyncAgentPhone.stream_recording`."""
    request = endpoints.get_recording(call_id)

    async def attempt(_: int) -> Answer:
        answer = await session.send(request, apart=True)
        if not is_whole(answer.status, answer.headers):
            async with answer:
                raise await refusal(request, answer)
        return answer

    async with await session.retrier.run(request, attempt) as answer:
        expected = expected_body(answer.headers)
        refuse_size(request, expected.length or 0, session.settings.max_file_size)
        async with aclosing(_judged(request, expected, answer)) as chunks:
            received = 0
            async for chunk in chunks:
                received += len(chunk)
                refuse_size(request, received, session.settings.max_file_size)
                yield bytes(chunk)
        if expected.length is not None and received < expected.length:
            raise short(request, received, expected.length)


async def _judged(request: Request, expected: Expected, answer: Answer) -> AsyncGenerator[Chunk]:
    """The chunks, the first ones held back until they are known to be audio."""
    head = b""
    enough = FIRST_LOOK
    async with aclosing(answer.chunks()) as chunks:
        async for chunk in chunks:
            if not enough:
                yield chunk
                continue
            head += chunk
            if len(head) >= enough:
                settled = refuse_other(request, expected, head)
                enough = 0 if settled or len(head) >= HEAD_BYTES else HEAD_BYTES
                if not enough:
                    yield head
    if enough:
        if not head:
            raise not_audio(request, expected.media_type, b"")
        refuse_other(request, expected, head)
        yield head

"""The bytes of one recording as they arrive, for those who pipe them elsewhere."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from agentphone_async.protocol import endpoints
from agentphone_async.protocol.endpoints import Request
from agentphone_async.protocol.ranges import is_whole
from agentphone_async.protocol.recording import (
    FIRST_LOOK,
    HEAD_BYTES,
    Expected,
    expected_body,
    not_audio,
    refuse_other,
    refuse_size,
    short,
)
from agentphone_async.recordings.transfer import refusal
from agentphone_async.transport.answer import Answer
from agentphone_async.transport.session import Session


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
                yield chunk
        if expected.length is not None and received < expected.length:
            raise short(request, received, expected.length)


async def _judged(request: Request, expected: Expected, answer: Answer) -> AsyncGenerator[bytes]:
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

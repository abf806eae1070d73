"""What all resources share: a session, and the way from a request to what was asked for."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

from agentphone_async.models import ApiModel, CallPage, Transcript
from agentphone_async.protocol.display import sample
from agentphone_async.protocol.endpoints import Request
from agentphone_async.protocol.responses import Reply, data_of, rows_of, transcript_of, unexpected
from agentphone_async.resources.listing import CallListing
from agentphone_async.transport.session import Session

M = TypeVar("M", bound=ApiModel)


class Resource:
    """A group of endpoints."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def _json(self, request: Request) -> dict[str, Any]:
        return data_of(request, await self._session.call(request))

    async def _model(self, kind: type[M], request: Request, **defaults: Any) -> M:
        """Ask, and make the answer a model, as `model_of` does."""
        return model_of(kind, request, await self._session.call(request), **defaults)

    def _calls(
        self, request_of: Callable[[int, int], Request], limit: int | None, offset: int
    ) -> CallListing:
        """The calls of the pages that these requests ask for, by limit and offset."""

        def page(limit: int, offset: int) -> Callable[[], Coroutine[Any, Any, CallPage]]:
            request = request_of(limit, offset)

            async def fetch() -> CallPage:
                return page_of(CallPage, request, await self._session.call(request))

            return fetch

        return CallListing(page, limit=limit, offset=offset)


def page_of(kind: type[M], request: Request, reply: Reply) -> M:
    """Make a reply a page; 204 is an empty one.

    Raises:
        ResponseError: the reply says no.
        UnexpectedResponseError: it is not a page.
    """
    return _made(kind, request, reply, rows_of(request, reply))


def model_of(kind: type[M], request: Request, reply: Reply, **defaults: Any) -> M:
    """Make a reply a model; ``defaults`` stand in for what it lacks.

    Raises:
        ResponseError: the reply says no.
        UnexpectedResponseError: it lacks what the model cannot do without.
    """
    return _made(kind, request, reply, {**defaults, **data_of(request, reply)})


def _made(kind: type[M], request: Request, reply: Reply, data: Any) -> M:
    try:
        return kind.from_json(data)
    except ValueError as problem:
        what = f"fields are missing that it always has: {sample(reply.body)}"
        raise unexpected(request, reply, what) from problem


def transcript(request: Request, reply: Reply) -> Transcript:
    """Make a reply a transcript, whichever of its shapes it has.

    Raises:
        ResponseError: the reply says no.
        UnexpectedResponseError: it is not a transcript.
    """
    return _made(Transcript, request, reply, transcript_of(request, reply))


def without_none(**fields: Any) -> dict[str, Any]:
    """The fields that were given; of mappings a copy, which JSON can be made of."""
    return {
        name: dict(value) if isinstance(value, Mapping) else value
        for name, value in fields.items()
        if value is not None
    }

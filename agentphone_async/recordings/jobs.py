"""What goes into a run of many downloads: a job for each call, with the name that it is to have."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import anyio

from agentphone_async.recordings.naming import safe_component
from agentphone_async.recordings.outcomes import Outcome
from agentphone_async.sinks.interface import Target

if TYPE_CHECKING:
    from agentphone_async.models import Call

CLOSING = 5.0
"""Seconds that the caller's iterator gets to end, when nothing more is wanted of it."""

_TOP = PurePosixPath()


@dataclass(frozen=True, slots=True)
class Job:
    """One call on its way through the stages.

    Attributes:
        call_id: whose recording.
        call: what the API says about it; None if nobody asked.
        target: the name that it is to have.
        payload: the caller's own; it comes back with the outcome.
    """

    call_id: str
    call: Call | None
    target: Target
    payload: Any = None


class Settled(NamedTuple):
    """A job, and what became of it."""

    job: Job
    outcome: Outcome


Calls: TypeAlias = "Iterable[str | Call] | AsyncIterable[str | Call]"
Jobs: TypeAlias = "Iterable[Job] | AsyncIterable[Job]"


def flat_target(call_id: str, call: Call | None) -> Target:  # noqa: ARG001 - others need the call
    """The default name: ``recording-{call_id}`` right in the destination, made safe."""
    return Target(_TOP, f"recording-{safe_component(call_id)}")


def jobs_of(calls: Calls, target_of: Callable[[str, Call | None], Target]) -> Jobs:
    """A job for each call, from an iterable or an async one, which is closed with the jobs."""

    def job_of(item: str | Call) -> Job:
        if isinstance(item, str):
            return Job(item, None, target_of(item, None))
        return Job(item.id, item, target_of(item.id, item))

    async def one_by_one(given: AsyncIterable[str | Call]) -> AsyncGenerator[Job]:
        iterator = aiter(given)
        try:
            async for item in iterator:
                yield job_of(item)
        finally:
            await close_iterator(iterator)

    if isinstance(calls, AsyncIterable):
        return one_by_one(calls)
    return map(job_of, calls)


async def close_iterator(iterator: object) -> None:
    """Close an iterator, if it can be closed, although the task may be cancelled already."""
    aclose = getattr(iterator, "aclose", None)
    if aclose is not None:
        with anyio.move_on_after(CLOSING, shield=True):
            await aclose()

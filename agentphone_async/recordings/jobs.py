"""What goes into a run of many downloads: a job for each call, with the name that it is to have."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Mapping
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import anyio

from agentphone_async.errors import ConfigurationError
from agentphone_async.recordings.naming import safe_component
from agentphone_async.recordings.outcomes import Outcome
from agentphone_async.sinks.interface import Target

if TYPE_CHECKING:
    from agentphone_async.models import Call

CLOSING = 5.0
"""Seconds that the caller's iterator gets to end, when nothing more is wanted of it."""

_TOP = PurePosixPath()


class Job(NamedTuple):
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


def seconds_of(value: object, name: str) -> float:
    """A time in seconds, from 0 on.

    Raises:
        ConfigurationError: it is not one.
    """
    if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
        return value
    raise ConfigurationError(f"{name} is {value!r}; use seconds, 0 or more")


def refuse_single(given: object, name: str, advice: str) -> None:
    """Refuse what is one thing, or iterates over something else than what is meant by many.

    Raises:
        ConfigurationError: it is text, bytes, a mapping, a model, or nothing to iterate over.
    """
    single = isinstance(given, str | bytes | bytearray | memoryview | Mapping)
    is_model = hasattr(given, "from_json")  # one call, or a page of them: its data are the calls
    if single or is_model or not isinstance(given, Iterable | AsyncIterable):
        raise ConfigurationError(f"{name} is {type(given).__name__}; {advice}")


def jobs_of(calls: Calls, target_of: Callable[[str, Call | None], Target]) -> Jobs:
    """A job for each call, from an iterable or an async one, which is closed with the jobs.

    Raises:
        ConfigurationError: ``calls`` is one thing and not many. So do the jobs for what is neither
            an id nor a `Call`.
    """
    refuse_single(calls, "calls", "use a list of ids or calls, or fetch_recording for one")

    def job_of(item: str | Call) -> Job:
        if isinstance(item, str):
            return Job(item, None, target_of(item, None))
        if not isinstance(getattr(item, "id", None), str):
            raise ConfigurationError(f"calls has {type(item).__name__}; use ids, or Call objects")
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

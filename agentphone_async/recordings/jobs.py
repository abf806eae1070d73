"""What a caller gives, made ready: a job for each call, the place where it goes, how many at once.

It is looked at before anything begins, so that what cannot be is said at once, and of the caller.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias
from urllib.parse import unquote, urlsplit

import anyio

from agentphone_async.errors import ConfigurationError, RunStoppedError
from agentphone_async.protocol.display import printable
from agentphone_async.recordings.naming import safe_component
from agentphone_async.recordings.outcomes import NoRecording, NotReadyYet, Outcome
from agentphone_async.recordings.pipeline import Closed, Queue
from agentphone_async.sinks.checked import checked
from agentphone_async.sinks.erased import IDENTITY_OBJECT, Erased, ErasedHere, ErasedInBucket
from agentphone_async.sinks.interface import Target
from agentphone_async.sinks.threads import Disk

if TYPE_CHECKING:
    from agentphone_async.models import Call
    from agentphone_async.sinks.interface import Sink
    from agentphone_async.sinks.local import Fsync

CLOSING = 5.0
"""Seconds that the caller's iterator gets to end, when nothing more is wanted of it."""

FIRST_POLL = 1.0
LONGEST_POLL = 15.0
"""Seconds between two rounds for what is not ready yet; each pause is half as long again."""

RESERVED = 24
"""Descriptors for all but connections: catalog, lock, files being written, standard streams."""

_TOP = PurePosixPath()


class Job(NamedTuple):
    """One call on its way through the stages.

    Attributes:
        call_id: whose recording.
        call: what the API says about it; None if nobody asked.
        target: the name that it is to have.
        payload: the caller's own; it comes back with the outcome.
        seconds: how long the recording is; None if nobody knows. The longest goes first.
    """

    call_id: str
    call: Call | None
    target: Target
    payload: Any = None
    seconds: float | None = None


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
        return Job(item.id, item, target_of(item.id, item), seconds=item.duration_seconds)

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


async def read_ahead(
    jobs: AsyncIterable[Job], most: int, work: Callable[[list[Job]], Awaitable[None]]
) -> None:
    """Await ``work`` for all jobs, up to ``most`` at a time, without waiting for so many.

    An iterator is closed in the end.
    """
    read = Queue[Job](most)

    async def work_on_them() -> None:
        with suppress(Closed):
            while True:
                await work(await read.drain(most))

    iterator = aiter(jobs)
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(work_on_them)
            async for job in iterator:
                await read.put(job)
            read.done()
    finally:
        await close_iterator(iterator)


async def patient(
    batches: Callable[..., AsyncGenerator[list[Settled]]],
    jobs: Jobs,
    wait: float,
    sleep: Callable[[float], Awaitable[object]] = anyio.sleep,
) -> AsyncGenerator[list[Settled]]:
    """As `Downloader.batches`; for ``wait`` seconds, what is not ready yet is asked for again.

    Calls of which nothing is known but their ids may always get a recording; so theirs count as
    not ready as long as there is time. A `RunStoppedError` of ``sleep`` ends the waiting.
    """
    deadline = time.monotonic() + wait
    pause, ask_all = FIRST_POLL, False
    while True:
        absent: list[Settled] = []
        async with aclosing(batches(jobs, ask_all=ask_all)) as settled:
            async for batch in settled:
                absent += [each for each in batch if _may_appear(each)]
                if now := [each for each in batch if not _may_appear(each)]:
                    yield now
        left = deadline - time.monotonic()
        with suppress(RunStoppedError):
            if left > 0 and absent:
                await sleep(min(pause, left))
                pause = min(pause * 1.5, LONGEST_POLL)
                jobs, ask_all = [each.job for each in absent], True
                continue
        if absent:
            yield absent
        return


def _may_appear(settled: Settled) -> bool:
    outcome = settled.outcome
    if isinstance(outcome, NoRecording):
        return settled.job.call is None and not outcome.gone
    return isinstance(outcome, NotReadyYet)


@dataclass(frozen=True, slots=True)
class Place:
    """A destination, ready for use.

    Attributes:
        sink: takes the recordings.
        root: what their paths begin with; ``Path()`` if it is not a folder.
        ours: whether `aclose` closes the sink.
        erased: of the archive that it lies in; None if its owner sees to that.
    """

    sink: Sink
    root: Path
    ours: bool = True
    erased: Erased | None = None

    async def aclose(self) -> None:
        """Discard what was begun and not published, unless the sink is the caller's own.

        No cancellation cuts that short: what our sinks do is one hop.
        """
        if self.ours:
            await self.sink.aclose()


def place_of(
    dest: str | Path | Sink,
    disk: Disk,
    *,
    fsync: Fsync,
    overwrite: bool = False,
    inline: bool = False,
) -> Place:
    """A destination from what a caller gives: a folder, a URL, or a sink.

    Args:
        dest: see above.
        disk: the threads for local files.
        fsync: when local files are forced to the disk.
        overwrite: whether files and objects are replaced.
        inline: see `LocalSink`.

    Raises:
        ConfigurationError: it is none of them.
    """
    from agentphone_async.sinks.local import LocalSink  # noqa: PLC0415 - a bucket needs none

    if isinstance(dest, str) and "://" in dest:
        if not dest.lower().startswith("file://"):
            from agentphone_async.sinks.objects import ObjectSink  # noqa: PLC0415 - optional

            objects = ObjectSink.from_url(dest, overwrite=overwrite)
            return Place(objects, Path(), erased=_erased_in(objects))
        dest = _path_in(dest)
    if not isinstance(dest, str | Path):
        return Place(checked(dest), Path(), ours=False, erased=_erased_in(dest))
    if not str(dest):
        raise ConfigurationError("dest is empty; use '.' for the current folder")
    folder = Path(dest)
    sink = LocalSink(folder, fsync=fsync, overwrite=overwrite, inline=inline, disk=disk)
    return Place(sink, folder, erased=_erased_in(sink))


def _erased_in(sink: Sink) -> Erased | None:
    """What was erased where a sink of ours stores; only its owner knows that of any other."""
    from agentphone_async.sinks.local import LocalSink  # noqa: PLC0415 - see above

    if isinstance(sink, LocalSink):
        folder = Path(os.path.realpath(sink.folder))
        for top in (folder, *folder.parents):
            if os.path.lexists(top / IDENTITY_OBJECT):  # an archive made as file:///folder
                break
        else:
            return ErasedHere(sink.folder)
        url = folder.as_uri()
    else:
        from agentphone_async.sinks.objects import ObjectSink  # noqa: PLC0415 - optional

        if not isinstance(sink, ObjectSink):
            return None
        url = sink.bucket.url
    return ErasedInBucket(url)


def _path_in(url: str) -> str:
    parts = urlsplit(url)
    if parts.netloc not in {"", "localhost"} or parts.query or parts.fragment or not parts.path:
        raise ConfigurationError(
            f"dest {printable(url, 200)} names no folder of this machine; use file:///path"
        )
    return unquote(parts.path)


def affordable(transfers: int) -> int:
    """As many transfers as there are descriptors for, at most ``transfers`` and at least 1.

    The process's own limit is raised as far as it is allowed to. Connections stay open between
    recordings; if they took all descriptors, no file could be opened, and waiting would not help.
    """
    if sys.platform == "win32":
        return transfers
    import resource  # noqa: PLC0415 - there is none on Windows

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = transfers + RESERVED
    if soft != resource.RLIM_INFINITY and soft < needed:
        raised = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
        except (OSError, ValueError):
            return max(1, soft - RESERVED)
        return max(1, min(transfers, raised - RESERVED))
    return transfers

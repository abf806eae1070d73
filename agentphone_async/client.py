"""`AsyncAgentPhone`: the API's resources and the recordings, on one session."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from datetime import timedelta
from functools import cached_property
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import TYPE_CHECKING, Literal, NoReturn, Self

import anyio

from agentphone_async.config import (
    LARGEST_RECORDING,
    RetryPolicy,
    Settings,
    Timeouts,
    from_environment,
)
from agentphone_async.errors import ConfigurationError, RecordingNotFoundError
from agentphone_async.protocol import endpoints
from agentphone_async.protocol.absence import GRACE
from agentphone_async.protocol.recording import not_audio, promise_of, refuse_size, short
from agentphone_async.protocol.responses import Reply, error_of
from agentphone_async.recordings.downloader import Calls, Downloader, flat_target, recording_of
from agentphone_async.recordings.fetch import BUDGET, Fetched, Fetcher, Progress
from agentphone_async.recordings.outcomes import Outcome, Recording
from agentphone_async.recordings.valve import Valve
from agentphone_async.sinks.interface import Target
from agentphone_async.sinks.local import Fsync, LocalSink
from agentphone_async.transport.answer import Answer
from agentphone_async.transport.budget import ByteBudget
from agentphone_async.transport.session import Session

if TYPE_CHECKING:
    from agentphone_async.models import Call
    from agentphone_async.resources.account import Account, AccountUsage
    from agentphone_async.resources.agents import Agents
    from agentphone_async.resources.calls import Calls as CallsResource
    from agentphone_async.resources.numbers import Numbers

FIRST_POLL = 1.0
LONGEST_POLL = 15.0


class AsyncAgentPhone:
    """An AgentPhone account's calls and recordings, asyncio-native.

    Use it as an async context manager; it owns one pool of connections::

        async with AsyncAgentPhone() as client:
            recording = await client.fetch_recording("call_ghi012", "recordings/")

    Args:
        api_key: the API key; by default ``AGENTPHONE_API_KEY``. Not needed for recordings, and
            never sent with one.
        base_url: where the API is; by default ``AGENTPHONE_BASE_URL``, then
            ``https://api.agentphone.ai``. ``http://`` is accepted towards loopback only.
        timeout: seconds for connecting and for each wait, as with the official SDK; instead of
            ``timeouts``. A transfer's total time is never limited.
        sub_account: scopes every request to a sub-account.
        timeouts: see `Timeouts`.
        retry: see `RetryPolicy`.
        connections: the most connections that are open at once, besides those of streams.
        tpslimit: requests per second, listing and fetching together; None for no limit.
        bwlimit: bytes per second of all answers, ``8M``, say; None for no limit.
        max_file_size: bytes beyond which a recording is refused, by default 4 GiB; None for no
            limit.
        ca_file: PEM file of certificate authorities, instead of the system's.

    Raises:
        ConfigurationError: one of these cannot work; the message says which and why.
    """

    def __init__(
        self,
        api_key: str | None = None,
        base_url: str | None = None,
        timeout: float | None = None,
        *,
        sub_account: str | None = None,
        timeouts: Timeouts | None = None,
        retry: RetryPolicy | None = None,
        connections: int = 64,
        tpslimit: float | None = None,
        bwlimit: str | None = None,
        max_file_size: int | None = LARGEST_RECORDING,
        ca_file: str | None = None,
    ) -> None:
        if timeout is not None:
            if timeouts is not None:
                raise ConfigurationError("timeout and timeouts are both given; use one of them")
            timeouts = Timeouts.of(timeout)
        key, url = from_environment(api_key, base_url)
        self.settings = Settings(
            api_key=key,
            base_url=url,
            sub_account=sub_account,
            timeouts=timeouts or Timeouts(),
            retry=retry or RetryPolicy(),
            connections=connections,
            tpslimit=tpslimit,
            bwlimit=bwlimit,
            max_file_size=max_file_size,
            ca_file=ca_file,
        )
        self.session = Session(self.settings)
        self._budget = ByteBudget(BUDGET)

    def __repr__(self) -> str:
        return f"<AsyncAgentPhone {self.settings.base_url}>"

    def __enter__(self) -> NoReturn:
        raise TypeError(
            "this client is asynchronous: write 'async with' in an 'async def', and run that with "
            "asyncio.run(...); for a program without asyncio see docs/howto/migrate.md"
        )

    def __exit__(self, *_: object) -> None:
        """Never reached, since ``__enter__`` refuses; Python looks for it first."""

    async def __aenter__(self) -> Self:
        self.session.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    @property
    def base_url(self) -> str:
        """Where the API is, without a slash at the end."""
        return self.settings.base_url

    # The resources are made on use: who only fetches recordings needs no models of the API, whose
    # import takes as long as everything else here.

    @cached_property
    def calls(self) -> CallsResource:
        """List, get, make and end calls; transcripts."""
        from agentphone_async.resources.calls import Calls  # noqa: PLC0415 - see above

        return Calls(self.session)

    @cached_property
    def numbers(self) -> Numbers:
        """The account's phone numbers, and the calls of one."""
        from agentphone_async.resources.numbers import Numbers  # noqa: PLC0415 - see above

        return Numbers(self.session)

    @cached_property
    def agents(self) -> Agents:
        """The account's agents, and the calls of one."""
        from agentphone_async.resources.agents import Agents  # noqa: PLC0415 - see above

        return Agents(self.session)

    @cached_property
    def usage(self) -> AccountUsage:
        """How much of the account's plan is used; how many calls there are."""
        from agentphone_async.resources.account import AccountUsage  # noqa: PLC0415 - see above

        return AccountUsage(self.session)

    @cached_property
    def account(self) -> Account:
        """Paid add-ons."""
        from agentphone_async.resources.account import Account  # noqa: PLC0415 - see above

        return Account(self.session)

    async def aclose(self) -> None:
        """Close all connections. Closing twice is fine."""
        await self.session.aclose()

    async def close(self) -> None:
        """`aclose`, under the official SDK's name."""
        await self.aclose()

    async def fetch_recording(
        self,
        call_id: str,
        dest: str | Path,
        *,
        wait: float = 0.0,
        overwrite: bool = False,
        progress: Progress | None = None,
    ) -> Recording:
        """Bring one recording to disk, verified, and visible only when whole.

        Args:
            call_id: the call.
            dest: an existing folder, or one named with a trailing slash, where the file becomes
                ``recording-{call_id}.wav`` (``.mp3`` for MPEG audio); or the file's own path.
            wait: seconds to go on asking, with growing pauses, while there is no recording: for
                a call that has only just ended.
            overwrite: replace a file that is there; in one rename, too.
            progress: told the number of bytes as they arrive.

        Raises:
            RecordingNotFoundError: there is no recording, not even after ``wait``.
            FileExistsError: a file is there already; it was kept, and nothing was fetched.
            RecordingError: what came is no whole recording; nothing was kept.
            DestinationError: the disk is full, read-only or not permitted.
            TransportError, ResponseError: no recording could be had after all attempts.
        """
        folder, target = _where_to(call_id, dest)
        sink = LocalSink(folder, fsync=Fsync.EACH, overwrite=overwrite)
        fetcher = self._fetcher(sink, progress, self._budget)
        try:
            if not overwrite:
                taken = (await sink.existing([target]))[0]
                if taken is not None:
                    raise FileExistsError(f"{folder / taken} is there already; it was kept")
            fetched = await _patiently(lambda: fetcher.fetch(call_id, target), wait)
            try:
                stored = (await sink.publish([fetched.ready]))[0]
            finally:
                fetcher.release(fetched)
            if not stored.new:
                raise FileExistsError(f"the file in {folder} has appeared meanwhile; it was kept")
        finally:
            await sink.aclose()
        return recording_of(call_id, folder, fetched, stored)

    async def stream_recording(self, call_id: str) -> AsyncGenerator[bytes]:
        """The bytes of a recording as they arrive, for those who pipe them elsewhere.

        Each has a connection of its own, since nobody knows how slowly they are piped.

        What is transient is tried again until the first byte is yielded, and not afterwards. The
        length is verified at the end, the structure is not.

        Raises:
            RecordingNotFoundError: there is none, or none yet.
            NotAudioError: the answer is no audio.
            TruncatedRecordingError, TransportError: it broke off; what was yielded is a part.
        """
        request = endpoints.get_recording(call_id)

        async def attempt(_: int) -> Answer:
            answer = await self.session.send(request, apart=True)
            if answer.status != 200:
                async with answer:
                    reply = Reply(answer.status, answer.headers, await answer.beginning())
                raise error_of(request, reply)
            return answer

        async with await self.session.retrier.run(request, attempt) as answer:
            promise = promise_of(answer.headers)
            refuse_size(request, promise.length or 0, self.settings.max_file_size)
            if not promise.may_be_audio:
                raise not_audio(request, promise.media_type, await answer.beginning(512))
            received = 0
            async with aclosing(answer.chunks()) as chunks:
                async for chunk in chunks:
                    received += len(chunk)
                    refuse_size(request, received, self.settings.max_file_size)
                    yield chunk
            if promise.length is not None and received < promise.length:
                raise short(request, received, promise.length)

    async def download_recordings(
        self,
        calls: Calls,
        dest: str | Path,
        *,
        concurrency: int | Literal["auto"] = 16,
        grace: timedelta = GRACE,
        fsync: Fsync = Fsync.BATCH,
        target_of: Callable[[str, Call | None], Target] = flat_target,
        progress: Progress | None = None,
        valve: Valve | None = None,
        own_loop: bool = False,
    ) -> AsyncGenerator[Outcome]:
        """Bring many recordings into a folder; yield what became of each, as they settle.

        Memory does not grow with their number; ``calls`` may be infinite. Leaving the loop ends
        the work and leaves no partial file; wrap it in ``contextlib.aclosing`` to be sure that
        this has happened when the next line runs.

        Args:
            calls: ids or `Call` objects, from any iterable or async iterable.
            dest: the folder; made if it is not there, with mode 0700.
            concurrency: transfers at a time, at least 1; ``"auto"`` finds out how many are best,
                and keeps to that for everything else that this client does, too.
            grace: how long after a call's end a 404 is `NotReadyYet` instead of `NoRecording`;
                for an id without a `Call` it is always the latter.
            fsync: when bytes are forced to the disk; always before a file is visible, unless off.
            target_of: names a call's file; by default ``recording-{call_id}``.
            progress: told the number of bytes as they arrive.
            valve: ends it gently: once it is closed, nothing more begins, and every call that was
                read and not fetched is `Failed` with a ``LeftError``. Reading ``calls`` goes on.
            own_loop: whether nothing else runs in this event loop, as in a script. Small files are
                then written right in it, which costs less than handing them to a thread; never if
                the disk is slow, and syncing never.

        Raises:
            DestinationError: the disk failed; what was yielded before is safe.
            ValueError: ``concurrency`` is below 1.
        """
        folder = Path(dest)
        sink = LocalSink(folder, fsync=fsync, own_loop=own_loop)
        workers = self.workers(concurrency)
        downloader = Downloader(
            self._fetcher(sink, progress),
            folder,
            workers,
            target_of=target_of,
            grace=grace,
            valve=valve,
        )
        async with aclosing(downloader.batches(calls)) as batches:
            async for batch in batches:
                for outcome in batch:
                    yield outcome

    def workers(self, concurrency: int | Literal["auto"]) -> int:
        """How many workers are of use for ``concurrency``; ``"auto"`` begins to adapt."""
        if concurrency != "auto":
            return concurrency
        self.session.limits.adapt()
        return self.session.limits.max_concurrency

    def _fetcher(
        self, sink: LocalSink, progress: Progress | None, budget: ByteBudget | None = None
    ) -> Fetcher:
        return Fetcher(
            self.session,
            sink,
            budget=budget,
            max_file_size=self.settings.max_file_size,
            progress=progress,
        )


async def fetch_recording(
    call_id: str,
    dest: str | Path,
    *,
    wait: float = 0.0,
    overwrite: bool = False,
    base_url: str | None = None,
) -> Recording:
    """Bring one recording to disk without a client of your own.

    No API key is needed. For more than a few, make one `AsyncAgentPhone` and use its method of the
    same name, which says what the arguments mean and what is raised.
    """
    async with AsyncAgentPhone(base_url=base_url) as client:
        return await client.fetch_recording(call_id, dest, wait=wait, overwrite=overwrite)


def _where_to(call_id: str, dest: str | Path) -> tuple[Path, Target]:
    path = Path(dest)
    if path.is_dir() or str(dest).endswith(("/", "\\")):
        return path, flat_target(call_id, None)
    return path.parent, Target(PurePosixPath(), path.name, extension="")


async def _patiently(ask: Callable[[], Awaitable[Fetched]], wait: float) -> Fetched:
    """Ask again, with growing pauses, while there is no recording and ``wait`` is not over."""
    deadline = time.monotonic() + wait
    pause = FIRST_POLL
    while True:
        try:
            return await ask()
        except RecordingNotFoundError:
            left = deadline - time.monotonic()
            if left <= 0:
                raise
        await anyio.sleep(min(pause, left))
        pause = min(pause * 1.5, LONGEST_POLL)

"""`AsyncAgentPhone`: the API's resources and the recordings, on one session."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from ssl import SSLContext
from typing import TYPE_CHECKING, Literal, NoReturn, Self

from anyio.abc import AsyncResource

from agentphone_async.config import (
    LARGEST_RECORDING,
    RetryPolicy,
    Settings,
    Timeouts,
    from_environment,
)
from agentphone_async.errors import ConfigurationError
from agentphone_async.recordings.downloader import Downloader
from agentphone_async.recordings.fetch import BUDGET, Fetcher, Progress
from agentphone_async.recordings.jobs import (
    Calls,
    Place,
    affordable,
    flat_target,
    jobs_of,
    patient,
    place_of,
    seconds_of,
)
from agentphone_async.recordings.outcomes import GRACE, Outcome, Recording
from agentphone_async.recordings.single import store_one, streamed, where_to
from agentphone_async.sinks.interface import Sink, Target
from agentphone_async.sinks.local import Fsync
from agentphone_async.sinks.threads import Disk
from agentphone_async.transport.adaptive import MOST
from agentphone_async.transport.budget import Budget
from agentphone_async.transport.session import Session

if TYPE_CHECKING:
    from agentphone_async.models import Call
    from agentphone_async.resources.account import Account, AccountUsage, Agents, Numbers
    from agentphone_async.resources.calls import Calls as CallsResource


class AsyncAgentPhone(AsyncResource):
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
        connections: the most connections that are open at once, besides those of streams; by
            default 64, and as many as are of use, up to 256, while recordings are downloaded with
            ``concurrency="auto"``.
        tpslimit: requests per second, listing and fetching together; None for no limit.
        bwlimit: bytes per second of all answers, ``8M``, say; None for no limit.
        max_file_size: bytes beyond which a recording is refused, by default 4 GiB; None for no
            limit.
        ca_file: PEM file of certificate authorities, in addition to the system's.
        proxy: URL of an HTTP proxy; by default what ``HTTPS_PROXY`` and ``NO_PROXY`` say.
        ssl: an ``ssl.SSLContext`` of your own.
        headers: more headers for every request to the API, never for where it redirects.
        allow_http: permits ``http://`` beyond loopback, and refuses live keys there.

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
        connections: int | None = None,
        tpslimit: float | None = None,
        bwlimit: str | None = None,
        max_file_size: int | None = LARGEST_RECORDING,
        ca_file: str | None = None,
        proxy: str | None = None,
        ssl: SSLContext | None = None,
        headers: Mapping[str, str] | None = None,
        allow_http: bool = False,
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
            proxy=proxy,
            ssl=ssl,
            headers=dict(headers or {}),
            allow_http=allow_http,
        )
        self.session = Session(self.settings)
        self._budget = Budget(BUDGET)
        self._disk = Disk()

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
        from agentphone_async.resources.account import Numbers  # noqa: PLC0415 - see above

        return Numbers(self.session)

    @cached_property
    def agents(self) -> Agents:
        """The account's agents, and the calls of one."""
        from agentphone_async.resources.account import Agents  # noqa: PLC0415 - see above

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
        try:
            await self.session.aclose()
        finally:
            self._disk.close()

    async def close(self) -> None:
        """`aclose`, under the official SDK's name."""
        await self.aclose()

    async def fetch_recording(
        self,
        call_id: str,
        dest: str | Path | Sink | None = None,
        *,
        path: str | Path | None = None,
        wait: float = 0.0,
        overwrite: bool = False,
        progress: Progress | None = None,
    ) -> Recording:
        """Store one recording, verified, and visible only when whole.

        Args:
            call_id: the call.
            dest: the folder, made if it is not there, where the file becomes
                ``recording-{call_id}`` with the extension of what it is (``.wav``, ``.mp3``,
                ``.flac`` …); or a URL (``file://``, ``s3://``, ``gs://``, ``az://``) or a `Sink`.
            path: the file's own path, instead of ``dest``.
            wait: seconds to ask again, with growing pauses, while there is no recording: for
                a call that has only just ended.
            overwrite: replace a file that is there, at once. A `Sink` of your own decides itself.
            progress: told the number of bytes as they arrive.

        Raises:
            RecordingNotFoundError: there is no recording, not even after ``wait``.
            RecordingExistsError: a file is there already; it was kept, and nothing was fetched.
            RecordingErasedError: the call was erased for good from the archive that this folder is,
                or lies in.
            RecordingError: what came is not a whole recording; nothing was kept.
            DestinationError: the disk is full, read-only or not permitted.
            TransportError, ResponseError: no recording could be fetched after all attempts.
            ConfigurationError: neither or both of ``dest`` and ``path`` are given, or ``dest``
                cannot be one.
        """
        self.session.ready()
        wait = seconds_of(wait, "wait")
        folder, target = where_to(call_id, dest, path)
        async with aclosing(self.place(folder, fsync=Fsync.EACH, overwrite=overwrite)) as place:
            fetcher = Fetcher(
                self.session, place.sink, self._budget, self.settings.max_file_size, progress
            )
            return await store_one(fetcher, place, call_id, target, wait, overwrite=overwrite)

    async def stream_recording(self, call_id: str) -> AsyncGenerator[bytes]:
        """The bytes of a recording as they arrive, for those who pipe them elsewhere.

        Each has a connection of its own, since nobody knows how slowly they are piped.

        What is transient is tried again until the first byte is yielded, and not afterwards. The
        length is verified at the end, the structure is not.

        Raises:
            RecordingNotFoundError: there is none, or none yet.
            NotAudioError: the answer is not audio.
            TruncatedRecordingError, TransportError: it broke off; what was yielded is a part.
        """
        async with aclosing(streamed(self.session, call_id)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def download_recordings(
        self,
        calls: Calls,
        dest: str | Path | Sink,
        *,
        concurrency: int | Literal["auto"] = "auto",
        wait: float = 0.0,
        overwrite: bool = False,
        grace: timedelta = GRACE,
        fsync: Fsync = Fsync.BATCH,
        target_of: Callable[[str, Call | None], Target] = flat_target,
        progress: Progress | None = None,
    ) -> AsyncGenerator[Outcome]:
        """Store many recordings; yield what became of each, as they settle.

        Memory does not grow with their number; ``calls`` may be infinite. Leaving the loop ends
        the work and leaves no partial file; wrap it in ``contextlib.aclosing`` to be sure that
        this has happened when the next line runs.

        Args:
            calls: ids or `Call` objects from any iterable, async or not; closed with the loop.
            dest: the folder, made if it is not there, with mode 0700; or a URL (``file://``,
                ``s3://``, ``gs://``, ``az://``) or a `Sink`.
            concurrency: transfers at a time; ``"auto"`` finds out how many are best, up to 256 or
                what ``connections`` and file descriptors allow, for all that this client does.
            wait: seconds to ask again, with growing pauses, for recordings that are not ready
                yet when all others are settled. Their ids are kept in memory until then.
            overwrite: fetch and replace what is there. A `Sink` of your own decides itself.
            grace: how long after a call's end a 404 is `NotReadyYet` instead of `NoRecording`;
                for an id without a `Call` it is always the latter, unless you ``wait``.
            fsync: when bytes are forced to the disk; always before a file is visible, unless off.
            target_of: names a call's file; by default ``recording-{call_id}``.
            progress: told the number of bytes as they arrive.

        Raises:
            DestinationError: the disk failed; what was yielded before is safe.
            ConfigurationError: an argument cannot be; the message says which, and what to use.
        """
        self.session.ready()
        jobs = jobs_of(calls, target_of)
        wait = seconds_of(wait, "wait")
        async with aclosing(place_of(dest, self._disk, fsync=fsync, overwrite=overwrite)) as place:
            batches = self.downloader(
                place, concurrency, grace=grace, skip_existing=not overwrite, progress=progress
            ).batches
            rounds = patient(batches, jobs, wait) if wait > 0 else batches(jobs)
            async with aclosing(rounds):
                async for batch in rounds:
                    for _, outcome in batch:
                        yield outcome

    def downloader(
        self,
        place: Place,
        concurrency: int | Literal["auto"] = "auto",
        *,
        grace: timedelta = GRACE,
        skip_existing: bool = True,
        max_file_size: int | None = None,
        progress: Progress | None = None,
    ) -> Downloader:
        """What `download_recordings` is made of, for those who stop it or name what they get.

        It shares this client's limits, connections and memory; ``place`` is closed by who made it.

        Raises:
            ConfigurationError: ``concurrency`` is not possible.
        """
        most = max_file_size or self.settings.max_file_size
        return Downloader(
            Fetcher(self.session, place.sink, self._budget, most, progress),
            place.root,
            self.workers(concurrency),
            grace=grace,
            skip_existing=skip_existing,
            erased=place.erased,
        )

    def place(
        self,
        dest: str | Path | Sink,
        *,
        fsync: Fsync = Fsync.BATCH,
        overwrite: bool = False,
        inline: bool = False,
    ) -> Place:
        """A destination with this client's threads: a folder, a URL, or a sink as it is."""
        return place_of(dest, self._disk, fsync=fsync, overwrite=overwrite, inline=inline)

    def workers(self, concurrency: int | Literal["auto"]) -> int:
        """How many workers are of use for ``concurrency``; ``"auto"`` begins to adapt.

        Raises:
            ConfigurationError: it is below 1, or there are not so many file descriptors.
        """
        limits = self.session.limits
        if concurrency == "auto":
            chosen = self.settings.connections
            limits.adapt(affordable(MOST) if chosen is None else None)
            return min(limits.max_concurrency, affordable(limits.max_concurrency))
        count: object = concurrency
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise ConfigurationError(f"concurrency is {count!r}; use 'auto', or 1 or more")
        most = affordable(count)
        if most < count:
            raise ConfigurationError(
                f"concurrency is {count}, and there are file descriptors for {most} "
                "transfers; raise 'ulimit -n' or use fewer"
            )
        limits.grow(count)
        return count


async def fetch_recording(
    call_id: str,
    dest: str | Path | Sink | None = None,
    *,
    path: str | Path | None = None,
    wait: float = 0.0,
    overwrite: bool = False,
    base_url: str | None = None,
) -> Recording:
    """Store one recording without a client of your own.

    No API key is needed. For more than a few, make one `AsyncAgentPhone` and use its method of the
    same name, which says what the arguments mean and what is raised.
    """
    async with AsyncAgentPhone(base_url=base_url) as client:
        return await client.fetch_recording(
            call_id, dest, path=path, wait=wait, overwrite=overwrite
        )

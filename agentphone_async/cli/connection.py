"""Where the API is, who asks, and how hard the network is used; see `options` for the options."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from agentphone_async.client import AsyncAgentPhone
    from agentphone_async.recordings.fetch import Progress
    from agentphone_async.recordings.jobs import Calls, Place, Settled
    from agentphone_async.recordings.outcomes import Outcome
    from agentphone_async.recordings.stop import StopToken
    from agentphone_async.sinks.local import Fsync


@dataclass(frozen=True, slots=True)
class Connection:
    """What the options said."""

    base_url: str | None
    api_key_file: Path | None
    sub_account: str | None
    ca_file: Path | None
    retries: int
    retry_time: float
    max_wait: float = 3600.0
    proxy: str | None = None
    header: tuple[str, ...] = ()
    allow_http: bool = False

    def client(self, *, key_needed: bool = True, **more: Any) -> AsyncAgentPhone:
        """A client that is not yet open.

        Raises:
            ConfigurationError: the key is needed and missing, or something cannot work.
        """
        from agentphone_async.client import AsyncAgentPhone
        from agentphone_async.config import RetryPolicy
        from agentphone_async.errors import MissingKeyError

        client = AsyncAgentPhone(
            self.key(),
            base_url=self.base_url,
            sub_account=self.sub_account,
            ca_file=None if self.ca_file is None else str(self.ca_file),
            retry=RetryPolicy(
                attempts=self.retries + 1, total=self.retry_time, longest_wait=self.max_wait
            ),
            proxy=self.proxy,
            headers=self._headers(),
            allow_http=self.allow_http,
            **more,
        )
        if key_needed and client.settings.api_key is None:
            raise MissingKeyError(
                "no API key; set AGENTPHONE_API_KEY or use --api-key-file FILE (never a flag, "
                "because flags can be read by every user of this machine)"
            )
        return client

    def _headers(self) -> dict[str, str]:
        from agentphone_async.errors import ConfigurationError

        lines: list[str] = []
        for given in self.header:
            if not given.startswith("@"):
                lines.append(given)
                continue
            try:
                text = Path(given[1:]).expanduser().read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigurationError(f"cannot read headers from {given[1:]!r}") from error
            lines += [line for line in text.splitlines() if line.strip()]
        pairs = [line.partition(":") for line in lines]
        if not all(name.strip() and colon for name, colon, _ in pairs):
            # The value may be a secret, and is not shown.
            raise ConfigurationError("a header is not 'NAME: VALUE'; write it like 'X-Team: calls'")
        return {name.strip(): value.strip() for name, _, value in pairs}

    def key(self) -> str | None:
        """The key in the file that was named; None if none was."""
        from agentphone_async.errors import ConfigurationError

        if self.api_key_file is None:
            return None
        try:
            with self.api_key_file.open(encoding="utf-8") as file:
                key = file.read(4096).strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not text"
            raise ConfigurationError(
                f"cannot read the API key from {str(self.api_key_file)!r}: {reason}"
            ) from error
        if not key:
            raise ConfigurationError(f"the API key file {str(self.api_key_file)!r} is empty")
        return key


def connection_of(**said: Any) -> Connection:
    """What the options said, in a process that is going to use it."""
    _import_transport()
    return Connection(**said)


def _import_transport() -> None:
    """Import what speaks HTTP, and read no certificate authorities meanwhile.

    aiohttp makes two TLS contexts when it is imported, which takes a fifth of a start; a `Session`
    makes its own where there is TLS.
    """
    named = os.environ.get("SSL_CERT_FILE")
    os.environ["SSL_CERT_FILE"] = os.devnull
    try:
        import agentphone_async.transport.session  # noqa: F401
    finally:
        del os.environ["SSL_CERT_FILE"]
        if named is not None:
            os.environ["SSL_CERT_FILE"] = named


@dataclass(frozen=True, slots=True)
class Transfers:
    """What the options said."""

    count: int | Literal["auto"]
    tpslimit: float | None
    bwlimit: str | None
    sync: str

    @property
    def fsync(self) -> Fsync:
        """When bytes are forced to the disk."""
        from agentphone_async.sinks.local import Fsync

        return Fsync(self.sync)

    def downloads(
        self,
        client: AsyncAgentPhone,
        calls: Calls,
        dest: Path | str,
        progress: Progress,
        stop: StopToken,
        wait: float,
        pausing: Callable[[], None],
    ) -> AsyncGenerator[Outcome]:
        """What becomes of each call; to be closed when it is left early.

        The token stops it gently. What is not ready yet is asked for again for ``wait`` seconds;
        ``pausing`` is told before each pause.
        """
        import anyio

        from agentphone_async.recordings.jobs import flat_target, jobs_of, patient

        place = client.place(dest, fsync=self.fsync, inline=True)
        downloader = client.downloader(place, self.count, progress=progress)
        stop.watch(downloader)

        async def pause(seconds: float) -> None:
            pausing()
            await stop.through(lambda _: anyio.sleep(seconds))

        jobs, batches = jobs_of(calls, flat_target), downloader.batches
        rounds = patient(batches, jobs, wait, pause) if wait > 0 else batches(jobs)
        return _outcomes(place, rounds)

    def client(self, connection: Connection, **more: Any) -> AsyncAgentPhone:
        """A client with these limits; see `Connection.client`."""
        # The pool is as large as the number of transfers, so that none waits for a connection.
        connections = None if self.count == "auto" else max(64, self.count)
        return connection.client(
            tpslimit=self.tpslimit, bwlimit=self.bwlimit, connections=connections, **more
        )


async def _outcomes(
    place: Place, batches: AsyncGenerator[list[Settled]]
) -> AsyncGenerator[Outcome]:
    async with aclosing(place), aclosing(batches):
        async for batch in batches:
            for _, outcome in batch:
                yield outcome

"""How hard the network and the disk are used: the same options for every command that fetches."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from agentphone_async.cli.options import Function, add_options
from agentphone_async.cli.param_types import Finite

if TYPE_CHECKING:
    from agentphone_async.cli.connection import Connection
    from agentphone_async.client import AsyncAgentPhone
    from agentphone_async.recordings.downloader import Calls
    from agentphone_async.recordings.fetch import Progress
    from agentphone_async.recordings.outcomes import Outcome
    from agentphone_async.recordings.valve import Valve
    from agentphone_async.sinks.local import Fsync


class Count(click.ParamType):  # type: ignore[type-arg]  # generic in new clicks only
    """A number of transfers, or ``auto``."""

    name = "count"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:  # noqa: ARG002
        """How help shows it."""
        return "N|auto"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | Literal["auto"]:
        """Parse it, or fail with one line."""
        if value == "auto":
            return "auto"
        if not str(value).isascii() or not str(value).isdecimal() or not 1 <= int(value) <= 256:
            self.fail(f"{value!r} is neither auto nor a number from 1 to 256", param, ctx)
        return int(value)


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
        dest: Path,
        progress: Progress,
        valve: Valve,
    ) -> AsyncGenerator[Outcome]:
        """What becomes of each call; to be closed when it is left early.

        The valve ends it gently; see `AsyncAgentPhone.download_recordings`.
        """
        return client.download_recordings(
            calls,
            dest,
            concurrency=self.count,
            fsync=self.fsync,
            progress=progress,
            valve=valve,
            own_loop=True,
        )

    def client(self, connection: Connection, **more: Any) -> AsyncAgentPhone:
        """A client with these limits; see `Connection.client`."""
        # The pool is as large as the number of transfers, so that none waits for a connection.
        connections = 64 if self.count == "auto" else max(64, self.count)
        return connection.client(
            tpslimit=self.tpslimit, bwlimit=self.bwlimit, connections=connections, **more
        )


def transfer_options(command: Function) -> Function:
    """Add the options; the command gets them as one ``transfers`` argument."""
    import functools

    @functools.wraps(command)
    def with_transfers(
        *args: Any,
        transfers: int | Literal["auto"],
        tpslimit: float | None,
        bwlimit: str | None,
        fsync: str,
        **kwargs: Any,
    ) -> Any:
        return command(*args, transfers=Transfers(transfers, tpslimit, bwlimit, fsync), **kwargs)

    return add_options(
        with_transfers,
        click.option(
            "--transfers",
            type=Count(),
            default="auto",
            show_default=True,
            help="Recordings fetched at a time; auto finds out how many are best.",
        ),
        click.option(
            "--tpslimit",
            type=Finite(1e-3, 1e6),
            metavar="N",
            help="Requests per second, listing and fetching together.",
        ),
        click.option(
            "--bwlimit",
            metavar="RATE",
            help="Bytes per second, such as 8M; or a timetable: '08:00,512k 18:00,off'.",
        ),
        click.option(
            "--fsync",
            type=click.Choice(["batch", "each", "off"]),
            default="batch",
            show_default=True,
            help="When bytes are forced to the disk.",
        ),
    )

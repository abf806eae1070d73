"""Where recordings go, and how many at a time this process has file descriptors for."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from agentphone_async.errors import ConfigurationError
from agentphone_async.protocol.display import printable
from agentphone_async.sinks.erased import ErasedHere
from agentphone_async.sinks.threads import wait_uncancelled

if TYPE_CHECKING:
    from agentphone_async.sinks.interface import Sink
    from agentphone_async.sinks.local import Fsync
from agentphone_async.sinks.shared import Disk

RESERVED = 24
"""Descriptors for all but connections: catalog, lock, files being written, standard streams."""


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
    erased: ErasedHere | None = None

    async def aclose(self) -> None:
        """Discard what was begun and not published, unless the sink is the caller's own.

        No cancellation cuts that short.
        """
        if self.ours:
            ending = asyncio.ensure_future(self.sink.aclose())
            await wait_uncancelled(ending)
            ending.result()


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
        overwrite: whether local files are replaced.
        inline: see `LocalSink`.

    Raises:
        ConfigurationError: it is none of them.
    """
    from agentphone_async.sinks.local import LocalSink  # noqa: PLC0415 - a bucket needs none

    if isinstance(dest, str) and "://" in dest:
        if not dest.lower().startswith("file://"):
            from agentphone_async.sinks.objects import ObjectSink  # noqa: PLC0415 - optional

            return Place(ObjectSink.from_url(dest), Path())
        dest = _path_in(dest)
    if not isinstance(dest, str | Path):
        if not hasattr(dest, "publish"):
            raise ConfigurationError(
                f"dest is {type(dest).__name__}; use a folder, a URL such as s3://bucket, or a Sink"
            )
        folder = dest.folder if isinstance(dest, LocalSink) else None
        erased = None if folder is None else ErasedHere(folder)
        return Place(dest, Path(), ours=False, erased=erased)
    if not str(dest):
        raise ConfigurationError("dest is empty; use '.' for the current folder")
    folder = Path(dest)
    sink = LocalSink(folder, fsync=fsync, overwrite=overwrite, inline=inline, disk=disk)
    return Place(sink, folder, erased=ErasedHere(folder))


def _path_in(url: str) -> str:
    parts = urlsplit(url)
    if parts.netloc not in {"", "localhost"} or parts.query or parts.fragment or not parts.path:
        raise ConfigurationError(
            f"dest {printable(url, 200)} names no folder of this machine; use file:///path"
        )
    return unquote(parts.path)


def checked(concurrency: object) -> int:
    """A number of transfers at a time, as it is.

    Raises:
        ConfigurationError: it is not a number from 1 on, or there are not so many descriptors.
    """
    if not isinstance(concurrency, int) or isinstance(concurrency, bool) or concurrency < 1:
        raise ConfigurationError(f"concurrency is {concurrency!r}; use 'auto', or 1 or more")
    most = affordable(concurrency)
    if most < concurrency:
        raise ConfigurationError(
            f"concurrency is {concurrency}, and there are file descriptors for {most} "
            "transfers; raise 'ulimit -n' or use fewer"
        )
    return concurrency


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

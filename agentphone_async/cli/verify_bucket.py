"""``agentphone-async verify`` of an archive in a bucket."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from agentphone_async.archive.bucket import check
from agentphone_async.archive.bucket.archive import BucketArchive
from agentphone_async.cli.connection import Connection

if TYPE_CHECKING:
    from agentphone_async.archive.verification.hasher import Finding
    from agentphone_async.archive.verification.verify import VerifyReport
    from agentphone_async.cli.verify import Teller


class Limits(NamedTuple):
    """How much is asked for."""

    deep: bool
    threads: int | None
    transfers: int


def archive_of(dest: str, cache: Path | None) -> BucketArchive:
    """The archive at a URL."""
    return BucketArchive(dest, cache)


async def verify(archive: BucketArchive, teller: Teller, limits: Limits) -> VerifyReport:
    """Compare all objects with the manifests."""
    return await check.verify(
        archive,
        deep=limits.deep,
        threads=limits.threads,
        found=teller.found,
        progress=teller.progress,
    )


async def accept(archive: BucketArchive, call_ids: tuple[str, ...]) -> list[Finding]:
    """Accept what is wrong with some calls."""
    return await check.accept(archive, call_ids)


async def repair(
    archive: BucketArchive, connection: Connection, teller: Teller, limits: Limits
) -> VerifyReport:
    """Fetch again what is missing or bad."""
    from agentphone_async.archive.bucket import repair

    async with connection.client(key_needed=False) as client:
        return await repair.repair(
            archive,
            client,
            deep=limits.deep,
            threads=limits.threads,
            transfers=limits.transfers,
            settled=teller.settled,
            progress=teller.progress,
        )

"""What `check.verify` finds in a bucket, fetched again; what was wrong is kept aside."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePosixPath

from agentphone_async.archive.bucket.archive import BucketArchive
from agentphone_async.archive.bucket.check import Checker, Progress
from agentphone_async.archive.bucket.store import ASIDE, Store
from agentphone_async.archive.catalog.database import Catalog
from agentphone_async.archive.repair import Repaired, Repairer
from agentphone_async.archive.verify import Finding, VerifyReport
from agentphone_async.client import AsyncAgentPhone
from agentphone_async.sinks.erased import id_hash
from agentphone_async.sinks.local import Fsync


async def repair(
    archive: BucketArchive,
    client: AsyncAgentPhone,
    *,
    deep: bool = False,
    threads: int | None = None,
    transfers: int = 8,
    settled: Callable[[Repaired], None] | None = None,
    progress: Progress | None = None,
) -> VerifyReport:
    """`check.verify`, and fetch again what is missing, altered or suspect.

    A bad object is copied to ``_catalog/aside/`` when its replacement has arrived whole, and only
    then the replacement gets its name. Unknown objects are left alone.

    Raises:
        CatalogError: there is no archive.
        DestinationError: the bucket failed.
    """
    report = VerifyReport()
    checker = Checker(archive.bucket, deep=deep, threads=threads)
    async with archive.opened_existing():
        key = await archive.do(lambda store: store.key)
        async with (
            await Catalog.open(archive.cache) as catalog,
            _Repairer(archive, key, catalog, client, transfers) as repairer,
        ):
            findings = checker.findings(archive, report, progress)
            await repairer.repair_all(findings, report, settled)
        await archive.do(Store.push)
    return report


class _Repairer(Repairer):
    """Puts findings right in a bucket."""

    def __init__(
        self,
        archive: BucketArchive,
        key: bytes,
        catalog: Catalog,
        client: AsyncAgentPhone,
        transfers: int,
    ) -> None:
        super().__init__(archive.cache, catalog, client, transfers, Fsync.OFF, archive.files)
        self._bucket = archive.bucket
        self._key = key

    def _quarantine(self, finding: Finding) -> PurePosixPath | None:
        """Copy what lies at a finding's place, and free the name."""
        path = finding.path.as_posix()
        head = self._bucket.head(path)
        if head is None or finding.file is None:
            return None
        what = "suspect" if finding.kind == "suspect" else "altered"
        name = f"{finding.path.name}.{what}-{self._bucket.sha256(path)[:8]}"
        aside = f"{ASIDE}/{id_hash(finding.file.call_id, self._key)}/{name}"
        self._bucket.copy(path, aside)
        self._bucket.remove(path)
        return PurePosixPath(aside)

"""Is an archive in a bucket what its manifests say? Every object is asked for what it is.

A store tells size and metadata without sending the bytes, and it has checked their SHA-256 when
they came. `deep` reads them all the same, which costs traffic.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import PurePosixPath

from agentphone_async.archive.bucket.archive import BucketArchive
from agentphone_async.archive.bucket.store import OURS, Store
from agentphone_async.archive.catalog.recordings import files_after, known_paths
from agentphone_async.archive.catalog.rows import ON_DISK, CatalogFile
from agentphone_async.archive.report import MOST_KEPT
from agentphone_async.archive.verification.hasher import Finding
from agentphone_async.archive.verification.verify import VerifyReport
from agentphone_async.errors import CatalogError
from agentphone_async.sinks.bucket import Bucket

AT_ONCE = 16
MOST_UNKNOWN = 10_000
_ROWS = 1024


async def verify(
    archive: BucketArchive,
    *,
    deep: bool = False,
    found: Callable[[Finding], object] | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> VerifyReport:
    """Compare all objects with the catalog; nothing is changed.

    Args:
        archive: in a bucket.
        deep: read and hash every object, instead of believing what the store tells.
        found: told each finding.
        progress: told how many more objects, and bytes that were read.

    Raises:
        CatalogError: there is no archive.
        DestinationError: the bucket failed.
    """
    began = time.monotonic()
    report = VerifyReport()

    def note(finding: Finding) -> None:
        setattr(report, finding.kind, getattr(report, finding.kind) + 1)
        if len(report.findings) < MOST_KEPT:
            report.findings.append(finding)
        if found is not None:
            found(finding)

    async with archive.opened() as there:
        if not there:
            url = archive.bucket.url
            raise CatalogError(f"there is no archive in {url}", filename=url)
        checker = _Checker(archive.bucket, deep=deep)
        after = ""
        while files := await archive.ask(files_after, after, _ROWS):
            after = files[-1].path.as_posix()
            size, findings = await archive.do(partial(_check, checker, files))
            report.checked += sum(file.state in ON_DISK for file in files)
            report.bytes += size
            for finding in findings:
                note(finding)
            if progress is not None:
                progress(len(files), size)
        for path in await archive.do(_unknown):
            note(Finding("unknown", PurePosixPath(path), "no manifest names it"))
    report.seconds = time.monotonic() - began
    return report


class _Checker:
    def __init__(self, bucket: Bucket, *, deep: bool) -> None:
        self._bucket = bucket
        self._deep = deep

    def one(self, file: CatalogFile) -> tuple[int, Finding | None]:
        """Bytes that were read, and what is wrong."""
        if file.state not in ON_DISK:
            return 0, None
        path = file.path.as_posix()
        head = self._bucket.head(path)
        if head is None:
            return 0, Finding("missing", file.path, file.note or "it is not in the bucket", file)
        if head.size != file.size:
            reason = f"{head.size} bytes instead of {file.size}"
            return 0, Finding("altered", file.path, reason, file)
        said = head.metadata.get("sha256")
        read = 0
        if self._deep or said is None:
            said, read = self._bucket.sha256(path), head.size
        if said != file.sha256:
            return read, Finding("altered", file.path, "its SHA-256 is another", file)
        if file.state == "suspect":
            return read, Finding("suspect", file.path, file.note or "", file)
        return read, None


def _check(checker: _Checker, files: Sequence[CatalogFile], _: Store) -> tuple[int, list[Finding]]:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        results = list(pool.map(checker.one, files))
    return sum(size for size, _ in results), [one for _, one in results if one is not None]


def _unknown(store: Store) -> list[str]:
    """Objects that are neither ours by their names nor in the catalog; the first few thousand."""
    paths: Iterator[str] = (
        head.path
        for head in store.bucket.list()
        if not head.path.startswith((OURS, ".agentphone-probe-"))
    )
    unknown: list[str] = []
    while len(unknown) < MOST_UNKNOWN and (some := list(islice(paths, 400))):
        known = known_paths(store.connection, some)
        unknown += [path for path in some if path not in known]
    return unknown

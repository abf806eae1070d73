"""Is an archive in a bucket what its manifests say? Every object is asked for what it is.

A store tells size and metadata without sending the bytes, and it has checked their SHA-256 when
they came. `deep` reads them all the same, which costs traffic. What somebody has judged harmless
(`accept`) is in the manifests, and so it is on every machine.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import PurePosixPath

from agentphone_async.archive.bucket.archive import BucketArchive
from agentphone_async.archive.bucket.store import ASIDE, OURS, Store
from agentphone_async.archive.catalog.recordings import (
    accepted,
    files_after,
    files_of_calls,
    known_paths,
    note_accepted,
)
from agentphone_async.archive.catalog.rows import ON_DISK, CatalogFile
from agentphone_async.archive.report import MOST_KEPT
from agentphone_async.archive.verify import Finding, VerifyReport
from agentphone_async.sinks.bucket import Bucket

AT_ONCE = 16
MOST_UNKNOWN = 10_000
_ROWS = 1024
_CALLS = 200

Progress = Callable[[int, int], object]


async def verify(
    archive: BucketArchive,
    *,
    deep: bool = False,
    threads: int | None = None,
    found: Callable[[Finding], object] | None = None,
    progress: Progress | None = None,
) -> VerifyReport:
    """Compare all objects with the catalog; nothing is changed.

    Args:
        archive: in a bucket.
        deep: read and hash every object, instead of believing what the store tells.
        threads: how many ask at a time.
        found: told each finding.
        progress: told how many more objects, and bytes that were read.

    Raises:
        CatalogError: there is no archive.
        DestinationError: the bucket failed.
    """
    report = VerifyReport()
    checker = Checker(archive.bucket, deep=deep, threads=threads)
    async with (
        archive.opened_existing(),
        aclosing(checker.findings(archive, report, progress)) as findings,
    ):
        async for finding in findings:
            if found is not None:
                found(finding)
    return report


async def accept(archive: BucketArchive, call_ids: Iterable[str]) -> list[Finding]:
    """Look at all objects of some calls, and accept what is wrong with them; returns that.

    Raises:
        CatalogError: there is no archive.
        DestinationError: the bucket failed.
    """
    ids = list(dict.fromkeys(call_ids))
    checker = Checker(archive.bucket)
    found: list[Finding] = []
    async with archive.opened_existing():
        for start in range(0, len(ids), _CALLS):
            files = await archive.ask(files_of_calls, ids[start : start + _CALLS])
            checked = await archive.do(partial(_check, checker, files))
            await archive.do(partial(_accept, checked))
            found += [one.finding for one in checked if one.finding is not None]
        await archive.do(Store.push)
    return found


@dataclass(frozen=True, slots=True)
class Checked:
    """What came of one object.

    Attributes:
        read: bytes that were read for it.
        sha256: of what is there; empty if nothing is.
        finding: what is wrong.
    """

    read: int = 0
    sha256: str = ""
    finding: Finding | None = None


class Checker:
    """Compares objects with the catalog.

    Args:
        bucket: the archive's prefix.
        deep: whether every object is read.
        threads: how many are asked for at a time.
    """

    def __init__(self, bucket: Bucket, *, deep: bool = False, threads: int | None = None) -> None:
        self._bucket = bucket
        self._deep = deep
        self.threads = threads or AT_ONCE

    async def findings(
        self, archive: BucketArchive, report: VerifyReport, progress: Progress | None = None
    ) -> AsyncGenerator[Finding]:
        """What is wrong, within `BucketArchive.opened`; the report is complete at the end."""
        began = time.monotonic()
        let_pass = await archive.ask(accepted)
        after = ""
        while files := await archive.ask(files_after, after, _ROWS):
            after = files[-1].path.as_posix()
            checked = await archive.do(partial(_check, self, files))
            size = sum(one.read for one in checked)
            report.checked += sum(file.state in ON_DISK for file in files)
            report.bytes += size
            for one in checked:
                finding = one.finding
                if finding is None:
                    continue
                if let_pass.get(finding.path.as_posix()) == (finding.kind, one.sha256):
                    report.accepted += 1
                else:
                    report.add(finding)
                    yield finding
            if progress is not None:
                progress(len(files), size)
        for path in await archive.do(_unknown):
            finding = Finding("unknown", PurePosixPath(path), "no manifest names it")
            report.add(finding)
            yield finding
        for path in await archive.do(_aside):
            report.aside += 1
            report.aside_paths += [PurePosixPath(path)][: MOST_KEPT - len(report.aside_paths)]
        report.seconds = time.monotonic() - began

    def one(self, file: CatalogFile) -> Checked:
        """Look at one object."""
        if file.state not in ON_DISK:
            return Checked()
        path = file.path.as_posix()
        head = self._bucket.head(path)
        if head is None:
            reason = file.note or "it is not in the bucket"
            return Checked(finding=Finding("missing", file.path, reason, file))
        said = head.metadata.get("sha256")
        read = 0
        if self._deep or said is None:
            said, read = self._bucket.sha256(path), head.size
        finding = None
        if head.size != file.size:
            reason = f"{head.size} bytes instead of {file.size}"
            finding = Finding("altered", file.path, reason, file)
        elif said != file.sha256:
            finding = Finding("altered", file.path, "its SHA-256 is another", file)
        elif file.state == "suspect":
            finding = Finding("suspect", file.path, file.note or "", file)
        return Checked(read, said, finding)


def _check(checker: Checker, files: Sequence[CatalogFile], _: Store) -> list[Checked]:
    with ThreadPoolExecutor(checker.threads) as pool:
        return list(pool.map(checker.one, files))


def _accept(checked: Sequence[Checked], store: Store) -> None:
    found = [
        (one.finding.file, one.finding.kind, one.sha256)
        for one in checked
        if one.finding is not None and one.finding.file is not None
    ]
    note_accepted(store.connection, found, datetime.now(UTC))


def _aside(store: Store) -> list[str]:
    return [head.path for head in store.bucket.list(ASIDE)]


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

"""What tests of runs share: moments, what lies in a folder, and what the catalog says of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from agentphone_async.archive.catalog.database import Catalog
from agentphone_async.archive.catalog.recordings import recordings_after
from agentphone_async.archive.catalog.rows import RecordingRow

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def now() -> datetime:
    return datetime.now(UTC)


def files(folder: Path) -> list[str]:
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file()
        and not path.name.startswith(
            ("catalog", ".agentphone", "SHA256SUMS", "index.jsonl", "archive.json")
        )
    )


def without(name: str):
    """A page edit that takes a field away."""

    def edit(page):
        return {
            **page,
            "data": [{k: v for k, v in row.items() if k != name} for row in page["data"]],
        }

    return edit


async def rows(folder: Path) -> dict[tuple[str, int], RecordingRow]:
    async with await Catalog.open(folder, write=False) as catalog:
        found = await catalog.run(recordings_after)
        return {(row.call_id, row.version): row for row in found}

"""An archive on a real FUSE file system, with shared memory maps and without them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agentphone_async import AsyncAgentPhone
from agentphone_async.archive.archive import Archive
from agentphone_async.archive.catalog.database import Catalog
from agentphone_async.archive.query import overview
from agentphone_async.archive.verify import verify
from agentphone_async.emulator import Emulator


@pytest.fixture(
    params=[("bindfs",), ("bindfs", "-o", "direct_io"), ("mergerfs",), ("unionfs", "-o", "cow")],
    ids=["mapped", "direct", "mergerfs", "unionfs"],
)
def mounted(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A folder behind FUSE; ``direct_io`` takes its shared memory maps away."""
    if shutil.which(request.param[0]) is None:
        pytest.skip(f"{request.param[0]} is not installed")
    below, above = tmp_path / "below", tmp_path / "above"
    below.mkdir()
    above.mkdir()
    done = subprocess.run(
        [*request.param, _source(request.param[0], below), above],
        capture_output=True,
        check=False,
        timeout=20,
    )
    if done.returncode:
        pytest.skip(f"FUSE cannot be mounted here: {done.stderr.decode(errors='replace')[:200]}")
    yield above
    subprocess.run(["umount", "-l", above], check=True, timeout=20)


def _source(program: str, below: Path) -> str:
    return f"{below}=RW" if program == "unionfs" else str(below)


async def test_an_archive_lives_behind_fuse(
    emulator: Emulator, client: AsyncAgentPhone, mounted: Path
):
    for number in range(5):
        emulator.add_call(
            id=f"c{number}", started_at=datetime.now(UTC) - timedelta(days=1), duration=0.1
        )
    archive = Archive(mounted / "archive")
    assert (await archive.run(client)).archived == 5
    assert (await archive.run(client)).already_archived == 5
    report = await verify(mounted / "archive")
    assert (report.checked, report.clean) == (5, True)
    async with await Catalog.open(mounted / "archive", write=False) as catalog:
        assert (await catalog.run(overview)).states == {"archived": 5}
    names = {path.name for path in (mounted / "archive").iterdir() if "catalog" in path.name}
    assert names == {"catalog.sqlite3"}

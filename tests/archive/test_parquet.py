"""The catalog as Parquet: real types, a folder a day, and no ids unless they are asked for."""

from __future__ import annotations

import sys
from datetime import UTC, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from agentphone_async import AsyncAgentPhone
from agentphone_async.archive.catalog.database import Catalog
from agentphone_async.archive.export import export_parquet
from agentphone_async.archive.options import RunOptions
from agentphone_async.emulator import Emulator
from agentphone_async.errors import ConfigurationError, DestinationError
from tests.support.archives import DAY, archived, execute, fill

pytestmark = pytest.mark.skipif(find_spec("pyarrow") is None, reason="pyarrow is not installed")


@pytest.fixture
def dataset() -> Any:
    """It brings pandas, so it is imported where it is used."""
    from pyarrow import dataset

    return dataset


async def exported(folder: Path, to: Path, **options: object) -> int:
    async with await Catalog.open(folder, write=False) as catalog:
        return await export_parquet(catalog, to, **options)


@pytest.fixture
async def archive(emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path) -> Path:
    fill(emulator, 3, from_number="+15551230000", agent_name="Zoë")
    emulator.add_call(id="next_day", started_at=DAY + timedelta(days=1), recording=False)
    folder = tmp_path / "archive"
    await archived(client, folder)
    await execute(folder, "UPDATE calls SET started = NULL WHERE id = 'call_2'")
    return folder


async def test_it_is_partitioned_by_day_with_real_types(archive: Path, tmp_path: Path, dataset):
    to = tmp_path / "calls.parquet"
    assert await exported(archive, to, ids=True) == 4
    assert sorted(path.name for path in to.iterdir()) == [
        "date=2026-03-14",
        "date=2026-03-15",
        "date=__HIVE_DEFAULT_PARTITION__",
    ]
    table = dataset.dataset(to, partitioning="hive").to_table().to_pylist()
    rows = {row["call_id"]: row for row in table}
    assert rows["call_1"]["started"] == (DAY + timedelta(minutes=1)).astimezone(UTC)
    assert rows["call_1"]["date"] == "2026-03-14" or str(rows["call_1"]["date"]) == "2026-03-14"
    assert rows["call_1"]["duration"] == pytest.approx(0.2)
    assert rows["call_1"]["size"] == 3244
    assert rows["call_1"]["agent_name"] == "Zoë"
    assert rows["call_1"]["path"] == "2026/03/14/recording-call_1.wav"
    assert (rows["next_day"]["state"], rows["next_day"]["size"]) == ("no_recording", None)
    assert rows["call_2"]["started"] is None
    for path in to.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0


async def test_ids_are_written_on_demand_only(
    archive: Path, emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path, dataset
):
    to = tmp_path / "calls.parquet"
    await exported(archive, to)
    assert not {"call_id", "path"} & set(dataset.dataset(to).schema.names)
    assert not [path for path in to.rglob("*.parquet") if b"call_1" in path.read_bytes()]
    hashed = tmp_path / "hashed"
    await archived(client, hashed, RunOptions(hash_ids=True))
    await exported(hashed, tmp_path / "hashed.parquet")
    names = set(dataset.dataset(tmp_path / "hashed.parquet").schema.names)
    assert "path" in names, "it has no id in it"
    assert "call_id" not in names


async def test_only_an_earlier_export_is_replaced(archive: Path, tmp_path: Path):
    to = tmp_path / "calls.parquet"
    await exported(archive, to)
    await exported(archive, to, states=["no_recording"])
    assert [path.name for path in to.iterdir()] == ["date=2026-03-15"]
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]
    (to / "mine.txt").write_text("mine")
    with pytest.raises(DestinationError, match="choose another folder"):
        await exported(archive, to)
    assert (to / "mine.txt").read_text() == "mine"


async def test_a_missing_extra_is_said(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigurationError, match=r"agentphone-async\[parquet\]"):
        await exported(archive, tmp_path / "calls.parquet")
    assert not [path.name for path in tmp_path.iterdir() if path.name != "archive"]

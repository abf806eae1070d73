"""What must be true of an archive after every fault, whatever it was."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from agentphone_async import Archive, AsyncAgentPhone, Report, RunOptions
from agentphone_async.archive.catalog.database import Catalog
from agentphone_async.archive.catalog.recordings import recordings_after
from agentphone_async.archive.catalog.rows import RecordingRow
from agentphone_async.archive.lock import LOCK_NAME
from agentphone_async.archive.rebuild import rebuild
from agentphone_async.emulator import Emulator, audio_bytes
from tests.conftest import BRISK

OURS = {"catalog.sqlite3", "catalog.sqlite3-wal", "catalog.sqlite3-shm", LOCK_NAME}


@dataclass
class Oracle:
    """Knows what every byte has to be, since the emulator's audio can be recomputed.

    Attributes:
        emulator: where the recordings come from; its faults are cleared for the second run.
        folder: the archive.
        unfetchable: calls whose recordings can never be fetched (hostile ids, refused bodies).
        altered: calls for which other bytes than the emulator's are right, too: those.
        aside: whether damaged files may lie aside.
        sidecars: whether checksums and metadata may lie beside the recordings.
        options: of the runs that have to converge.
    """

    emulator: Emulator
    folder: Path
    unfetchable: Collection[str] = ()
    altered: dict[str, bytes] = field(default_factory=dict)
    aside: bool = False
    sidecars: bool = False
    options: RunOptions = field(default_factory=RunOptions)

    def __post_init__(self) -> None:
        self._tasks = asyncio.all_tasks()
        self._descriptors = descriptors()

    async def holds(self, report: Report | None = None, *, killed: bool = False) -> Report:
        """Check everything, run again without faults, and check that this has converged.

        A process that was killed may leave partial files, which the next run removes.
        """
        if report is not None:
            self.counts(report)
        await self.at_rest()
        complete = await self.disk(killed=killed)
        self.emulator.clear_faults()
        before = self.requested()
        again = await self.run()
        self.counts(again)
        fetched_twice = {one for one in complete if self.requested().get(one) != before.get(one)}
        assert not fetched_twice, f"complete, and fetched again: {fetched_twice}"
        expected = {
            call.id
            for call in self.emulator.calls
            if call.has_recording(self.emulator.settings.clock.now())
        } - set(self.unfetchable)
        complete = await self.disk()
        waiting = [
            part for part in self.folder.rglob("*.kept") if part.with_suffix(".note").exists()
        ]
        assert not waiting, f"not taken up: {waiting}"
        assert complete == expected, (
            f"missing: {expected - complete}, too many: {complete - expected}"
        )
        before = self.requested()
        await self.comes_back()
        third = await self.run()
        assert third.archived == third.suspect == 0
        assert {one for one in complete if self.requested().get(one) != before.get(one)} == set(), (
            "a run over a complete archive, its catalog rebuilt, asked for recordings again"
        )
        assert await self.disk() == complete
        return again

    async def comes_back(self) -> None:
        """Without its catalog, the archive is rebuilt; what the new one says is checked later."""
        if not (self.folder / "catalog.sqlite3").exists():
            return
        files = self.files()
        for path in self.folder.glob("catalog.sqlite3*"):
            if ".old-" not in path.name:
                path.unlink()
        report = await rebuild(self.folder)
        assert (report.unknown, report.unsound) == (0, 0), report
        assert self.files() == files, "a rebuild renamed or rewrote something"

    def files(self) -> dict[str, tuple[int, int]]:
        """Everything but the catalog: which file it is, and how long."""
        return {
            path.relative_to(self.folder).as_posix(): (path.stat().st_ino, path.stat().st_size)
            for path in self.folder.rglob("*")
            if path.is_file() and "catalog.sqlite3" not in path.name and path.name != LOCK_NAME
        }

    async def run(self) -> Report:
        async with AsyncAgentPhone(
            self.emulator.api_key, base_url=self.emulator.base_url, retry=BRISK
        ) as client:
            return await Archive(self.folder).run(client, None, self.options)

    def requested(self) -> dict[str, int]:
        """How often each recording was asked for."""
        counts = self.emulator.requests._calls
        return {call_id: n for (route, call_id), n in counts.items() if route == "recording"}

    async def at_rest(self) -> None:
        """No stray tasks and no stray descriptors, once connections had a moment to close."""
        for _ in range(200):
            stray = [
                task
                for task in asyncio.all_tasks() - self._tasks
                if task is not asyncio.current_task() and "agentphone" in task.get_name()
            ]
            if not stray and not (descriptors() - self._descriptors):
                return
            await asyncio.sleep(0)
        assert not stray, stray
        assert not (descriptors() - self._descriptors)

    @staticmethod
    def counts(report: Report) -> None:
        """Everything that was selected is accounted for."""
        assert report.selected == report.settled + report.left + report.would_fetch, report
        assert report.listed >= 0
        assert not (report.complete and report.left)
        assert len(report.failures) == min(report.failed, 100)

    async def disk(self, *, killed: bool = False) -> set[str]:
        """Each file is whole and known, the catalog claims nothing else; ids of what is there."""
        files = {
            path.relative_to(self.folder).as_posix()
            for path in self.folder.rglob("*")
            if path.is_file() and path.name not in OURS and ".old-" not in path.name
        }
        asides = {name for name in files if ".damaged" in name}
        assert self.aside or not asides, asides
        files -= asides
        sums = {name for name in files if name.endswith("SHA256SUMS")}
        for name in sums:
            self._sums(self.folder / name)
        files -= sums
        files = {name for name in files if not name.startswith(".agentphone-index/")}
        files.discard("archive.json")
        partial = {name for name in files if name.endswith(".part")}
        assert killed or not partial, partial
        files -= partial
        files -= self._kept(files)
        if not (self.folder / "catalog.sqlite3").exists():
            assert not files, files
            return set()
        claimed: dict[str, RecordingRow] = {}
        async with await Catalog.open(self.folder, write=False) as catalog:
            after: tuple[str, int] | None = None
            while page := await catalog.run(recordings_after, after):
                after = (page[-1].call_id, page[-1].version)
                claimed |= {str(row.path): row for row in page if row.on_disk}
            (check,) = await catalog.run(lambda db: db.execute("PRAGMA quick_check").fetchone())
            assert check == "ok"
        assert set(claimed) <= files, f"claimed, not there: {set(claimed) - files}"
        for name, row in claimed.items():
            data = (self.folder / name).read_bytes()
            assert hashlib.sha256(data).hexdigest() == row.sha256, name
            assert len(data) == row.size, name
        for name in files:
            self._exact(name, claimed.get(name))
        return {row.call_id for row in claimed.values()}

    def _sums(self, path: Path) -> None:
        """Checksums tell the truth, as far as they tell."""
        for line in path.read_text().splitlines():
            digest, _, name = line.partition("  ")
            data = (path.parent / name).read_bytes()
            assert hashlib.sha256(data).hexdigest() == digest, line

    def _kept(self, files: set[str]) -> set[str]:
        """Beginnings of large recordings that wait for the next run, each with a true note."""
        kept = {name for name in files if name.endswith((".kept", ".note"))}
        for name in (name for name in kept if name.endswith(".kept")):
            part = (self.folder / name).read_bytes()
            note = (self.folder / name).with_suffix(".note")
            if note.exists():  # a process that was killed may not have come to it
                said = json.loads(note.read_bytes())
                assert said["sha256"] == hashlib.sha256(part).hexdigest(), name
                assert len(part) == said["size"], name
            wholes = [one for call in self.emulator.calls for one in self._right(call.id)]
            assert any(whole.startswith(part) for whole in wholes), f"no beginning: {name}"
        return kept

    def _exact(self, name: str, row: RecordingRow | None) -> None:
        data = (self.folder / name).read_bytes()
        if row is None:
            calls = [call.id for call in self.emulator.calls]
            right = [one for call_id in calls for one in self._right(call_id)]
        elif self.emulator._service.account.get(row.call_id) is None:
            return  # the server has it no more; the hash was checked
        else:
            right = self._right(row.call_id)
        assert data in right, f"not a byte-exact recording: {name}, {row}"

    def _right(self, call_id: str) -> list[bytes]:
        """All that a call's recording has been."""
        call = self.emulator.call(call_id)
        seed = self.emulator.settings.seed
        versions = [
            audio_bytes(seed, call_id, call.seconds or 0.0, version)
            for version in range(call.version)
        ]
        altered = [self.altered[call_id]] if call_id in self.altered else []
        return [self.emulator.expected_audio(call_id), *versions, *altered]


def descriptors() -> set[str]:
    """What files this process has open; connections may be kept alive on purpose."""
    found = []
    for number in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            found.append(os.readlink(f"/proc/self/fd/{number}"))
    return {name for name in found if name.startswith("/") and "/fd" not in name}

"""The scene of every fault: an archive, an emulated API with a few calls, and the oracle."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from agentphone_async import Archive, AsyncAgentPhone, Observer, Report, RunOptions, Selection
from agentphone_async.emulator import EmulatedCall, Emulator
from tests.conftest import BRISK, SHORT, Sleeps, timeless
from tests.faults.oracle import Oracle

AGO = timedelta(days=3)
LARGE = 600.0
"""Seconds of a recording of 9.6 MB: large enough to be resumed."""

Prepare = Callable[[AsyncAgentPhone], Awaitable[None] | None]


class Scene:
    """Six calls of three days ago, all of them recorded.

    Attributes:
        first: one of them, for faults that hit a single one.
    """

    def __init__(self, emulator: Emulator, folder: Path) -> None:
        self.emulator = emulator
        self.folder = folder
        self.oracle = Oracle(emulator, folder)
        self.began = datetime.now(UTC) - AGO
        for number in range(6):
            self.add(id=f"call_{number}", duration=0.2 + number / 10)
        self.first = emulator.call("call_0")

    def add(self, **fields: Any) -> EmulatedCall:
        fields.setdefault("started_at", self.began)
        return self.emulator.add_call(**fields)

    def large(self) -> EmulatedCall:
        """One more call, whose recording is worth resuming."""
        return self.add(id="large", duration=LARGE)

    def fail_one(self, **fault: Any) -> None:
        """Let something go wrong with the first call's recording."""
        self.emulator.fail(route="recording", call_id=self.first.id, **fault)

    async def run(
        self,
        selection: Selection | None = None,
        *,
        prepare: Prepare | None = None,
        sleeps: Sleeps | None = None,
        observer: Observer | None = None,
        archive: Archive | None = None,
        base_url: str | None = None,
        options: RunOptions | None = None,
        **client_options: Any,
    ) -> Report:
        """One run with an impatient client; ``sleeps`` takes the time out of its waiting."""
        client_options.setdefault("retry", BRISK)
        client_options.setdefault("timeouts", SHORT)
        client_options.setdefault("api_key", self.emulator.api_key)
        async with AsyncAgentPhone(
            base_url=base_url or self.emulator.base_url, **client_options
        ) as client:
            if sleeps is not None:
                timeless(client, sleeps, replace(BRISK, total=600.0))
                client.session.limits._circuit._budget = 600.0
            if prepare is not None:
                done = prepare(client)
                if done is not None:
                    await done
            return await (archive or Archive(self.folder)).run(
                client, selection, options or self.oracle.options, observer=observer
            )

    async def endures(self, *, suspect: int = 0, **how: Any) -> Report:
        """A run in which everything is archived in spite of the fault; then the oracle."""
        report = await self.run(**how)
        assert report.failed == report.left == 0, report
        assert report.suspect == suspect
        assert report.archived + suspect == len(self.emulator.calls)
        await self.oracle.holds(report)
        return report

    async def fails_one(self, kind: type[Exception], match: str = "", **how: Any) -> Exception:
        """A run in which the first call fails and the others arrive; then the oracle."""
        report = await self.run(**how)
        assert (report.failed, report.left) == (1, 0), report
        assert report.archived == len(self.emulator.calls) - 1, "the others arrive"
        call_id, error = report.failures[0]
        assert call_id == self.first.id
        assert isinstance(error, kind), repr(error)
        assert match in str(error), str(error)
        await self.oracle.holds(report)
        return error


@pytest.fixture
async def scene(emulator: Emulator, tmp_path: Path) -> Scene:
    return Scene(emulator, tmp_path / "archive")


@pytest.fixture
async def over_tls(tmp_path: Path) -> AsyncIterator[tuple[Emulator, trustme.CA]]:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    async with Emulator(tls=context) as emulator:
        emulator.add_call(started_at=datetime.now(UTC) - timedelta(days=1), duration=0.2)
        yield emulator, authority

"""``agentphone-async verify``: is the archive what its catalog says?"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agentphone_async.cli.config_file import Section
from agentphone_async.cli.connection import Connection
from agentphone_async.cli.event_loop import run_interruptible
from agentphone_async.cli.exit_codes import DONE, SOME_FAILED
from agentphone_async.cli.options import (
    Command,
    connection_options,
    option,
    output_option,
    quiet_option,
)
from agentphone_async.cli.param_types import Seconds, Whole
from agentphone_async.cli.places import archive_place

if TYPE_CHECKING:
    from agentphone_async.archive.bucket.archive import BucketArchive
    from agentphone_async.archive.repair import Repaired
    from agentphone_async.archive.verify import Finding, VerifyReport
    from agentphone_async.cli.tables import Rows

_LINE_EVERY = 10.0
_EXAMPLES = 5


@click.command("verify", cls=Command)
@archive_place
@option(Section.WHAT, "--deep", is_flag=True, config=False,
        help="In a bucket: read every object, instead of asking the store for sums.")  # fmt: skip
@option(Section.WHAT, "--repair", is_flag=True, config=False,
        help="Fetch again what is missing or bad.")  # fmt: skip
@option(Section.WHAT, "--accept", multiple=True, metavar="CALL_ID", config=False,
        help="Accept what is wrong with this call now, so that verify does not tell it again. May "
        "be given more than once.")  # fmt: skip
@option(Section.WHERE, "--wait-lock", type=Seconds(), default="0s",
        help="With --repair: wait for another process on the same archive.")  # fmt: skip
@option(Section.SPEED, "--threads", type=Whole(1, 64), metavar="N",
        help="How many read and hash at a time.  [default: one for each core]")  # fmt: skip
@option(Section.SPEED, "--transfers", type=Whole(1, 256), default=8, metavar="N",
        help="With --repair: recordings fetched at a time.")  # fmt: skip
@connection_options
@output_option("table", "tsv", "json", "ids", default="table")
@quiet_option
def command(
    *,
    place: Path | BucketArchive,
    deep: bool,
    repair: bool,
    accept: tuple[str, ...],
    threads: int | None,
    transfers: int,
    wait_lock: float,
    connection: Connection,
    output: str | None,
    quiet: bool,
) -> int:
    """Read all files in the archive DEST again and compare them with its catalog.

    Says which are missing, altered, unreadable, suspect (header and bytes disagree) or unknown,
    and exits with 1 if there are any. With --repair, recordings and what lies beside them are
    fetched again; a bad file is kept under a name that ends in .altered- or .suspect-.
    """
    teller = Teller(output or "table", quiet=quiet)
    if accept and repair:
        raise click.UsageError("--accept and --repair exclude each other; leave one out")
    if accept:
        return _tell_accepted(teller, run_interruptible(_accept(place, accept, wait_lock)))
    shared: dict[str, Any] = {"threads": threads, "progress": teller.progress}
    if not isinstance(place, Path):
        shared["deep"] = deep
    elif repair:
        shared["wait_lock"] = wait_lock
    if repair:
        shared |= {"transfers": transfers, "settled": teller.settled}
        report = run_interruptible(_repair(place, connection, shared))
    else:
        report = run_interruptible(_verify(place, shared | {"found": teller.found}))
    teller.conclude(report)
    return DONE if report.clean else SOME_FAILED


def _tell_accepted(teller: Teller, found: Sequence[Finding]) -> int:
    """Say what was wrong with calls, and is let pass."""
    for finding in found:
        teller.accepted(finding)
    teller.say(f"{len(found):,} accepted")
    return DONE


async def _accept(
    place: Path | BucketArchive, call_ids: tuple[str, ...], wait_lock: float
) -> Sequence[Finding]:
    if isinstance(place, Path):
        from agentphone_async.archive.verify import accept

        return await accept(place, call_ids, wait_lock=wait_lock)
    from agentphone_async.archive.bucket import check

    return await check.accept(place, call_ids)


async def _verify(place: Path | BucketArchive, settings: dict[str, Any]) -> VerifyReport:
    if isinstance(place, Path):
        from agentphone_async.archive.verify import verify

        return await verify(place, **settings)
    from agentphone_async.archive.bucket import check

    return await check.verify(place, **settings)


async def _repair(
    place: Path | BucketArchive, connection: Connection, settings: dict[str, Any]
) -> VerifyReport:
    async with connection.client(key_needed=False) as client:
        if isinstance(place, Path):
            from agentphone_async.archive.repair import repair

            return await repair(place, client, **settings)
        from agentphone_async.archive.bucket import repair as in_bucket

        return await in_bucket.repair(place, client, **settings)


@dataclass(frozen=True)
class _Told:
    """Something that is wrong, and what became of it."""

    finding: Finding
    became: str | None = None
    more: dict[str, object] = field(default_factory=dict)

    @property
    def call_id(self) -> str | None:
        """Whose file it is, if the catalog knows."""
        return None if self.finding.file is None else self.finding.file.call_id

    def as_line(self) -> str:
        """For people."""
        from agentphone_async.protocol.display import printable

        finding = self.finding
        line = f"{finding.kind}: {printable(str(finding.path), 1024)}: {printable(finding.reason)}"
        return line if self.became is None else f"{line}; {printable(self.became, 1000)}"

    def as_event(self) -> dict[str, object]:
        """For programs."""
        finding, file = self.finding, self.finding.file
        event = {"event": finding.kind, "path": str(finding.path), "reason": finding.reason}
        about = {} if file is None else {"call_id": file.call_id, "kind": file.kind}
        return event | about | self.more


def _rows(output: str) -> Rows[_Told]:
    from agentphone_async.cli.tables import Column, Rows

    columns: list[Column[_Told]] = [
        Column("found", lambda told: told.finding.kind),
        Column("reason", lambda told: told.finding.reason),
        Column("result", lambda told: told.became),
        Column("id", lambda told: told.call_id),
        Column("path", lambda told: str(told.finding.path)),
    ]
    return Rows(columns, output, ids=lambda told: str(told.call_id), as_json=_Told.as_event)


class Teller:
    """Says what is found: on standard output what is wrong, on standard error the rest.

    Args:
        output: ``table`` is a line for each finding, which mails and logs can do with.
    """

    def __init__(self, output: str, *, quiet: bool) -> None:
        self._output = output
        self._quiet = quiet
        self._rows = _rows(output)
        self._ids: set[str] = set()
        self._files = self._bytes = 0
        self._last = time.monotonic()

    def progress(self, files: int, size: int) -> None:
        """A line now and then."""
        from agentphone_async.quantities import counted, size_text

        self._files += files
        self._bytes += size
        now = time.monotonic()
        if now - self._last >= _LINE_EVERY:
            self._last = now
            self.say(f"{counted(self._files, 'file')}, {size_text(self._bytes)} checked")

    def found(self, finding: Finding) -> None:
        """Something is wrong."""
        self._tell(_Told(finding))

    def settled(self, mended: Repaired) -> None:
        """Something was wrong, and this became of it."""
        mark = "repaired" if mended.repaired else "not repaired"
        more: dict[str, object] = {"repaired": mended.repaired, "result": mended.line}
        self._tell(_Told(mended.finding, f"{mark}: {mended.line}", more))

    def accepted(self, finding: Finding) -> None:
        """Something is wrong, and is let pass."""
        self._tell(_Told(finding, "accepted", {"accepted": True}))

    def _tell(self, told: _Told) -> None:
        if self._output == "table":
            click.echo(told.as_line())
        elif self._output != "ids":
            self._rows.print([told])
        elif told.call_id is not None and told.call_id not in self._ids:
            self._ids.add(told.call_id)
            self._rows.print([told])

    def say(self, line: str) -> None:
        """Something that is not a finding."""
        if not self._quiet and self._output != "json":
            click.echo(line, err=True)

    def conclude(self, report: VerifyReport) -> None:
        """The end of it."""
        if self._output == "json":
            click.echo(json.dumps(_summary(report)))
            return
        for line in [*_notes(report), _sentence(report)]:
            self.say(line)


_COUNTS = ("missing", "altered", "unreadable", "suspect", "unknown")


def _summary(report: VerifyReport) -> dict[str, object]:
    names = (
        "checked",
        "bytes",
        *_COUNTS,
        "accepted",
        "repaired",
        "remaining",
        "exposed",
        "leftovers",
        "aside",
    )
    counts: dict[str, object] = {name: getattr(report, name) for name in names}
    return {"event": "summary", **counts, "seconds": round(report.seconds, 3)}


def _notes(report: VerifyReport) -> list[str]:
    from agentphone_async.protocol.display import printable

    told = [
        (
            report.exposed,
            report.exposed_paths,
            "others than their owner may read {} (chmod -R go= mends that)",
        ),
        (
            report.leftovers,
            report.leftover_paths,
            "partial files of a run: {}; the next run removes those of dead ones",
        ),
        (report.aside, report.aside_paths, "kept aside earlier: {}; remove them when you like"),
    ]
    lines = []
    for count, paths, text in told:
        if count:
            examples = ", ".join(printable(str(path)) for path in paths[:_EXAMPLES])
            more = f" and {count - _EXAMPLES:,} more" if count > _EXAMPLES else ""
            lines.append("note: " + text.format(examples + more))
    return lines


def _sentence(report: VerifyReport) -> str:
    from agentphone_async.quantities import counted, size_text

    found = [f"{getattr(report, name):,} {name}" for name in _COUNTS if getattr(report, name)]
    verdict = ", ".join(found) or "all as it should be"
    if report.accepted:
        verdict += f"; {report.accepted:,} accepted earlier"
    if report.repaired:
        verdict += f"; {report.repaired:,} repaired, {report.remaining:,} remain"
    rate = report.bytes / report.seconds if report.seconds else 0.0
    return (
        f"{counted(report.checked, 'file')}, {size_text(report.bytes)} in {report.seconds:.1f} s "
        f"({size_text(rate)}/s): {verdict}"
    )

"""``agentphone-async catalog``: look after an archive's catalog."""

from __future__ import annotations

import functools
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agentphone_async.cli.event_loop import run_interruptible
from agentphone_async.cli.exit_codes import DESTINATION, DONE
from agentphone_async.cli.options import Group, output_option
from agentphone_async.cli.places import archive_folder, catalog_option, readable_archive

if TYPE_CHECKING:
    from agentphone_async.archive.query import Overview
    from agentphone_async.archive.rebuild import RebuildReport


@click.group("catalog", cls=Group)
def command() -> None:
    """Look after an archive's catalog."""


@command.command("info")
@readable_archive
@output_option("table", "tsv", "json")
def info(*, dest: Path, output: str | None) -> int:
    """Say how much the archive DEST holds, and how its latest runs went."""

    async def work() -> Overview:
        from agentphone_async.archive.catalog.database import Catalog
        from agentphone_async.archive.query import overview

        async with await Catalog.open(dest, write=False) as catalog:
            return await catalog.run(overview)

    found = run_interruptible(work())
    if output == "json":
        click.echo(json.dumps(asdict(found), default=str))
    else:
        _show(found, output)
    return DONE


def _show(found: Overview, output: str | None) -> None:
    from agentphone_async.cli.tables import format_of, moment, sheet
    from agentphone_async.protocol.display import printable
    from agentphone_async.quantities import size_text

    plain = format_of(output) == "tsv"

    def number(value: int) -> str:
        return str(value) if plain else f"{value:,}"

    fields: list[tuple[str, str | None]] = [
        ("schema", str(found.schema)),
        ("calls", number(found.calls)),
        *((state, number(count)) for state, count in sorted(found.states.items())),
        ("bytes", str(found.bytes)) if plain else ("recordings", size_text(found.bytes)),
        ("sidecars", number(found.sidecars)),
    ]
    for each in found.runs:
        ended = "complete" if each.complete else printable(each.stop_reason or "ended")
        if each.finished is None:
            ended = "under way, or killed"
        new = each.counts.get("archived", 0)
        fields.append((f"run {each.id}", f"{moment(each.started)}  {ended}, {new:,} archived"))
    sheet(fields, output)


@command.command("check")
@archive_folder
def check(*, dest: Path) -> int:
    """Let SQLite check the catalog of the archive DEST; exits with 4 if it is damaged.

    For the recordings, see verify.
    """

    async def work() -> list[str]:
        from agentphone_async.archive.catalog.database import Catalog
        from agentphone_async.archive.query import damage

        async with await Catalog.open(dest, write=False) as catalog:
            return await catalog.run(damage)

    found = run_interruptible(work())
    from agentphone_async.protocol.display import printable

    for line in found:
        click.echo(printable(line, 500))
    if found:
        click.echo(
            "the catalog is damaged; put it aside and run 'agentphone-async catalog rebuild'",
            err=True,
        )
        return DESTINATION
    click.echo("the catalog is sound", err=True)
    return DONE


@command.command("rebuild")
@archive_folder
@output_option("text", "json")
def rebuild(*, dest: Path, output: str | None) -> int:
    """Make the catalog of the archive DEST again, from what is on the disk.

    For a catalog that was lost or is damaged. Every recording is read; the old catalog is kept
    aside, and what can still be read of it is used.
    """
    from agentphone_async.archive import rebuild as rebuilding

    report = run_interruptible(rebuilding.rebuild(dest))
    if output == "json":
        click.echo(json.dumps(asdict(report), default=str))
    else:
        _say_rebuilt(report)
    return DONE


def _say_rebuilt(report: RebuildReport) -> None:
    from agentphone_async.protocol.display import printable

    if report.old is not None:
        click.echo(f"the old catalog is kept as {printable(report.old.name)}", err=True)
    if report.unknown:
        click.echo(
            f"{report.unknown:,} recordings do not tell whose they are; the next run of archive "
            "takes them in",
            err=True,
        )
    if report.unsound:
        click.echo(
            f"{report.unsound:,} files are not whole recordings; the next run puts them aside",
            err=True,
        )
    click.echo(
        f"{report.recordings:,} recordings are in the new catalog, {report.suspect:,} of them "
        f"suspect; {report.recovered:,} rows came over from the old one",
        err=True,
    )


@command.command("compact")
@functools.partial(archive_folder, urls=True)
@catalog_option
def compact(*, dest: Path | str, cache: Path | None) -> int:
    """Fold the manifests of the archive in the bucket DEST into few.

    Caches are made from them, and that takes the longer the more there are. What was erased is in
    none of them afterwards. Runs may continue meanwhile. They become Parquet where pyarrow is
    installed (the extra parquet), which all that read the archive need then.
    """
    if isinstance(dest, Path):
        raise click.UsageError("an archive in a folder has no manifests; name a bucket's URL")
    from agentphone_async.archive.bucket import columnar
    from agentphone_async.archive.bucket.store import Store, default_cache
    from agentphone_async.quantities import counted
    from agentphone_async.sinks.bucket import Bucket

    bucket = Bucket.from_url(dest)
    store = Store(bucket, cache or default_cache(bucket.url))
    try:
        store.open_existing()
        gone = store.compact(parquet=columnar.is_available())
    finally:
        store.close()
    click.echo(f"folded {counted(gone, 'manifest')} together", err=True)
    return DONE

"""``archive.json``: what an archive has to know about itself, beside its catalog.

A lost catalog can be rebuilt from the files, but not the key by which their names were hashed, nor
that of the tombstones of erased calls. So these live in a file of their own, 0600, written whole
or not at all. It is small, and readable by people. What it remembers of a run's options keeps a
forgotten flag from mixing layouts.
"""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
import stat
import sys
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    PlainSerializer,
    Strict,
    WrapValidator,
)

from agentphone_async.archive.catalog.database import Catalog
from agentphone_async.archive.catalog.rows import moment_or_none, stamp
from agentphone_async.archive.catalog.runs import BEGINNING, last_covered
from agentphone_async.archive.catalog.settings import keep_scope_key, known_scope_key
from agentphone_async.archive.options import Mode, RunOptions
from agentphone_async.archive.selection import Selection, SelectionError, load_zone
from agentphone_async.archive.template import DEFAULT_TEMPLATE, Template
from agentphone_async.errors import CatalogError
from agentphone_async.models.base import or_none
from agentphone_async.protocol.display import printable
from agentphone_async.sinks.disk import create, destination_errors, remove, sync_folder, write_all
from agentphone_async.sinks.erased import SETTINGS_NAME
from agentphone_async.sinks.leftovers import temp_names
from agentphone_async.sinks.local import Fsync

_LARGEST = 64 * 1024 * 1024
_temp_names = temp_names()


def _template(text: str) -> str:
    return Template.parse(text).text


def _aware(text: str) -> str:
    if datetime.fromisoformat(text).tzinfo is None:  # a ValueError if it is not a date
        raise ValueError("a moment without a zone")
    return text


_Key = Annotated[bytes, BeforeValidator(bytes.fromhex), PlainSerializer(bytes.hex)]
_Flag = Annotated[bool | None, Strict(), WrapValidator(or_none)]


class Mark(BaseModel, frozen=True):
    """Up to when an account's calls that some filters let through need no second look.

    Attributes:
        scope: whose list of calls; a keyed hash.
        status, direction: the filters; None for all.
        until: the moment, as the catalog writes it.
    """

    scope: str
    status: str | None = None
    direction: str | None = None
    until: Annotated[str, AfterValidator(_aware)]


class ArchiveSettings(BaseModel, frozen=True):
    """What ``archive.json`` says.

    Attributes:
        format: of the file.
        hash_key: hashes call ids in names; None if names are plain.
        erasure_key: hashes call ids in tombstones; None if nothing was ever erased.
        template: how the last run named files.
        zone: in which it wrote dates.
        mode: who may read it: ``private``, ``group`` or ``umask``.
        metadata, transcripts: whether runs write these beside recordings.
        held: ids of calls that are not to be erased or pruned.
        scope_key: tells accounts apart; None if no run was complete.
        marks: from where runs resume if the catalog is lost.
    """

    format: Literal[1]
    hash_key: _Key | None = None
    erasure_key: _Key | None = None
    template: Annotated[str, AfterValidator(_template)] | None = None
    zone: str | None = None
    mode: Annotated[Mode | None, WrapValidator(or_none)] = None
    metadata: _Flag = None
    transcripts: _Flag = None
    held: tuple[str, ...] = ()
    scope_key: _Key | None = None
    marks: tuple[Mark, ...] = ()


def load_settings(folder: Path) -> ArchiveSettings:
    """What an archive's file says; nothing if there is none.

    Raises:
        CatalogError: the file cannot be read, or is not one of ours.
    """
    path = folder / SETTINGS_NAME
    try:
        with path.open("rb") as file:
            return ArchiveSettings.model_validate(json.loads(file.read(_LARGEST)))
    except (FileNotFoundError, NotADirectoryError):
        return ArchiveSettings(format=1)
    except OSError as error:
        reason = printable(error.strerror or str(error), 100)
    except (ValueError, TypeError, RecursionError):
        reason = "it is not what this program writes"
    shown = printable(os.fspath(path), 300)
    raise CatalogError(
        f"cannot use {shown}: {reason}; restore it from a backup, or move it away",
        filename=os.fspath(path),
    )


def update_settings(folder: Path, *, durable: bool = True, **changes: Any) -> ArchiveSettings:
    """Change some settings of an archive; writes nothing if they are so already.

    Raises:
        CatalogError: as `load_settings`.
        DestinationError: the file cannot be written; the old one stays.
    """
    before = load_settings(folder)
    after = before.model_copy(update=changes)
    if after != before:
        text = json.dumps(after.model_dump(mode="json"), indent=2) + "\n"
        write_private(folder / SETTINGS_NAME, text.encode("ascii"), durable=durable)
    return after


def erasure_key(folder: Path) -> bytes:
    """The key of an archive's tombstones; made at first use."""
    known = load_settings(folder).erasure_key
    if known is not None:
        return known
    key = secrets.token_bytes(32)
    update_settings(folder, erasure_key=key)
    return key


def write_private(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Replace a file by another one, whole, and forced to the disk if it is ``durable``.

    It is 0600, or as open to others as the one that was there.
    """
    temp = os.fspath(path.parent / next(_temp_names))
    with destination_errors(path):
        fd = create(temp)
        try:
            try:
                write_all(fd, [data])
                _keep_mode(path, fd)
                if durable:
                    os.fsync(fd)
            finally:
                os.close(fd)
            Path(temp).replace(path)
        except BaseException:
            remove(temp)
            raise
        if durable:
            sync_folder(path.parent)


def _keep_mode(path: Path, fd: int) -> None:
    """Give a file the mode of the one that it replaces, if others may read that."""
    with suppress(OSError):
        status = path.lstat()
        if stat.S_ISREG(status.st_mode) and status.st_mode & 0o077 and sys.platform != "win32":
            os.fchmod(fd, status.st_mode & 0o664)


def resolved(options: RunOptions, said: ArchiveSettings) -> RunOptions:
    """Options with what was not said filled in: as the archive has it, or else by default."""
    return replace(
        options,
        template=options.template or Template.parse(said.template or DEFAULT_TEMPLATE),
        zone=options.zone or zone_of(said) or UTC,
        mode=options.mode or said.mode or "private",
        metadata=bool(said.metadata) if options.metadata is None else options.metadata,
        transcripts=bool(said.transcripts) if options.transcripts is None else options.transcripts,
    )


def zone_of(said: ArchiveSettings) -> tzinfo | None:
    """The zone that an archive's dates are written in; None if it does not say, or not here."""
    if said.zone is None:
        return None
    try:
        return load_zone(said.zone)
    except SelectionError:
        return None


def remember(folder: Path, options: RunOptions) -> None:
    """Keep the options that make an archive's layout, for runs that do not say them."""
    name = getattr(options.zone, "key", None)
    update_settings(
        folder,
        durable=options.fsync is not Fsync.OFF,
        template=None if options.template is None else options.template.text,
        zone="UTC" if options.zone is UTC else name,
        mode=options.mode,
        metadata=options.metadata,
        transcripts=options.transcripts,
    )


# ---------------------------------------------------------------- since last

# Up to when everything was seen: ``--since last`` outlives a lost catalog. That takes along which
# calls were still open, too. So what is kept reaches up to the oldest of them only: what comes
# after a mark is asked for again, and what lies before it is settled.


async def keep_marks(folder: Path, catalog: Catalog, *, durable: bool) -> None:
    """Write down what a run has changed.

    Raises:
        CatalogError, DestinationError: the catalog, or the disk, failed.
    """
    key = await catalog.run(known_scope_key)
    marks = await catalog.run(marks_of)
    update_settings(folder, durable=durable, scope_key=key, marks=tuple(marks))


def restore_marks(connection: sqlite3.Connection, folder: Path) -> None:
    """Let runs resume from what is kept; for a new catalog (needs a transaction)."""
    said = load_settings(folder)
    if said.scope_key is not None and known_scope_key(connection) in {None, said.scope_key}:
        keep_scope_key(connection, said.scope_key)
        connection.executemany(
            "INSERT INTO runs (started, finished, status, direction, complete, covered_until, "
            "counts, scope, listing) VALUES (?1, ?1, ?2, ?3, 1, ?1, '{}', ?4, 'recent')",
            [(one.until, one.status, one.direction, one.scope) for one in said.marks],
        )


def marks_of(connection: sqlite3.Connection) -> list[Mark]:
    """For each list of calls and each choice of filters, up to when nothing is left to be done."""
    kinds = connection.execute(
        "SELECT DISTINCT scope, status, direction FROM runs "
        "WHERE covered_until IS NOT NULL AND scope IS NOT NULL ORDER BY 1, 2, 3"
    ).fetchall()
    open_since = _open_since(connection) if kinds else None
    marks: list[Mark] = []
    for scope, status, direction in kinds:
        until = last_covered(connection, Selection(status=status, direction=direction), scope)
        if until is not None and open_since is not None:
            until = min(until, open_since)
        if until is not None and until > BEGINNING:
            marks.append(Mark(scope=scope, status=status, direction=direction, until=stamp(until)))
    return marks


def _open_since(connection: sqlite3.Connection) -> datetime | None:
    """When the oldest call began that is still to be asked for; None if there is none."""
    (oldest,) = connection.execute(
        "SELECT min(coalesce(started, ended, first_seen)) FROM calls WHERE id IN ("
        "SELECT call_id FROM recordings WHERE state IN ('not_ready', 'failed', 'disputed') "
        "UNION SELECT call_id FROM pending)"
    ).fetchone()
    return moment_or_none(oldest)

"""What a run needs of the world, and what it is about."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from agentphone_async.archive.catalog.database import Catalog
from agentphone_async.archive.files.storage import Files
from agentphone_async.archive.names import Names
from agentphone_async.archive.options import RunOptions
from agentphone_async.archive.plan import Policy
from agentphone_async.archive.selection import Selection
from agentphone_async.archive.sidecars import Sidecars
from agentphone_async.archive.template import DEFAULT_TEMPLATE, Template
from agentphone_async.client import AsyncAgentPhone


@dataclass(frozen=True, slots=True)
class Environment:
    """What a run needs of the world; tests have their own."""

    folder: Path
    files: Files
    now: Callable[[], datetime]
    monotonic: Callable[[], float]
    sleep: Callable[[float], Awaitable[object]]
    free: Callable[[Path], int]


@dataclass(frozen=True, slots=True)
class Scope:
    """What a run is about.

    Attributes:
        selection: which calls.
        opened: the moment before the list of calls was asked for.
        account: whose list it is; None if that does not matter.
        recent: the list may be left early, if it proves that the rest is known.
        covers: later runs may resume from this one, if it is complete.
    """

    selection: Selection
    opened: datetime
    account: str | None = None
    recent: bool = False
    covers: bool = True


def policy_of(options: RunOptions) -> Policy:
    """Which calls are asked for."""
    return Policy(
        grace=options.grace,
        min_age=options.min_age,
        recheck=options.recheck,
        probe_all=options.probe_all,
        refresh=options.refresh,
    )


def names_of(options: RunOptions, key: bytes | None) -> Names:
    """Where recordings go."""
    template = options.template or Template.parse(DEFAULT_TEMPLATE)
    return Names(template, options.zone or UTC, key)


def sidecars_of(
    options: RunOptions, environment: Environment, client: AsyncAgentPhone, catalog: Catalog
) -> Sidecars | None:
    """What is written beside recordings; None if nothing is."""
    if not (options.metadata or options.transcripts or options.checksums):
        return None
    return Sidecars(
        environment.folder,
        client,
        metadata=bool(options.metadata),
        transcripts=bool(options.transcripts),
        sums=options.checksums,
        zone=options.zone or UTC,
        hash_ids=options.hash_ids,
        fsync=options.fsync,
        catalog=catalog,
        files=environment.files,
    )

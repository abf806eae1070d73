"""How a run of the archive is to go."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from pathlib import PurePosixPath
from typing import Literal, NamedTuple, Protocol

from agentphone_async.archive.selection import Selection
from agentphone_async.archive.template import Template
from agentphone_async.errors import ConfigurationError
from agentphone_async.models import Call
from agentphone_async.recordings.outcomes import GRACE
from agentphone_async.sinks.local import Fsync

Mode = Literal["private", "group", "umask"]

OVERLAP = timedelta(hours=24)
"""How far ``since_last`` goes back behind the end of the last complete run: calls have been seen
to turn up in the list later than they began."""

FULL_LIST_EVERY = timedelta(days=7)
"""How often the whole list of calls is walked, to find what the short walks may have missed."""


@dataclass(frozen=True, slots=True)
class Limits:
    """When a run ends early, leaving the rest to the next one. None means no limit.

    Attributes:
        max_transfer: bytes from the network after which no further recording is begun. Those
            under way are finished, so it is exceeded by little more than they have.
        max_duration: seconds after which the run is stopped as by a signal.
        max_file_size: bytes beyond which a recording is refused (and failed).
        min_free_space: bytes that stay free on the destination's file system; what is being
            written counts as written, and a run ends some MiB earlier.
    """

    max_transfer: int | None = None
    max_duration: float | None = None
    max_file_size: int | None = None
    min_free_space: int | None = None

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if value is not None and not (value >= 0 and math.isfinite(value)):
                raise ConfigurationError(f"{name} is {value}; use 0 or more")


@dataclass(frozen=True, slots=True)
class RunOptions:
    """Settings of one run; the defaults are right for a nightly archive.

    Attributes:
        transfers: recordings fetched at a time, at least 1; ``"auto"`` finds out how many are best.
        fsync: when bytes are forced to the disk.
        grace: how long after a call's end a recording that is absent counts as not ready yet.
        min_age: calls that ended less than this ago are left for a later run.
        since_last: begin where runs of the same filters have seen everything up to, minus
            ``overlap``; the selection's own ``since`` is replaced.
        overlap: see ``since_last``.
        recheck: ask again for recordings of calls that are known to have none.
        probe_all: ask for every recording, whatever ``recordingAvailable`` says.
        refresh: ask again for recordings that are archived. One that has changed becomes a new
            version under a name of its own; the old one stays.
        wait: seconds to keep asking, within this run, for recordings that are not ready yet.
        dry_run: find out what would be fetched; write nothing and fetch nothing.
        limits: when to end early.
        template: how files are named; archived ones keep their names when it changes. None: as
            the last run of this archive named them, or by the default.
        zone: in which the dates in names are written. None: as in the last run, or UTC.
        mode: who may read files and folders: ``"private"``, their owner (0600, 0700);
            ``"group"`` (0640, 2750); ``"umask"``, as the umask says. None: as in the last run, or
            private.
        hash_ids: name files by a keyed hash of the call id. The key is kept in the catalog, and
            an archive that has one keeps using it, whatever later runs say.
        metadata: write each call's JSON beside its recording. None: as the last run did, or not.
        transcripts: write each call's transcript, as JSON and as text. None: likewise.
        checksums: keep ``SHA256SUMS`` in every folder.
        full_list: walk the whole list of calls, even where a part of it would do.
        full_list_every: how often at least the whole list is walked.
        wait_lock: seconds to wait for another process that works on this archive.
        stop_grace: seconds that transfers under way get to finish after a stop.
        mtime: give recordings the end of their call as time of modification, as rclone and
            ``curl -R`` do.
    """

    transfers: int | Literal["auto"] = "auto"
    fsync: Fsync = Fsync.BATCH
    grace: timedelta = GRACE
    min_age: timedelta = timedelta(0)
    since_last: bool = False
    overlap: timedelta = OVERLAP
    recheck: bool = False
    probe_all: bool = False
    refresh: bool = False
    wait: float = 0.0
    dry_run: bool = False
    limits: Limits = field(default_factory=Limits)
    template: Template | None = None
    zone: tzinfo | None = None
    mode: Mode | None = None
    hash_ids: bool = False
    metadata: bool | None = None
    transcripts: bool | None = None
    checksums: bool = True
    full_list: bool = False
    full_list_every: timedelta = FULL_LIST_EVERY
    wait_lock: float = 0.0
    stop_grace: float = 4.0
    mtime: bool = True

    def __post_init__(self) -> None:
        if self.transfers != "auto" and self.transfers < 1:
            raise ConfigurationError(f"transfers is {self.transfers}; it takes at least 1")


class Placed(NamedTuple):
    """A call whose place in the archive is known.

    Attributes:
        call: as the server listed it in this run.
        stem: its recording's path, relative to the archive and without extension. What lies
            beside the recording goes into the same folder.
        state: the recording's state, as in the catalog; ``no_recording`` and ``not_ready`` have
            a place, too, where a recording would go.
    """

    call: Call
    stem: PurePosixPath
    state: str


class SidecarWriter(Protocol):
    """Something that is done beside fetching recordings: metadata, transcripts, checksums.

    Not used in a dry run. A writer is the run's own: `DestinationError` ends the run; errors
    of single calls are its own to keep.
    """

    async def process(self, calls: Sequence[Placed]) -> None:
        """These calls are settled and catalogued. Selected calls come by once in a run."""

    async def finish(self, folders: Sequence[PurePosixPath]) -> None:
        """The run is over; recordings were added in these folders. Not called after an error."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What a run is about.

    Attributes:
        selection: which calls.
        opened: the moment before the list of calls was asked for.
        recent: the list may be left early, if it proves that the rest is known.
        covers: later runs may resume from this one, if it is complete.
    """

    selection: Selection
    opened: datetime
    recent: bool = False
    covers: bool = True

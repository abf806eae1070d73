"""Where in the archive a recording goes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, tzinfo
from functools import lru_cache
from pathlib import PurePosixPath

from agentphone_async.archive.catalog.database import Catalog
from agentphone_async.archive.catalog.settings import hash_key, known_hash_key
from agentphone_async.archive.options import RunOptions
from agentphone_async.archive.settings_file import load_settings, update_settings
from agentphone_async.archive.template import DEFAULT_TEMPLATE, Template
from agentphone_async.models import Call
from agentphone_async.protocol.recording import ALL_EXTENSIONS
from agentphone_async.recordings.naming import hashed_id
from agentphone_async.sinks.interface import Target

SUMS_NAME = "SHA256SUMS"
"""In every folder of an archive."""


@dataclass(frozen=True, slots=True)
class Names:
    """Paths from calls, by a template.

    Attributes:
        template: what the paths are made of.
        zone: in which dates are written.
        key: hashes the ids; None leaves them as they are.
    """

    template: Template
    zone: tzinfo
    key: bytes | None = None

    def stem(self, call: Call) -> PurePosixPath:
        """The path, relative to the archive and without extension."""
        shown = call.id if self.key is None else hashed_id(call.id, self.key)
        return self.template.render(call, self.zone, call_id=shown)


def names_of(options: RunOptions, key: bytes | None) -> Names:
    """Where recordings go in a run with these options."""
    template = options.template or Template.parse(DEFAULT_TEMPLATE)
    return Names(template, options.zone or UTC, key)


async def key_of_names(catalog: Catalog, *, hash_ids: bool) -> bytes | None:
    """The key of an archive whose names are hashed; one that has begun with that continues.

    It is kept in the catalog and beside it, so that a lost catalog takes no names with it.
    """
    folder = catalog.path.parent
    known = await catalog.run(known_hash_key)
    if known is None:
        beside = load_settings(folder).hash_key
        if beside is None and not hash_ids:
            return None
        known = await catalog.transaction(hash_key, beside)
    update_settings(folder, hash_key=known)
    return known


def target_of(stem: PurePosixPath, mtime: float | None = None) -> Target:
    """The sink's target for a path without extension."""
    folder, _, name = str(stem).rpartition("/")
    return Target(_folder(folder), name, mtime=mtime)


@lru_cache(maxsize=256)
def _folder(text: str) -> PurePosixPath:
    """One and the same for all files of a folder: paths are compared and hashed slowly."""
    return PurePosixPath(text)


def folders_of(stems: Iterable[PurePosixPath]) -> set[PurePosixPath]:
    """The folders in which recordings have their places."""
    return {_folder(text) for text in {str(stem).rpartition("/")[0] for stem in stems}}


def end_of(call: Call) -> float | None:
    """When a call's recording was made, as a time of modification; None if nobody knows."""
    ended = call.ended_at or call.started_at
    try:
        return None if ended is None else ended.timestamp()
    except (OverflowError, ValueError):
        return None


def places(stem: PurePosixPath) -> tuple[str, str]:
    """The paths that a recording usually gets, as text: making paths of all would cost too much."""
    return f"{stem}.wav", f"{stem}.mp3"


def all_places(stem: PurePosixPath) -> list[str]:
    """Every path that a recording may get."""
    return [f"{stem}{extension}" for extension in ALL_EXTENSIONS]


def stem_of(path: PurePosixPath) -> PurePosixPath:
    """The path of a recording without the extension that its audio type gave it."""
    return path.with_suffix("") if path.suffix in ALL_EXTENSIONS else path


def version_stem(stem: PurePosixPath, version: int) -> PurePosixPath:
    """The name of another version: ``recording-x`` becomes ``recording-x.v2``.

    No two calls meet in it: rendered ids contain no dot, so that only a template's own text can
    end in ``.v2``, and then every name does.
    """
    return stem if version == 1 else stem.parent / f"{stem.name}.v{version}"

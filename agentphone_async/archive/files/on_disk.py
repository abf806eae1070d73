"""What really lies on the disk; each function blocks, and is for the catalog's thread."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal

from agentphone_async.archive.catalog.schema import FILE_NAME
from agentphone_async.archive.files.evidence import INDEX_FOLDER, sums_in
from agentphone_async.archive.lock import LOCK_NAME
from agentphone_async.archive.names import SUMS_NAME
from agentphone_async.errors import RecordingError
from agentphone_async.protocol.display import printable
from agentphone_async.protocol.endpoints import Request
from agentphone_async.protocol.recording import (
    HEAD_BYTES,
    Audio,
    Expected,
    judge,
    media_type_of,
)
from agentphone_async.sinks.disk import (
    destination_error,
    destination_errors,
    link_or_replace,
)
from agentphone_async.sinks.erased import ERASED_NAME, SETTINGS_NAME
from agentphone_async.sinks.leftovers import is_temp

_CHUNK = 1024 * 1024
_UNKNOWN = Expected(media_type="", length=None, framed=False, validator=None)
"""No response vouches for a file that was found: only its own header can tell that it is whole."""


@dataclass(frozen=True, slots=True)
class Found:
    """A file that was found and read.

    Attributes:
        path: relative to the archive.
        size: bytes.
        sha256: of its bytes, in hexadecimal.
        audio: what it was judged to be; None if it is not audio, or cut off.
        vouched: whether ``SHA256SUMS`` has this very sum for it (True) or another (False); None
            if it has none.
    """

    path: PurePosixPath
    size: int
    sha256: str
    audio: Audio | None
    vouched: bool | None = None

    @property
    def sound(self) -> bool:
        """Whether its sum, or else the file itself, proves that it is a whole recording."""
        if self.vouched is not None:
            return self.vouched
        return self.audio is not None and self.audio.suspect is None


def size_of(folder: Path, path: PurePosixPath | str) -> int | None:
    """The size of a regular file, in bytes; None if there is none. Links are not followed."""
    try:
        status = os.lstat(f"{folder}/{path}")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise destination_error(error, folder / path) from error
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def examine(folder: Path, path: PurePosixPath, call_id: str = "") -> Found | None:
    """Read a file, hash it and judge it; None if there is no regular file."""
    if size_of(folder, path) is None:
        return None
    digest = hashlib.sha256()
    head = b""
    size = 0
    with destination_errors(folder / path), (folder / path).open("rb", buffering=0) as file:
        while chunk := file.read(_CHUNK):
            if len(head) < HEAD_BYTES:
                head += chunk[: HEAD_BYTES - len(head)]
            digest.update(chunk)
            size += len(chunk)
    sha256 = digest.hexdigest()
    listed = sums_in((folder / path).parent).get(path.name)
    vouched = None if listed is None else listed == sha256
    promise = replace(_UNKNOWN, length=size, framed=True) if vouched else _UNKNOWN
    audio = _judged(call_id, promise, head, size)
    if vouched and audio is None:  # it was archived as it is, whatever we think of it now
        audio = Audio(media_type_of(path.suffix))
    return Found(path, size, sha256, audio, vouched)


def _judged(call_id: str, promise: Expected, head: bytes, size: int) -> Audio | None:
    request = Request("Get Call Recording", "GET", "", call_id=call_id or None)
    try:
        return judge(request, promise, head, size)
    except RecordingError:
        return None


def quarantine(folder: Path, path: PurePosixPath, ending: str = ".damaged") -> PurePosixPath:
    """Rename a file that is not what it should be, and return its new name.

    It is never deleted: it may be somebody's. ``x.wav`` becomes ``x.wav.damaged``, or
    ``x.wav.damaged-2`` and so on.
    """
    asides = (
        path.parent / f"{path.name}{ending}{'' if number == 1 else f'-{number}'}"
        for number in itertools.count(1)
    )
    aside = next(one for one in asides if not os.path.lexists(folder / one))
    with destination_errors(folder / path):
        if not link_or_replace(os.fspath(folder / path), os.fspath(folder / aside)):
            raise OSError(f"{aside.name} has appeared meanwhile")
    return aside


def files_below(folder: Path, endings: tuple[str, ...]) -> Iterator[PurePosixPath]:
    """All files below a folder whose names end so, relative to it; links are not followed."""
    with destination_errors(folder):
        for top, folders, names in os.walk(folder, onerror=_raise):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            relative = PurePosixPath(Path(top).relative_to(folder).as_posix())
            for name in sorted(names):
                path = relative / name
                if (
                    name.endswith(endings)
                    and not name.startswith(".")
                    and path.as_posix() not in _OURS_AT_THE_TOP
                    and size_of(folder, path) is not None
                ):
                    yield path


def _raise(error: OSError) -> None:
    raise error


_OURS_AT_THE_TOP = frozenset(
    [
        LOCK_NAME,
        SETTINGS_NAME,
        ERASED_NAME,
        *(
            name + ending
            for name in (FILE_NAME, "inbox.sqlite3", "search.sqlite3")
            for ending in ("", "-wal", "-shm", "-journal")
        ),
    ]
)
ASIDE_ENDING = r"\.(?:damaged(?:-[0-9]+)?|(?:altered|suspect)-[0-9a-f]{8}(?:-[0-9]+)?)"
"""How the names end of files that were kept aside when others took their places; a pattern."""

_ASIDE = re.compile(rf".+{ASIDE_ENDING}|{re.escape(FILE_NAME)}\.old-[0-9]+(?:-wal|-shm)?")
_WORKSHOP = ".agentphone-rebuild/"
_HAS_MODES = sys.platform != "win32"


SeenKind = Literal["file", "leftover", "aside", "exposed", "unreadable"]

Seen = tuple[SeenKind, str, str]
"""What is there: a ``file`` (or a link, or whatever else is not a folder) that is not ours by its
name; a ``leftover``, the partial file of a run, dead or alive; a file that was put ``aside`` when
another took its place; a folder that is ``exposed``: others than its owner may look into it; one
that is ``unreadable``. Then where, relative to the archive, and why.
"""


def walk(folder: Path) -> Iterator[Seen]:
    """Go through the archive and tell what is there.

    Nothing is sorted and nothing kept, so that memory does not grow with the number of files.
    Links are not followed.
    """
    levels = [("", _entries("", os.fspath(folder)))]
    while levels:
        prefix, entries = levels[-1]
        entry = next(entries, None)
        if entry is None:
            levels.pop()
        elif isinstance(entry, tuple):
            yield entry
        elif not entry.is_dir(follow_symlinks=False):
            path = prefix + entry.name
            if (kind := _kind(entry.name, path)) is not None:
                yield kind, path, ""
        elif (path := prefix + entry.name) != INDEX_FOLDER:
            levels.append((f"{path}/", _entries(f"{path}/", entry.path)))


def _entries(prefix: str, place: str) -> Iterator[os.DirEntry[str] | Seen]:
    try:
        if _HAS_MODES and prefix and os.lstat(place).st_mode & 0o077:
            yield "exposed", prefix, ""
        with os.scandir(place) as entries:
            yield from entries
    except FileNotFoundError:
        return  # it has gone meanwhile
    except OSError as error:
        yield "unreadable", prefix, printable(error.strerror or str(error), 100)


def _kind(name: str, path: str) -> SeenKind | None:
    if is_temp(name) or path.startswith(_WORKSHOP):
        return "leftover"
    if _ASIDE.fullmatch(name):
        return "aside"
    return None if name == SUMS_NAME or path in _OURS_AT_THE_TOP else "file"

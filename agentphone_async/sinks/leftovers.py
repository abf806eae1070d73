"""Names by which what dead processes leave behind is known, and how it goes."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import secrets
import socket
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from agentphone_async.sinks.disk import patiently, remove

KEPT_FOR = 7 * 24 * 3600.0
"""Seconds that a part of a large recording waits for a run that continues with it."""
_DEAD_AFTER = 24 * 3600.0
_KEPT = re.compile(r"\.agentphone-[0-9a-f]{26}\.(?:kept|note)")
_TEMP = re.compile(r"\.agentphone-([0-9a-f]{8})-([0-9a-f]+)-([0-9a-f]{8})-[0-9a-f]+\.part")
_TOKEN = secrets.token_hex(4)  # tells this process from others that had its number
_STARTED = time.time()
_NUMBERS = itertools.count()


def temp_names() -> Iterator[str]:
    """New names, that no other process uses, and by which a dead process's leftovers are known."""
    name = f".agentphone-{_this_host()}-{os.getpid():x}-{_TOKEN}-{{:x}}.part"
    return map(name.format, _NUMBERS)


@lru_cache(maxsize=1)
def _this_host() -> str:
    """Where a process number means the same process: on this host, in this PID namespace.

    Containers may share a host's name, or a folder, and cannot see each other's processes.
    """
    try:
        space = str(Path("/proc/self/ns/pid").readlink())
    except OSError:  # not Linux, or hidden
        space = ""
    return f"{zlib.crc32(f'{socket.gethostname()} {space}'.encode()):08x}"


def is_temp(name: str) -> bool:
    """Whether a file name is one of `temp_names`, of any process, or that of a kept part."""
    return _TEMP.fullmatch(name) is not None or _KEPT.fullmatch(name) is not None


def kept_names(folder: str, name: str) -> tuple[str, str]:
    """Where a part of the recording of this name is kept, and the note beside it."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:26]
    return f"{folder}.agentphone-{digest}.kept", f"{folder}.agentphone-{digest}.note"


@lru_cache(maxsize=1)
def boot_id() -> str | None:
    """Which start of the machine this is; None where that cannot be told."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return None


def read_note(path: str) -> dict[str, Any] | None:
    """What a note on a part says; None if there is none, or none that says enough."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - strings all the way down here
            said = json.loads(file.read(4096))
        named = _TEMP.fullmatch(said["temp"]) if "temp" in said else "size" in said
        return said if named and "mark" in said and ("sha256" in said or "boot" in said) else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def is_orphan(path: str) -> bool:
    """Whether a temporary file is there, and the process that wrote it is dead."""
    file = Path(path)
    match = _TEMP.fullmatch(file.name)
    return match is not None and file.exists() and _is_dead(match, file)


def sweep(folder: Path, noted: set[str] | None = None, suffixes: tuple[str, ...] = ()) -> int:
    """Remove what dead processes left in a folder; return how many such files may not go yet.

    Args:
        folder: may be absent.
        noted: gets the names that end with one of ``suffixes``, on the way.
        suffixes: see ``noted``.

    A process counts as dead if it ran on this host, in this PID namespace, and has no entry in
    the process table any more, or has left its number to this one (in a container, each process
    is the first); or if its file has not been written to for a day. What a note names stays: it is
    a part of a large recording.
    """
    staying = 0
    dead: list[str] = []
    notes: list[str] = []
    with (
        suppress(FileNotFoundError, NotADirectoryError),
        patiently(lambda: os.scandir(folder)) as entries,
    ):
        for entry in entries:
            name = entry.name
            if not name.startswith(".agentphone-"):
                if noted is not None and name.endswith(suffixes):
                    noted.add(name)
            elif not entry.is_file(follow_symlinks=False):
                continue
            elif match := _TEMP.fullmatch(name):
                if _is_dead(match, entry):
                    dead.append(entry.path)
                else:
                    staying += 1
            elif _KEPT.fullmatch(name):
                if _is_older(entry, KEPT_FOR):
                    remove(entry.path)
                    continue
                notes.append(entry.path)
                if noted is not None:
                    noted.add(name)
    said = [read_note(path) for path in notes if dead and path.endswith(".note")]
    parts = {note.get("temp") for note in said if note is not None}
    return staying + sum(not remove(path) for path in dead if os.path.basename(path) not in parts)  # noqa: PTH119


def _is_older(entry: os.DirEntry[str], seconds: float) -> bool:
    try:
        written = entry.stat(follow_symlinks=False).st_mtime
    except FileNotFoundError:
        return False
    return time.time() - written > seconds


def _is_dead(match: re.Match[str], entry: os.DirEntry[str] | Path) -> bool:
    pid = int(match[2], 16)
    ours = pid == os.getpid()
    try:
        status = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return False
    # A file that is about to get its name is dated already, and not by when it was written.
    written = max(status.st_mtime, status.st_ctime)
    if match[1] == _this_host():
        if not ours and not _is_alive(pid):
            return True
        if ours and match[3] != _TOKEN and written < _STARTED:
            return True
    return time.time() - written > _DEAD_AFTER


def _is_alive(pid: int) -> bool:
    if sys.platform == "win32":  # signal 0 would end the process there
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True

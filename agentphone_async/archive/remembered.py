"""What an archive remembers of its runs' options, so that a forgotten flag does not mix layouts."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, tzinfo
from pathlib import Path, PurePosixPath

from agentphone_async.archive.options import Mode, RunOptions
from agentphone_async.archive.selection.selection import SelectionError, load_zone
from agentphone_async.archive.settings_file import ArchiveSettings, update_settings
from agentphone_async.archive.template import DEFAULT_TEMPLATE, Template
from agentphone_async.sinks.disk import destination_errors, is_temp
from agentphone_async.sinks.local import Fsync

_MODES: dict[Mode, tuple[int, int]] = {"private": (0o600, 0o700), "group": (0o640, 0o2750)}
"""Of files and of folders."""


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


def modes_of(mode: Mode) -> tuple[int, int]:
    """The modes of files and of folders; those of the umask as it is now."""
    if mode in _MODES:
        return _MODES[mode]
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask, 0o777 & ~mask


def share(top: Path, folders: Iterable[PurePosixPath], mode: Mode) -> None:
    """Let others have what is private so far, as the mode says; blocking.

    Files are made for their owner only, and opened to others when they are whole: what is under
    way is nobody's business. Files that are not private (any more) are left as they are.
    """
    if mode == "private" or sys.platform == "win32":
        return
    for_file, for_folder = modes_of(mode)
    chosen = {PurePosixPath()}
    for folder in folders:
        chosen.update([folder, *folder.parents])
    for folder in sorted(chosen):
        with destination_errors(top / folder):
            _share(top / folder, for_file, for_folder)


def _share(folder: Path, for_file: int, for_folder: int) -> None:
    try:
        status = folder.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        return
    if not status.st_mode & 0o077:
        folder.chmod(for_folder)
    with os.scandir(folder) as entries:
        for entry in entries:
            if is_temp(entry.name) or not entry.is_file(follow_symlinks=False):
                continue
            status = entry.stat(follow_symlinks=False)
            if not status.st_mode & 0o077 and status.st_uid == os.geteuid():
                Path(entry.path).chmod(for_file)

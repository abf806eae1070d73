"""Parts of large recordings that outlive a run: the bytes, and a note beside them.

The note tells of which body they are a part, and their SHA-256; bytes that are not what it says are
worth nothing. While they are written it names the temporary file instead, for when the process is
killed: what it wrote is there all the same, unless the machine itself was started again since. All
are private, lie where the recording would lie, and are swept after a week.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentphone_async.protocol.recording import HEAD_BYTES
from agentphone_async.sinks.disk import create, open_part, remove, write_all
from agentphone_async.sinks.leftovers import boot_id, is_orphan, kept_names, read_note

if TYPE_CHECKING:
    from hashlib import _Hash

_STEP = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Part:
    """The beginning of a body, open for writing at its end.

    Attributes:
        fd: its descriptor.
        size: bytes.
        digest: the hash of them, to be gone on with.
        head: the first of them.
    """

    fd: int
    size: int
    digest: _Hash
    head: bytes


def note_part(prefix: str, stem: str, mark: str, temp: str) -> None:
    """Note what a temporary file is a part of, for when this process is killed.

    Raises:
        OSError: the disk failed.
    """
    boot = boot_id()
    if boot is not None:
        kept, note = kept_names(prefix, stem)
        remove(kept)
        _write_note(note, {"mark": mark, "temp": os.path.basename(temp), "boot": boot})  # noqa: PTH119 - strings


def keep_part(prefix: str, stem: str, mark: str, temp: str, size: int, digest: _Hash) -> None:
    """Let a closed temporary file lie for a later run; the note comes last.

    Raises:
        OSError: the disk failed.
    """
    kept, note = kept_names(prefix, stem)
    remove(note)
    os.replace(temp, kept)  # noqa: PTH105 - strings all the way down here
    _write_note(note, {"mark": mark, "size": size, "sha256": digest.hexdigest()})


def _write_note(note: str, said: dict[str, object]) -> None:
    remove(note)
    fd = create(note)
    try:
        write_all(fd, [json.dumps(said).encode()])
    finally:
        os.close(fd)


def left_of(prefix: str, stem: str) -> list[str]:
    """Names of what may lie there of the part of a recording; what is being written is left out."""
    kept, note = kept_names("", stem)
    said = read_note(prefix + note)
    if said is None or "temp" not in said:
        return [kept, note]
    written = prefix + said["temp"]
    if os.path.lexists(written) and not is_orphan(written):
        return [kept]
    return [kept, said["temp"], note]


def take_part(prefix: str, stem: str, mark: str, temp: str) -> Part | None:
    """Make what was kept under this mark a temporary file of this process; None if nothing was.

    Two processes cannot take the same: the file is renamed, which only one of them can do. What
    turns out to be something else is removed.

    Raises:
        OSError: the disk failed.
    """
    kept, note = kept_names(prefix, stem)
    said = read_note(note)
    if said is None:
        remove(note)
        return None
    written = prefix + said["temp"] if "temp" in said else kept
    if written != kept and not is_orphan(written):
        return None  # somebody is writing it
    if said["mark"] != mark or said.get("boot") not in {None, boot_id()}:
        remove(note)
        remove(written)
        return None
    try:
        os.rename(written, temp)  # noqa: PTH104
    except FileNotFoundError:
        return None
    remove(note)
    fd = open_part(temp)
    try:
        digest = hashlib.sha256()
        size = 0
        head = b""
        while block := os.read(fd, _STEP):
            digest.update(block)
            size += len(block)
            head = head or block[:HEAD_BYTES]
        whole = written != kept or (size, digest.hexdigest()) == (said["size"], said["sha256"])
        if whole and size:
            return Part(fd, size, digest, head)
    except BaseException:
        with suppress(OSError):
            os.close(fd)
        remove(temp)
        raise
    os.close(fd)
    remove(temp)
    return None

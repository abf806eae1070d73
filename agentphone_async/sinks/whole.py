"""Is what lies under a recording's name a recording? Blocking; reads its beginning only."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from agentphone_async.errors import RecordingError, TruncatedRecordingError
from agentphone_async.protocol.display import printable
from agentphone_async.protocol.endpoints import Request
from agentphone_async.protocol.recording import HEAD_BYTES, Expected, judge

_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_UNKNOWN = Expected(media_type="", length=None, framed=False, validator=None)
_REQUEST = Request("Get Call Recording", "GET", "")


def whats_wrong(path: str) -> str | None:
    """Why a name that is taken does not hold a whole recording, in a few words; None if it does.

    A recording of a stream, whose header does not know its length, is given the benefit of the
    doubt; one whose header promises more bytes than there are is not.

    Raises:
        FileNotFoundError: the name is free.
        OSError: it cannot be looked at.
    """
    try:
        fd = os.open(path, _FLAGS)
    except FileNotFoundError:
        if not os.path.lexists(path):
            raise
        return "a symbolic link that leads nowhere"
    except OSError as error:
        if os.path.lexists(path):
            return f"something that cannot be read ({error.strerror})"
        raise
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            return "a folder" if stat.S_ISDIR(status.st_mode) else "not a file"
        if not status.st_size:
            return "an empty file"
        head = os.read(fd, HEAD_BYTES)
    finally:
        os.close(fd)
    try:
        judge(_REQUEST, _UNKNOWN, head, status.st_size)
    except TruncatedRecordingError:
        return "a recording that was cut off"
    except RecordingError:
        return "not a recording"
    return None


def obstacle(path: str, sha256: str) -> str | None:
    """What has taken a name, if it is neither a whole recording nor the same bytes."""
    try:
        wrong = whats_wrong(path)
        if wrong is None or not os.path.isfile(path):  # noqa: PTH113 - a string already
            return wrong
        with open(path, "rb") as file:  # noqa: PTH123 - likewise
            same = hashlib.file_digest(file, "sha256").hexdigest() == sha256
    except OSError:
        return None  # it has gone meanwhile
    return None if same else wrong


def obstacle_line(path: Path, what: str) -> str:
    """What is in the way of a recording, and what is to be done about it, in one line."""
    shown = printable(str(path), 300)
    return f"{what} is in the way at {shown}; move it away, or overwrite it"

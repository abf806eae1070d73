"""Exit codes, and the one line that explains each."""

from __future__ import annotations

import errno
import os
import traceback

DONE = 0
SOME_FAILED = 1
USAGE = 2
KEY_REFUSED = 3
DESTINATION = 4
LOCKED = 5
INTERRUPTED = 130


def explain(error: BaseException) -> tuple[int, str]:
    """The exit code and the line for an error that ended a command.

    An error that nobody foresaw is a bug: the line says so, and the traceback is shown only if
    ``AGENTPHONE_DEBUG`` is set.
    """
    from agentphone_async import errors
    from agentphone_async.archive.selection import SelectionError
    from agentphone_async.archive.template import TemplateError
    from agentphone_async.protocol.display import printable

    if os.environ.get("AGENTPHONE_DEBUG"):
        traceback.print_exception(error)
    line = printable(str(error), 1000)
    match error:
        case errors.ArchiveLockedError():
            return LOCKED, line
        case errors.DestinationError():
            return DESTINATION, line
        case errors.ConfigurationError():
            return USAGE, line
        case errors.AuthenticationError() | errors.PermissionDeniedError():
            # A recording is asked for without a key, which then cannot have been refused.
            asked_with_key = not (error.path or "").endswith("/recording")
            return KEY_REFUSED if asked_with_key else SOME_FAILED, line
        case errors.AgentPhoneError():
            return SOME_FAILED, line
        case FileExistsError():
            return DESTINATION, line
        case SelectionError() | TemplateError():
            return USAGE, line
        case OSError(errno=errno.ENOSPC | errno.EDQUOT | errno.EIO | errno.EFBIG):
            return DESTINATION, printable(_trouble(error), 1000)
    name = type(error).__name__
    return SOME_FAILED, f"unexpected {name}: {line}; set AGENTPHONE_DEBUG=1 to see where"


def _trouble(error: OSError) -> str:
    reason = error.strerror or str(error)
    # Files that are ours to write have errors of their own; what has no name is standard output.
    where = error.filename or "cannot write to standard output"
    return f"{where}: {reason[:1].lower()}{reason[1:]}"

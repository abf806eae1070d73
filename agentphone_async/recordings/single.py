"""One recording from its call's id to its place."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from agentphone_async.errors import ConfigurationError, RecordingExistsError
from agentphone_async.recordings.downloader import erased
from agentphone_async.recordings.fetch import Fetcher
from agentphone_async.recordings.jobs import flat_target
from agentphone_async.recordings.outcomes import Recording
from agentphone_async.recordings.patience import believed, patiently
from agentphone_async.recordings.place import Place
from agentphone_async.sinks.interface import Target

if TYPE_CHECKING:
    from agentphone_async.sinks.interface import Sink


async def store_one(
    fetcher: Fetcher, place: Place, call_id: str, target: Target, wait: float, *, overwrite: bool
) -> Recording:
    """See `AsyncAgentPhone.fetch_recording`."""
    if place.erased is not None and place.erased.look().covers(call_id):
        raise erased(call_id)
    if not overwrite:
        taken = (await place.sink.existing([target]))[0]
        if taken is not None:
            raise _exists(call_id, place.root / taken)
    fetched = await patiently(lambda: believed(fetcher, call_id, target), wait)
    try:
        stored = (await place.sink.publish([fetched.ready]))[0]
    finally:
        fetcher.budget.release(fetched.held)
    path = place.root / stored.name
    if stored.in_the_way is not None:
        raise _exists(call_id, path, stored.in_the_way)
    if not stored.new:
        raise _exists(call_id, path)
    return fetched.recording(call_id, place.root, stored)


def where_to(
    call_id: str, dest: str | Path | Sink | None, path: str | Path | None
) -> tuple[str | Path | Sink, Target]:
    """The folder, and the name in it, from what a caller gives: one of the two.

    Raises:
        ConfigurationError: neither or both are given, ``path`` is not the path of a file, or
            ``call_id`` is not text.
    """
    if not isinstance(call_id, str):
        raise ConfigurationError(
            f"call_id is {type(call_id).__name__}; use the id, such as 'call_ghi012', and for many "
            "download_recordings"
        )
    if (dest is None) == (path is None):
        raise ConfigurationError(
            "give either dest, the folder, or path=, the file; "
            + ("neither is given" if dest is None else "both are given")
        )
    if dest is not None:
        return dest, flat_target(call_id, None)
    if not isinstance(path, str | Path):
        raise ConfigurationError(f"path is {type(path).__name__}; use the path of a file")
    file = Path(path)
    if not file.name or file.name == ".." or str(path).endswith(("/", "\\", "/.")):
        raise ConfigurationError(
            f"path is {str(path)!r}, not the path of a file; use dest for a folder"
        )
    return file.parent, Target(PurePosixPath(), file.name, extension="")


def _exists(call_id: str, path: Path, obstacle: str | None = None) -> RecordingExistsError:
    if obstacle is None:
        line = f"{path} is there already; it was kept (use overwrite=True to replace it)"
    else:
        line = (
            f"{obstacle} is in the way at {path}; it was kept: move it away, or use "
            "overwrite=True to replace it"
        )
    return RecordingExistsError(line, call_id=call_id, path=path)

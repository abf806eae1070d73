"""One call on its way through a run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from agentphone_async.archive.catalog.rows import RecordingRow
from agentphone_async.archive.files import Found
from agentphone_async.archive.names import stem_of, target_of, version_stem
from agentphone_async.models import Call
from agentphone_async.sinks.interface import Target


@dataclass(slots=True)
class Task:
    """A recording that is to be fetched.

    Attributes:
        call: whose it is.
        stem: where it goes, relative to the archive and without extension.
        known: its row so far; None if there is none.
        aside: an unsound file that lay at its place and was renamed.
        again: this run has counted the call as not ready already.
    """

    call: Call
    stem: PurePosixPath
    known: RecordingRow | None
    aside: Found | None = None
    again: bool = False

    @property
    def target(self) -> Target:
        """The place, for a sink: of another one if not the bytes come that were archived before."""
        target = target_of(self.stem)
        if self.had is None:
            return target
        return replace(target, known=self.had, other=target_of(self._next_version()))

    @property
    def had(self) -> str | None:
        """SHA-256 of the version that was archived last; None if none ever was."""
        if self.known is None or self.known.path is None:
            return None
        return self.known.sha256

    def _next_version(self) -> PurePosixPath:
        """Where other bytes go: beside those that were archived, as the next version."""
        if self.known is None or self.known.path is None:
            raise ValueError("there is no earlier version")
        first = stem_of(self.known.path)
        ending = f".v{self.known.version}"
        if self.known.version > 1 and first.name.endswith(ending):
            first = first.parent / first.name.removesuffix(ending)
        return version_stem(first, self.known.version + 1)

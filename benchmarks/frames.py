"""Count the Python functions and frames that one small recording passes: a measure of the path.

``python -m benchmarks.frames`` downloads one 24 kB recording from the emulator, which runs in a
process of its own, after a first one has opened the connection and imported everything. It counts
with ``sys.setprofile``, in the event loop's thread and in those of the file pool: each entry into a
Python function, and each resumption of a coroutine, is a frame.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from agentphone_async import AsyncAgentPhone
from agentphone_async.emulator import EmulatorThread
from agentphone_async.sinks.threads import FilePool

PACKAGE = str(Path(__file__).parents[1] / "agentphone_async")
SECONDS = 1.5
"""Of 8 kHz 16-bit mono: a recording of 24 kB."""


@dataclass
class Frames:
    """What was counted.

    Attributes:
        entered: how often each function was entered or resumed.
    """

    entered: Counter[CodeType] = field(default_factory=Counter)

    def note(self, frame: FrameType, event: str, _: Any) -> None:
        """Be told by the interpreter."""
        if event == "call":
            self.entered[frame.f_code] += 1

    @contextmanager
    def in_threads(self) -> Iterator[None]:
        """Count what the threads of file pools do, too, although they run already."""
        real = FilePool.run

        async def run(pool: FilePool, work: Callable[..., Any], /, *args: Any, **named: Any) -> Any:
            def counted() -> Any:
                sys.setprofile(self.note)
                try:
                    return work(*args, **named)
                finally:
                    sys.setprofile(None)

            return await real(pool, counted)

        FilePool.run = run  # type: ignore[method-assign,assignment]
        try:
            yield
        finally:
            FilePool.run = real  # type: ignore[method-assign]

    def of_package(self) -> Counter[CodeType]:
        """Those of this package alone."""
        return Counter(
            {
                code: count
                for code, count in self.entered.items()
                if code.co_filename.startswith(PACKAGE) and "/emulator/" not in code.co_filename
            }
        )


async def download(client: AsyncAgentPhone, call_id: str, folder: Path) -> None:
    """One recording, by the way that many take."""
    outcomes = [each async for each in client.download_recordings([call_id], folder, concurrency=1)]
    assert len(outcomes) == 1, outcomes


async def count(base_url: str, ids: list[str]) -> Frames:
    """Count the second of two downloads."""
    frames = Frames()
    with tempfile.TemporaryDirectory() as folder:
        async with AsyncAgentPhone(base_url=base_url) as client:
            await download(client, ids[0], Path(folder))
            with frames.in_threads():
                sys.setprofile(frames.note)
                try:
                    await download(client, ids[1], Path(folder))
                finally:
                    sys.setprofile(None)
    return frames


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--top", type=int, default=0, help="show this many functions")
    arguments = parser.parse_args()
    with EmulatorThread() as emulator:
        ids = [emulator.add_call(duration=SECONDS).id for _ in range(2)]
        frames = asyncio.run(count(emulator.base_url, ids))
    ours = frames.of_package()
    files = {code.co_filename for code in ours}
    print(f"package: {len(ours)} functions in {len(files)} files, {sum(ours.values())} frames")
    print(f"all: {len(frames.entered)} functions, {sum(frames.entered.values())} frames")
    for code, entered in sorted(
        ours.items(), key=lambda item: (item[0].co_filename, item[0].co_firstlineno)
    )[: arguments.top]:
        name = code.co_filename.removeprefix(PACKAGE)
        print(f"{entered:5} {name}:{code.co_firstlineno} {code.co_qualname}")


if __name__ == "__main__":
    main()

"""A sink of a user's that does what it should not: one line that names it, and nothing miscounted."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from pathlib import Path
from types import SimpleNamespace

import pytest

from agentphone_async import AsyncAgentPhone, StoreSink
from agentphone_async.errors import ConfigurationError, DestinationError, RecordingNotFoundError
from agentphone_async.recordings import transfer
from agentphone_async.sinks import checked
from agentphone_async.sinks.interface import Sink, Stored
from agentphone_async.testing import SinkConformance
from tests.support.downloads import impatient, wave
from tests.support.raw_server import RawServer, respond, then_close
from tests.support.sinks import Parts, Sound

SMALL = wave(2_000)
THERE = respond(200, SMALL, content_type="audio/wav")
GATHERED = wave(200_000)
LARGE = wave(550_000)


class Mine(Sound):
    """A sound sink, until one of its methods is another."""

    async def begin(self, target):
        return Part(self, target)


class Part(Parts):
    pass


def answers(value):
    async def method(*_):
        return value

    return method


def raises(error):
    async def method(*_):
        raise error

    return method


def not_async(*_):
    return []


async def never(*_):
    await asyncio.Event().wait()


def changed(method, **fields):
    """The answer of a method of `Mine` or `Part`, with some fields replaced."""

    async def other(self, *given):
        answer = await method(self, *given)
        if isinstance(answer, list):
            return [one._replace(**fields) for one in answer]
        return answer._replace(**fields)

    return other


async def cancels_itself(*_):
    raise asyncio.CancelledError


async def grouped(*_):
    async with asyncio.TaskGroup() as group:
        group.create_task(raises(KeyError("k"))())


async def refusing(*_):
    raise DestinationError("the shelf is full")


BODY = {"existing": SMALL, "publish": SMALL, "stage": GATHERED}
"""What makes a method of the sink be called; of an upload, and `begin`, a large one."""

RULES = {
    "existing": "finds_what_is_there",
    "publish": "publishes_bytes_as_they_are",
    "abort": "an_aborted_upload_leaves_nothing",
}
"""The test of the suite that calls a method, where that is not the one of mixed batches."""

WRONG = [
    (Mine, "existing", answers(None), "returned None; expected was a list of 1 PurePosixPath or"),
    (Mine, "existing", answers([]), "returned a list of 0; expected was a list of 1"),
    (Mine, "existing", answers(["x.wav"]), "returned str 'x.wav'; expected was a list of 1"),
    (Mine, "existing", answers("x"), "returned str 'x'; expected was a list of 1"),
    (Mine, "existing", raises(KeyError("k")), "raised KeyError: 'k'; expected was a result, or"),
    (Mine, "existing", not_async, "returned list, not awaitable; expected: async def existing"),
    (Mine, "existing", never, r"has not returned for \d s; expected"),
    (Mine, "existing", lambda _: answers([None])(), "raised TypeError: "),
    (Mine, "begin", answers(None), "returned None; expected was an Upload, and this lacks write, "),
    (
        Mine,
        "begin",
        answers(SimpleNamespace(size=0)),
        "returned SimpleNamespace .* lacks write, stage, abort",
    ),
    (Mine, "begin", raises(KeyError("k")), "raised KeyError: 'k'"),
    (Mine, "begin", not_async, "returned list, not awaitable"),
    (Mine, "begin", never, "has not returned"),
    (Mine, "stage", answers(None), "returned None; expected was Staged"),
    (Mine, "stage", answers(Stored(Path("x"), 1, "")), "returned Stored "),
    (Mine, "stage", changed(Mine.stage, size=5), "returned 5 as the size; expected were 200000 b"),
    (Mine, "stage", changed(Mine.stage, sha256="0"), "returned str '0'; expected was "),
    (Mine, "stage", changed(Mine.stage, target=None), "returned another target or audio"),
    (Mine, "stage", raises(OSError(28, "No space left")), r"raised OSError: \[Errno 28\] No space"),
    (Mine, "publish", answers(None), "returned None; expected was a list of 1 Stored"),
    (Mine, "publish", answers([]), "returned a list of 0; expected was a list of 1 Stored"),
    (Mine, "publish", answers(["x.wav"]), "returned str 'x.wav'; expected was a list of 1 Stored"),
    (Mine, "publish", answers({}), "returned dict {}; expected was a list of 1 Stored"),
    (Mine, "publish", changed(Mine.publish, name="x"), "returned str 'x'; expected was a PurePos"),
    (Mine, "publish", changed(Mine.publish, size=1), "returned 1 as the size; expected were 2000"),
    (Mine, "publish", changed(Mine.publish, sha256=None), "returned None; expected was [0-9a-f]*"),
    (Mine, "publish", changed(Mine.publish, new=None), "returned None; expected was True or False"),
    (Mine, "publish", raises(KeyError("k")), "raised KeyError: 'k'"),
    (Mine, "publish", raises(TimeoutError()), "raised TimeoutError; expected"),
    (Mine, "publish", raises(RecordingNotFoundError("x")), "raised RecordingNotFoundError: x"),
    (Mine, "publish", cancels_itself, "raised CancelledError"),
    (Mine, "publish", grouped, "raised KeyError: 'k'"),
    (Mine, "publish", not_async, "returned list, not awaitable"),
    (Mine, "publish", never, "has not returned"),
    (Part, "write", raises(KeyError("k")), "raised KeyError: 'k'"),
    (Part, "write", answers(None), "left 0 as its size; expected were "),
    (Part, "write", not_async, "returned list, not awaitable"),
    (Part, "write", never, "has not returned"),
    (Part, "stage", answers(None), "returned None; expected was Staged"),
    (Part, "stage", changed(Part.stage, size=5), "returned 5 as the size; expected were 550000"),
    (Part, "stage", changed(Part.stage, sha256=b""), "returned bytes b''; expected was "),
    (Part, "stage", raises(KeyError("k")), "raised KeyError: 'k'"),
    (Part, "abort", raises(KeyError("k")), "raised KeyError: 'k'"),
    (Part, "abort", not_async, "returned list, not awaitable"),
]


async def fetch(client: AsyncAgentPhone, sink: Sink) -> list[object]:
    return [await client.fetch_recording("call_x", sink)]


async def download(client: AsyncAgentPhone, sink: Sink) -> list[object]:
    async with aclosing(client.download_recordings(["call_x"], sink)) as outcomes:
        return [outcome async for outcome in outcomes]


@pytest.fixture(autouse=True)
def small_steps(monkeypatch):
    monkeypatch.setattr(transfer, "GATHERED", 250_000)
    monkeypatch.setattr(transfer, "STEP", 100_000)


@pytest.mark.parametrize("way", [fetch, download])
@pytest.mark.parametrize(("kind", "method", "wrong", "told"), WRONG)
async def test_what_a_sink_does_wrong_is_told_in_one_line(
    way, kind, method, wrong, told, monkeypatch
):
    monkeypatch.setattr(kind, method, wrong)
    if wrong is never:
        monkeypatch.setattr(checked, "PATIENCE", 0.2)
        monkeypatch.setattr(checked, "PER_RECORDING", 0.1)
        monkeypatch.setattr(checked, "SLOWEST", 100_000_000)
    body = BODY.get(method, LARGE) if kind is Mine else LARGE
    script = respond(200, body, content_type="audio/wav")
    if method == "abort":
        script = then_close(script[:-50_000])
    line = rf"^the sink's method {kind.__name__}\.{method} {told}"
    async with RawServer(script) as server, impatient(server.base_url) as client:
        with pytest.raises(DestinationError, match=line) as caught:
            await way(client, Mine({}))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("way", [fetch, download])
async def test_what_a_sink_says_itself_is_told_as_it_is(way, monkeypatch):
    monkeypatch.setattr(Mine, "publish", refusing)
    async with RawServer(THERE) as server, impatient(server.base_url) as client:
        with pytest.raises(DestinationError, match=r"^the shelf is full$"):
            await way(client, Mine({}))


@pytest.mark.parametrize("way", [fetch, download])
async def test_what_keeps_the_loop_from_running_is_logged_once(way, monkeypatch, caplog):
    async def blocks(self, targets):
        time.sleep(0.02)
        return [None] * len(targets)

    monkeypatch.setattr(checked, "BLOCKED", 0.01)
    monkeypatch.setattr(checked, "blocking", {})
    monkeypatch.setattr(Mine, "existing", blocks)
    place: dict[str, bytes] = {}
    async with RawServer(THERE) as server, impatient(server.base_url) as client:
        await way(client, Mine(place))
        place.clear()
        await way(client, Mine(place))
    assert place == {"recording-call_x.wav": SMALL}
    told = [one for one in caplog.messages if "Mine.existing blocked the event loop for" in one]
    assert len(told) == 1


class Half(StoreSink):
    async def has(self, name):
        return False

    async def create(self, name, data, recording):
        pass


@pytest.mark.parametrize(
    ("method", "wrong", "told"),
    [
        ("create", answers(None), "returned None; expected was bool"),
        ("create", not_async, "returned list, not awaitable"),
        ("create", raises(KeyError("k")), "raised KeyError: 'k'"),
        ("has", answers("yes"), "returned str 'yes'; expected was bool"),
        ("has", not_async, "returned list, not awaitable"),
    ],
)
@pytest.mark.parametrize("way", [fetch, download])
async def test_so_is_what_its_two_methods_do_wrong(way, method, wrong, told, monkeypatch):
    monkeypatch.setattr(Half, method, wrong)
    async with RawServer(THERE) as server, impatient(server.base_url) as client:
        with pytest.raises(DestinationError, match=rf"method Half\.{method} {told}"):
            await way(client, Half())


@pytest.mark.parametrize(("kind", "method", "wrong", "told"), WRONG)
def test_the_suite_tells_it_with_the_rule(kind, method, wrong, told, monkeypatch, tmp_path):
    monkeypatch.setattr(kind, method, wrong)
    places: dict[Path, dict[str, bytes]] = {}

    class Suite(SinkConformance):
        def open_sink(self, place):
            return Mine(places.setdefault(place, {}))

        def contents(self, place):
            return {n: d for n, d in places.get(place, {}).items() if n[0] != "."}

    if wrong is never:
        monkeypatch.setattr("agentphone_async.testing.sink_conformance.PATIENCE", 0.2)
    rule = RULES.get(method, "publishes_a_mixed_batch")
    with pytest.raises(AssertionError) as caught:
        getattr(Suite(), f"test_{rule}")(tmp_path)
    assert str(caught.value).startswith("Mine breaks a rule of sinks: ")
    assert f"the sink's method {kind.__name__}.{method} " in str(caught.value)


async def test_a_sink_that_lacks_a_method_is_refused(monkeypatch):
    async with impatient("http://127.0.0.1:1") as client:
        for method in ("existing", "begin", "stage", "publish", "discard", "aclose"):
            with monkeypatch.context() as without:
                without.setattr(Mine, method, None)
                with pytest.raises(ConfigurationError, match=f"dest is Mine, which lacks {method}"):
                    await fetch(client, Mine({}))

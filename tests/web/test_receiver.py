"""What is AgentPhone's is kept before it is acknowledged; the rest is refused."""

from __future__ import annotations

import asyncio
import errno
import io
import os
import sqlite3
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agentphone_async.errors import CatalogError
from agentphone_async.web import receiver as receiver_module
from agentphone_async.web.facts import Facts
from agentphone_async.web.inbox import KEPT, Inbox, InboxFullError, forget
from tests.web.conftest import event, signed

ROOT = Path(__file__).parents[2]


async def post(sender, body, headers=None, path="/agentphone"):
    headers = signed(body) if headers is None else headers
    data = io.BytesIO(body) if isinstance(body, bytes) else body
    answer = await sender.post(path, data=data, headers=headers)
    await answer.read()
    return answer.status


async def test_an_event_is_on_the_disk_when_it_is_acknowledged(sender, tmp_path):
    assert await post(sender, event(callSuccessful=True, disconnectionReason="user_hangup")) == 204
    other = sqlite3.connect(tmp_path / "inbox.sqlite3")
    ((call_id, facts, state),) = other.execute("SELECT call_id, facts, state FROM events")
    other.close()
    assert (call_id, state) == ("call_1", "waiting")
    assert Facts.from_text(facts) == Facts(
        "A word.", "Positive", True, "user_hangup", "2026-01-15T14:05:31Z"
    )
    for file in tmp_path.glob("inbox*"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "again",
    [
        lambda body: (body, signed(body)),  # the sender tries again
        lambda body: (body, signed(body) | {"X-Webhook-ID": "another"}),  # a replay
        lambda body: (body + b" ", signed(body + b" ")),  # written again
        lambda body: (body, signed(body, at=time.time() - 60)),
        lambda _: (event(summary=None), signed(event(summary=None))),  # brings nothing
    ],
)
async def test_a_second_delivery_changes_nothing(sender, inbox, receiver, again):
    assert await post(sender, event()) == 204
    (first,) = await inbox.due(time.time(), 10)
    await inbox.done([first], "archived")
    assert await post(sender, *again(event())) == 204
    assert await inbox.waiting() == (0, None)
    assert (receiver.counts["new"], receiver.counts["duplicate"]) == (1, 1)


async def test_the_same_delivery_id_with_another_body_is_another_event(sender, inbox):
    for number in (1, 2):
        assert await post(sender, event(f"call_{number}")) == 204
    assert (await inbox.waiting())[0] == 2


async def test_news_about_a_call_that_is_done_make_it_due_again(sender, inbox):
    await post(sender, event(summary=None))
    (first,) = await inbox.due(time.time(), 10)
    await inbox.done([first], "archived")
    await post(sender, event(userSentiment=None))
    (again,) = await inbox.due(time.time(), 10)
    assert (again.facts.summary, again.facts.user_sentiment) == ("A word.", "Positive")


async def test_news_that_come_while_a_call_is_being_archived_are_not_lost(sender, inbox):
    await post(sender, event(summary=None))
    (first,) = await inbox.due(time.time(), 10)
    await post(sender, event())
    await inbox.done([first], "archived")
    assert [each.facts.summary for each in await inbox.due(time.time(), 10)] == ["A word."]


@pytest.mark.parametrize(
    ("body", "more"),
    [
        (b'{"event": "agent.message", "data": {"callId": "call_1"}}', {}),
        (event().replace(b'{"event"', b'{"test": true, "event"'), {}),
        (event(None), {}),
        (event(7), {}),
        (event(""), {}),
        (event("\udcff"), {}),
        (event("x" * 501), {}),
        (event("a\0b"), {}),
        (event("a\x1b[31mb"), {}),
        (b'{"event": "agent.call_ended"}', {}),
    ],
)
async def test_other_events_are_acknowledged_and_ignored(sender, inbox, receiver, body, more):
    assert await post(sender, body) == 204
    assert await inbox.waiting() == (0, None)
    assert receiver.counts["ignored"] == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda headers: {**headers, "X-Webhook-Signature": "sha256=" + "0" * 64},
        lambda headers: {**headers, "X-Webhook-Signature": "sha256=\xe9"},
        lambda headers: {**headers, "X-Webhook-Timestamp": "0"},
        lambda headers: {**headers, "X-Webhook-Timestamp": ""},
        lambda headers: {"X-Webhook-Signature": headers["X-Webhook-Signature"]},
        lambda headers: {"X-Webhook-Timestamp": headers["X-Webhook-Timestamp"]},
        lambda _: {},
        lambda headers: [*headers.items(), ("X-Webhook-Signature", "sha256=")],
        lambda headers: [*headers.items(), ("x-webhook-timestamp", "0")],
        lambda _: signed(event(), secret="whsec_other"),
        lambda _: signed(event(), at=time.time() - 400),
        lambda _: signed(b'{"a": 1}'),
    ],
)
async def test_what_does_not_verify_is_401(sender, inbox, receiver, change):
    assert await post(sender, event(), change(signed(event()))) == 401
    assert await inbox.waiting() == (0, None)
    assert receiver.counts["refused"] == 1


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b"null", b"{}", b'{"event": 5, "callId": "call_secret"}', b"\xff",
        b"[" * 50_000, b'{"a":' * 50_000, b'{"event": ' + b"9" * 5000 + b"}",
    ],
)  # fmt: skip
async def test_a_signed_body_that_is_no_event_is_400(sender, inbox, receiver, caplog, body):
    assert await post(sender, body) == 400
    assert await inbox.waiting() == (0, None)
    assert receiver.counts["refused"] == 1
    assert "call_secret" not in caplog.text


async def test_up_to_a_mebibyte_is_read(sender):
    body = event(x="")
    fits = event(x="y" * (2**20 - len(body)))
    assert len(fits) == 2**20
    assert await post(sender, fits) == 204
    assert await post(sender, fits + b" ") == 413

    async def chunks():
        for _ in range(20):
            yield b"x" * 2**16

    assert await post(sender, chunks(), signed(b"")) == 413


async def test_a_body_that_does_not_come_is_408(sender, monkeypatch):
    monkeypatch.setattr(receiver_module, "BODY_SECONDS", 0.05)

    async def nothing():
        yield b"{"
        await asyncio.sleep(0.3)

    assert await post(sender, nothing(), signed(event())) == 408


async def test_a_full_disk_asks_the_sender_to_come_again(sender, inbox, receiver):
    def full():
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        return error

    class Full:
        in_transaction = False

        def execute(self, *_):
            raise full()

    connection, inbox._connection = inbox._connection, Full()
    answer = await sender.post("/x", data=event(), headers=signed(event()))
    assert (answer.status, "Retry-After" in answer.headers) == (503, True)
    inbox._connection = connection
    assert (await sender.get("/healthz")).status == 503
    assert await post(sender, event()) == 204
    assert (await sender.get("/healthz")).status == 200
    assert receiver.counts["not_kept"] == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a file system of its own")
async def test_a_page_limit_is_a_full_disk(inbox):
    inbox._connection.execute("PRAGMA max_page_count = 8")
    adding = [
        inbox.add(f"call_{number}", Facts("x" * 500), os.urandom(32), 0.0) for number in range(200)
    ]
    with pytest.raises(InboxFullError, match="the disk is full"):
        await asyncio.gather(*adding)
    inbox._connection.execute("PRAGMA max_page_count = 1000000")
    assert await inbox.add("call_last", Facts(), os.urandom(32), 0.0)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD"])
async def test_webhooks_are_posted(sender, method):
    assert (await sender.request(method, "/agentphone")).status in {404, 405}


async def test_metrics_are_what_prometheus_reads(sender):
    await post(sender, event())
    await post(sender, event(), {})
    answer = await sender.get("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    lines = (await answer.text()).splitlines()
    values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert values["agentphone_watch_received_total"] == "1"
    assert values["agentphone_watch_refused_total"] == "1"
    assert values["agentphone_watch_waiting"] == "1"
    assert 0 <= float(values["agentphone_watch_oldest_seconds"]) < 60
    described = {line.split()[2] for line in lines if line.startswith("# TYPE")}
    assert described == set(values)


async def test_an_inbox_keeps_what_is_waiting_and_forgets_what_is_done(inbox, tmp_path):
    now = time.time()
    for number in range(3):
        await inbox.add(f"call_{number}", Facts(), os.urandom(32), now - KEPT - 10)
    first, second, _ = await inbox.due(now, 10)
    await inbox.done([first], "archived")
    await inbox.later([second.call_id], now + 60)
    await inbox.prune(now)
    assert (await inbox.waiting())[0] == 2
    assert [each.call_id for each in await inbox.due(now, 10)] == ["call_2"]
    assert await inbox.due(now, 10, {"call_2"}) == []
    assert forget(tmp_path, ["call_1", "call_2", "call_3"]) == 2
    assert await inbox.waiting() == (0, None)
    assert forget(tmp_path / "elsewhere", ["call_1"]) == 0


def other_program(path):
    other = sqlite3.connect(path)
    other.execute("PRAGMA application_id = 7")
    other.execute("CREATE TABLE t (x)")
    other.commit()
    other.close()


def newer(path):
    other = sqlite3.connect(path)
    other.execute(f"PRAGMA application_id = {int.from_bytes(b'APin', 'big')}")
    other.execute("PRAGMA user_version = 99")
    other.execute("CREATE TABLE t (x)")
    other.commit()
    other.close()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: path.write_bytes(b"not a database" * 100), "damaged"),
        (other_program, "another program"),
        (newer, "update agentphone-async"),
        (lambda path: path.mkdir(), "cannot be used"),
    ],
)
async def test_an_inbox_that_cannot_be_used_is_one_line(tmp_path, make, said):
    make(tmp_path / "inbox.sqlite3")
    with pytest.raises(CatalogError, match=said) as caught:
        await Inbox.open(tmp_path)
    assert "\n" not in str(caught.value)


async def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Exception, match="file") as caught:
        await Inbox.open(tmp_path / "file" / "archive")
    assert getattr(caught.value, "errno", None) in {errno.ENOTDIR, errno.EEXIST}


SERVER = """
import asyncio, sys
from pathlib import Path
from aiohttp import web
from agentphone_async.web.inbox import Inbox
from agentphone_async.web.listen import Address, listen
from agentphone_async.web.receiver import Receiver

async def main():
    inbox = await Inbox.open(Path(sys.argv[1]))
    runner = web.AppRunner(Receiver(inbox, ["whsec_test"]).app(), access_log=None)
    await runner.setup()
    print((await listen(runner, Address("127.0.0.1", 0))).port, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_a_kill_loses_nothing_that_was_acknowledged(tmp_path):
    import aiohttp

    running = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(tmp_path)],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        text=True,
    )
    acknowledged: list[str] = []
    try:
        port = int(running.stdout.readline())
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            numbers = iter(range(100_000))

            async def send():
                for number in numbers:
                    body = event(f"call_{number}")
                    async with session.post("/", data=body, headers=signed(body)) as answer:
                        if answer.status == 204:
                            acknowledged.append(f"call_{number}")
                    if len(acknowledged) == 200:
                        running.kill()

            ends = await asyncio.gather(*(send() for _ in range(20)), return_exceptions=True)
        assert all(isinstance(end, aiohttp.ClientError | OSError) for end in ends), ends
    finally:
        running.kill()
        running.communicate()
    assert len(acknowledged) >= 200
    async with await Inbox.open(tmp_path) as inbox:
        kept = await inbox.of(acknowledged)
    assert kept.keys() == set(acknowledged)

"""Whatever is wrong with a bucket is said in one line, and nothing is written."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
import zstandard

from agentphone_async.archive.bucket import erase, manifest
from agentphone_async.archive.bucket.identity import identify
from agentphone_async.archive.bucket.shards import Plan, Shards
from agentphone_async.archive.bucket.store import Store
from agentphone_async.errors import CatalogError, ConfigurationError, DestinationError
from agentphone_async.sinks import bucket
from agentphone_async.sinks.bucket import Bucket
from agentphone_async.sinks.bucket_errors import BucketError, bucket_error
from agentphone_async.sinks.bucket_opening import FIRST, split_url
from agentphone_async.sinks.erased import Tombstones
from tests.support import fake_s3
from tests.support.fake_s3 import Answer, FakeS3, always, refusal


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeS3]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    with fake_s3.running() as fake:
        for name, value in fake.env.items():
            monkeypatch.setenv(name, value)
        yield fake


def line_of(error: BaseException) -> str:
    """The message of an error, which must be one line that names no secret and no library."""
    message = str(error)
    assert message.isprintable()
    assert not any(
        word in message for word in ("AKID", "wJalr", "Generic", "Debug", "<", "retries")
    )
    return message


PAGE = Answer(200, b"<html>Please log in</html>", {"Content-Type": "text/html"})


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (refusal(404, "NoSuchBucket"), "there is no such bucket; make it first"),
        (refusal(403, "InvalidAccessKeyId"), "the credentials are refused (InvalidAccessKeyId)"),
        (refusal(403, "SignatureDoesNotMatch"), "the credentials are refused"),
        (refusal(400, "ExpiredToken"), "the credentials are refused (ExpiredToken)"),
        (refusal(400, "AuthorizationHeaderMalformed"), "in another region"),
        (refusal(301, "PermanentRedirect"), "in another region"),
        (refusal(403, "AccessDenied"), "not permitted to read objects (on S3: s3:GetObject)"),
        (refusal(403, "RequestTimeTooSkewed"), "the clock of this machine is wrong"),
        (refusal(403, "AllAccessDisabled"), "the bucket is closed"),
        (refusal(400, "KMS.DisabledException"), "refuses the request (400 KMS.DisabledException)"),
        (Answer(405), "AWS_ENDPOINT_URL answers 405, as no store does"),
        (PAGE, "archive.json is a web page; is AWS_ENDPOINT_URL the address"),
    ],
)
def test_a_store_that_refuses(store, tmp_path, answer, said):
    store.trouble = always(answer)
    with pytest.raises(DestinationError) as caught:
        Store(Bucket.from_url("s3://bucket/prefix"), tmp_path / "cache").open()
    assert said in line_of(caught.value)
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("kind", "make", "said"),
    [
        ("list", False, "not permitted to list objects (on S3: s3:ListBucket)"),
        ("list", True, "not permitted to list objects"),
        ("put", True, "not permitted to write objects (on S3: s3:PutObject)"),
    ],
)
def test_who_lacks_a_permission_is_told_before_anything_is_written(
    store, tmp_path, kind, make, said
):
    with closing(Store(Bucket.from_url("s3://bucket/prefix"), tmp_path / "first")) as first:
        assert first.open()
    before = dict(store.objects)
    store.trouble = always(refusal(403, "AccessDenied"), kind)
    with pytest.raises(DestinationError) as caught:
        Store(Bucket.from_url("s3://bucket/prefix"), tmp_path / "cache").open(make=make)
    assert said in line_of(caught.value)
    assert store.objects == before
    assert not (tmp_path / "cache").exists()


def test_a_store_that_cannot_be_reached_is_told_soon(store, monkeypatch):
    monkeypatch.setattr(bucket, "FIRST", FIRST._replace(retries=1, request=0.2, retry_time=0.1))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        with pytest.raises(BucketError) as caught:
            Bucket.from_url("s3://bucket/prefix").head("x")
        assert f"127.0.0.1:{port} does not answer" in line_of(caught.value)
    with pytest.raises(BucketError) as caught:
        Bucket.from_url("s3://bucket/prefix").head("x")
    assert f"nothing listens at 127.0.0.1:{port}; check the network" in line_of(caught.value)
    assert FIRST.request + FIRST.retry_time + FIRST.connect <= 25
    assert FIRST.request <= FIRST.retry_time


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE\n", "AWS_ACCESS_KEY_ID has white space"),
        ("AWS_SECRET_ACCESS_KEY", "wJalr XUtnFEMI", "AWS_SECRET_ACCESS_KEY has white space"),
        ("AWS_SESSION_TOKEN", "", "AWS_SESSION_TOKEN is empty"),
        ("AWS_SECRET_ACCESS_KEY", None, "AWS_SECRET_ACCESS_KEY is not set"),
        ("AWS_REGION", "eu central", "AWS_REGION has white space"),
        ("AWS_ENDPOINT_URL", "store:9000", "is not the address of a store"),
        ("AWS_ENDPOINT_URL", "", "is not the address of a store"),
        ("AWS_ENDPOINT_URL", "https://AKID:wJalr@store", "'https://store', which is not"),
    ],
)
def test_settings_that_cannot_be_sent(store, monkeypatch, name, value, said):
    monkeypatch.delenv(name) if value is None else monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as caught:
        Bucket.from_url("s3://bucket/prefix")
    assert said in line_of(caught.value)
    assert store.asked == []


@pytest.mark.parametrize("status", [200, 501])
def test_a_store_without_create_only_is_refused_before_anything_is_written(
    store, tmp_path, status, monkeypatch
):
    store.create_only = False
    refused = refusal(501, "NotImplemented")
    if status == 501:
        for name in ("FIRST", "USUAL"):  # 501 is asked again, as all that is 5xx
            monkeypatch.setattr(bucket, name, FIRST._replace(retries=0))
        store.trouble = lambda asked: refused if asked.headers.get("If-None-Match") else None
    with pytest.raises(DestinationError, match="use another store, or --allow-overwrite"):
        Store(Bucket.from_url("s3://bucket/prefix"), tmp_path / "cache").open()
    assert store.objects == {}
    assert all(".agentphone-probe-" in asked.key for asked in store.asked if asked.kind == "put")
    careful = Bucket.from_url("s3://bucket/prefix", allow_overwrite=True)
    careful.prove()
    assert careful.create_now("a", b"1", {})
    assert not careful.create_now("a", b"2", {})
    assert careful.read("a") == b"1"


MUCH = {"table": "calls", "id": "x", "raw": " " * 500, "first_seen": "", "last_seen": ""}

DAMAGED = {
    "cut": lambda lines: manifest.compress(b"\n".join(lines) + b"\n")[:-20],
    "empty": lambda _: b"",
    "binary": lambda _: b"\0\xff" * 50,
    "half a line": lambda lines: manifest.compress(b"\n".join(lines)[:-9]),
    "no end": lambda lines: manifest.compress(b"\n".join(lines[:-1]) + b"\n"),
    "a row without its columns": lambda lines: packed(lines[0], {"table": "calls", "id": "x"}),
    "a row without its key": lambda lines: packed(lines[0], {"gone": "accepted"}),
    "a value of a wrong kind": lambda lines: packed(lines[0], {"table": "calls", "id": {}}),
    "a number too large": lambda lines: packed(
        lines[0], {"table": "calls", "id": "x", "raw": 10**30, "first_seen": "", "last_seen": ""}
    ),
    "much of it": lambda lines: packed(lines[0], *[MUCH] * 200),
    "much of it, untold": lambda lines: untold(packed(lines[0], *[MUCH] * 200)),
    "a long line": lambda lines: packed(lines[0], MUCH | {"raw": " " * 30_000}),
    "a long head": lambda lines: packed(lines[0] + b" " * 30_000),
    "an object too large": lambda _: b"\0" * 100_001,
    "an odd head": lambda lines: packed(json.dumps(json.loads(lines[0]) | {"covers": 5}).encode()),
}


def untold(data: bytes) -> bytes:
    """The same in a frame whose head does not say how much is in it."""
    lines = zstandard.ZstdDecompressor().decompress(data)
    return zstandard.ZstdCompressor(write_content_size=False).compress(lines)


def packed(head: bytes, *rows: dict[str, object]) -> bytes:
    lines = [head, *(json.dumps(row).encode() for row in rows)]
    return manifest.compress(b"\n".join([*lines, b'{"rows":%d}' % len(rows), b""]))


@pytest.mark.parametrize("how", DAMAGED)
def test_a_manifest_that_is_damaged_is_named_and_the_others_are_merged(tmp_path, how, monkeypatch):
    for name, size in {"LARGEST": 100_000, "LONGEST": 20_000, "_AT_ONCE": 1_000}.items():
        monkeypatch.setattr(manifest, name, size)
    where = Bucket.from_url(f"memory://damaged/{tmp_path.name}")
    writer = Store(where, tmp_path / "a")
    writer.open()
    head = manifest.Part("run", 0, 1)
    sound = manifest.encode(head, [{"table": "erased", "hash": "h", "reason": "", "erased": ""}])
    where.create_now(head.name, sound, {})
    reader = Store(where, tmp_path / "b")
    reader.open()
    bad = manifest.Part("run", 0, 2).name
    where.create_now(bad, DAMAGED[how](manifest_lines(sound)), {})
    with pytest.raises(CatalogError) as caught:
        reader.pull()
    assert f"{bad} is damaged (" in line_of(caught.value)
    assert line_of(caught.value).endswith("what it named is found again")
    fresh = Store(where, tmp_path / "c" / "agentphone-async" / "x")
    fresh.open()
    where.remove(head.name)
    with pytest.raises(CatalogError):
        fresh.pull()
    assert list((tmp_path / "c").iterdir()) == []  # nothing is left of a cache that has nothing
    for one in (writer, reader, fresh):
        one.close()


def manifest_lines(data: bytes) -> list[bytes]:
    with manifest.decompress(data, "x") as reader:
        return reader.read().splitlines()


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("plans/p.json", b'{"version": 1, "shards": "many"}', "p.json is damaged; plan again"),
        ("plans/p.json", b'{"version": 2}', "update agentphone-async"),
        ("shards/p/000000.jsonl.zst", b"\0garbage", "missing or damaged; plan again"),
        ("shards/p/000000.jsonl.zst", packed(b'{"version": 1, "calls": 2}'), "missing or damaged"),
        ("held/x", b"\xff\xfe", "held/x is damaged: it names no call"),
        ("archive.json", b"[]", "damaged or not ours"),
        ("archive.json", b'{"format": "agentphone-archive", "version": 1, "id": "x", "key": ""}',
         "damaged or not ours"),
        ("archive.json", b"[" * 100_000, "damaged or not ours"),
    ],
)  # fmt: skip
def test_what_else_may_be_damaged_in_an_archive(tmp_path, name, data, said):
    where = Bucket.from_url(f"memory://else/{tmp_path.name}")
    store = Store(where, tmp_path / "a")
    store.open()
    shards = Shards(where)
    shards.write("p", 0, [b'{"id": "call_1"}'])
    shards.finish(Plan("p", 1, 1, "2026-11-21", {}))
    for junk in ("done/p/x.txt", "claims/p/000000/x", "plans/x.txt", "plans/a/b.json"):
        where.create_now(f"_catalog/{junk}", b"", {})
    assert shards.latest().name == "p"
    assert shards.done("p") == set()
    assert shards.claim("p", 0, datetime.now(UTC))
    where.put_now(f"_catalog/{name}", data, {}, mode="overwrite")
    with pytest.raises(CatalogError) as caught:
        use_all_of(store, shards)
    assert said in line_of(caught.value)
    if name.startswith("shards"):
        shards.scrub(Tombstones())  # it may hold what is to be erased, and is of no use to anybody
        assert where.head(f"_catalog/{name}") is None
    store.close()


def use_all_of(store: Store, shards: Shards) -> None:
    identify(store.bucket, make=False)
    list(shards.calls("p", shards.latest("p").shards - 1))
    erase.held_in(store)


def test_who_may_only_read_need_not_delete_what_was_erased_elsewhere(store, tmp_path):
    first = Store(Bucket.from_url("s3://bucket/prefix"), tmp_path / "a")
    first.open()
    first.connection.execute(
        "INSERT INTO calls (id, raw, first_seen, last_seen) VALUES ('call_1', '{}', 'a', 'b')"
    )
    first.connection.execute(
        "INSERT INTO recordings (call_id, version, state, path, attempts, created, updated) "
        "VALUES ('call_1', 1, 'archived', 'x.wav', 1, 'a', 'b')"
    )
    first.push()
    reader = Store(Bucket.from_url("s3://bucket/prefix"), tmp_path / "b")
    reader.open(make=False)
    reader.pull()
    first.erase(["call_1"])
    store.trouble = always(refusal(403, "AccessDenied"), "delete", "put")
    reader.pull()
    assert reader.connection.execute("SELECT * FROM calls").fetchall() == []
    first.close()
    reader.close()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://host/x", "is not a destination"),
        ("s3://key:secret@bucket/x", "credentials are taken from the environment"),
        ("s3://bucket/x?sig=secret", "credentials are taken from the environment"),
        ("s3:///x", "names no bucket"),
        ("s3://bad bucket!/x", "a bucket's name has letters"),
        ("s3://bücket/x", "a bucket's name has letters"),
        ("s3://bucket:9000/x", "a bucket's name has letters"),
        ("s3://[::1/x", "a bucket's name has letters"),
        ("s3://..", "a bucket's name has letters"),
        ("s3a://bucket/x", "write s3:// instead of s3a://"),
        ("gcs://bucket/x", "write gs:// instead of gcs://"),
        (
            "https://key:secret@bucket.example/x",
            "the address of a store is set as AWS_ENDPOINT_URL",
        ),
        ("s3://bucket/x\n", "has a control character"),
        ("file:///a/../b", "an empty or dotted part"),
        ("s3://bucket/a//b", "an empty or dotted part"),
        ("s3://bucket/../b", "an empty or dotted part"),
        ("file://host/x", "not a folder's URL"),
    ],
)
def test_urls_that_cannot_work(url, said):
    with pytest.raises(ConfigurationError) as caught:
        split_url(url)
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)


def test_errors_never_repeat_signed_urls_or_keys():
    error = ValueError("Error performing PUT https://a.blob/x?sig=SECRET&key=SECRET: odd\nmore")
    assert "SECRET" not in str(bucket_error(error, "az://c"))
    missing = ValueError("Error performing PUT http://169.254.169.254/latest/api/token")
    assert "no credentials were found" in str(bucket_error(missing, "s3://b"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Server returned non-2xx status code: 307 Temporary Redirect: ", "in another region"),
        ("Server returned non-2xx status code: 308 Permanent Redirect: ", "in another region"),
        (
            "Generic GCS error: Unable to open service account file from /k.json: No such file",
            "GOOGLE_APPLICATION_CREDENTIALS names a file that is not one of keys: No such file",
        ),
        (
            "Generic GCS error: Unable to decode service account file: missing field `type`",
            "GOOGLE_APPLICATION_CREDENTIALS names a file that is not one of keys: missing field",
        ),
    ],
)
def test_errors_say_what_is_to_be_set(text, said):
    assert said in line_of(bucket_error(ValueError(text), "gs://b"))


def test_a_store_that_ignores_create_only_now_and_then_is_refused(store):
    ignored = iter([False, False, True, False])

    def moody(asked):
        if asked.kind == "put" and "probe" in asked.key:
            store.create_only = not next(ignored)

    store.trouble = moody
    with pytest.raises(DestinationError, match="use another store, or --allow-overwrite"):
        Bucket.from_url("s3://bucket/prefix").prove()
    assert store.objects == {}

"""Whatever is wrong with a bucket is said in one line, and nothing is written."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from agentphone_async.archive.bucket.store import Store
from agentphone_async.cli.main import cli
from agentphone_async.errors import ConfigurationError, DestinationError
from agentphone_async.sinks.bucket import Bucket
from agentphone_async.sinks.bucket_errors import bucket_error
from agentphone_async.sinks.bucket_url import split_url


class Careless(BaseHTTPRequestHandler):
    """A store that overwrites whatever it is asked, or answers everything alike."""

    answer: tuple[int, str] | None = None
    objects: dict[str, bytes]
    written: list[str]

    def do_PUT(self) -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self._refused():
            return
        self.written.append(self.path)
        self.objects[self.path] = data
        self._send(200, b"", {"ETag": '"1"'})

    def do_GET(self) -> None:
        if self._refused():
            return
        data = self.objects.get(self.path)
        if "list-type" in self.path:
            data = b"<ListBucketResult></ListBucketResult>"
        self._send(404 if data is None else 200, data or b"", {"ETag": '"1"'})

    do_HEAD = do_GET  # noqa: N815 - http.server's names

    def do_DELETE(self) -> None:
        self.objects.pop(self.path, None)
        self._send(204, b"")

    def _refused(self) -> bool:
        if self.answer is None:
            return False
        status, code = self.answer
        self._send(status, f"<Error><Code>{code}</Code><Key>AKIDEXAMPLE</Key></Error>".encode())
        return True

    def _send(self, status: int, data: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Last-Modified", "Sat, 21 Nov 2026 10:00:00 GMT")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[type[Careless]]:
    handler = type("Handler", (Careless,), {"objects": {}, "written": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    try:
        yield handler
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((404, "NoSuchBucket"), "there is no such bucket; make it first"),
        ((403, "InvalidAccessKeyId"), "the credentials are refused (InvalidAccessKeyId)"),
        ((403, "SignatureDoesNotMatch"), "the credentials are refused"),
        ((400, "AuthorizationHeaderMalformed"), "in another region"),
        ((301, "PermanentRedirect"), "in another region"),
        ((403, "AccessDenied"), "not permitted to"),
    ],
)
def test_a_store_that_refuses(store, tmp_path, answer, said):
    store.answer = answer
    with pytest.raises(DestinationError) as caught:
        Store(Bucket.from_url("s3://bucket/prefix"), tmp_path / "cache").open()
    message = str(caught.value)
    assert said in message
    assert "\n" not in message
    assert "AKID" not in message
    assert not (tmp_path / "cache").exists()


def test_a_store_without_create_only_is_refused_before_anything_is_written(store, tmp_path):
    with pytest.raises(DestinationError, match="overwrites objects that are there"):
        Store(Bucket.from_url("s3://bucket/prefix"), tmp_path / "cache").open()
    assert store.objects == {}
    assert all(".agentphone-probe-" in path for path in store.written)


def test_such_a_store_is_used_when_the_user_allows_it(store, tmp_path):
    bucket = Bucket.from_url("s3://bucket/prefix", allow_overwrite=True)
    bucket.prove()
    assert bucket.create_now("a", b"1", {})
    assert not bucket.create_now("a", b"2", {})
    assert bucket.read("a") == b"1"


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


def command(*arguments: str) -> int:
    code = cli.main(list(arguments), standalone_mode=False)
    return code if isinstance(code, int) else 0


def test_commands_read_an_archive_in_a_bucket(emulator_thread, tmp_path, monkeypatch, capsys):
    for number in range(3):
        emulator_thread.add_call(id=f"call_{number}", duration=0.2)
    monkeypatch.setenv("AGENTPHONE_API_KEY", emulator_thread.api_key)
    monkeypatch.setenv("AGENTPHONE_BASE_URL", emulator_thread.base_url)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    url = f"memory://commands/{tmp_path.name}"
    assert command("archive", url, "--since", "1970-01-01", "--quiet") == 0
    assert command("ls", url, "-o", "json") == 0
    assert len(capsys.readouterr().out.splitlines()) == 3
    assert command("verify", url, "--deep", "-o", "json") == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["checked"] == 3
    assert command("missing", url, "--since", "1970-01-01", "-o", "ids") == 0
    assert capsys.readouterr().out == ""
    assert command("export", url) == 0
    assert len(capsys.readouterr().out.splitlines()) == 4
    assert command("forget", url, "call_1", "--yes", "--quiet") == 0
    assert command("prune", url, "--older-than", "9999d", "--yes", "--quiet") == 0
    assert command("catalog", "compact", url) == 0
    assert command("archive", "plan", url, "--since", "1970-01-01") == 0
    assert command("archive", "work", url, "--all", "--quiet") == 0
    assert command("verify", url, "--quiet") == 0
    bucket = Bucket.from_url(url)
    name = next(head.path for head in bucket.list() if head.path.endswith(".wav"))
    bucket.remove(name)
    bucket.create_now("note.txt", b"", {})
    capsys.readouterr()
    assert command("verify", url, "-o", "json") == 1
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (summary["missing"], summary["unknown"]) == (1, 1)
    with pytest.raises(DestinationError, match="there is no archive in"):
        command("ls", "memory://commands/empty")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["archive", "work", "folder"], "'folder' is a folder"),
        (["ls", "s3:/b/x"], "'s3:/b/x' is not a bucket's URL; write s3://b/x"),
        (["archive", "gs:b/x", "--date", "today"], "write gs://b/x"),
        (["archive", "work", "s3://b/x", "--shard", "3/2"], "not a part"),
        (["archive", "work", "s3://b/x", "--shard", "1/2", "--all"], "exclude each other"),
        (["archive", "plan", "s3://b/x"], "say which calls"),
        (["archive", "folder", "--date", "today", "--dask", "local"], "a bucket's URL"),
        (["archive", "folder", "--date", "today", "--catalog", "c"], "--catalog is for"),
        (["catalog", "compact", "folder"], "has no manifests"),
        (["hold", "folder", "call_1", "--catalog", "c"], "--catalog is for"),
        (["verify", "s3://b/x", "--repair", "--accept", "call_1"], "exclude each other"),
    ],
)
def test_commands_say_what_was_meant_wrongly(arguments, said):
    import click

    with pytest.raises(click.UsageError) as caught:
        command(*arguments)
    assert said in caught.value.format_message()

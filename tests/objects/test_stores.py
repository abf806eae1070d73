"""Other stores than SeaweedFS: moto in the process, and Azure's emulator where it is installed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

import pytest

from agentphone_async.archive.bucket.store import Store
from agentphone_async.errors import DestinationError
from agentphone_async.sinks.bucket import Bucket
from agentphone_async.sinks.objects import ObjectSink
from agentphone_async.testing import SinkConformance

AZURE_KEY = base64.b64encode(b"a key that everybody may know: a test's").decode()


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    server_module = pytest.importorskip("moto.server")
    server = server_module.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@pytest.fixture
def bucket(moto: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "moto")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "moto")
    request = urllib.request.Request(f"{moto}/bucket", method="PUT")
    urllib.request.urlopen(request).close()
    return "s3://bucket/calls"


def test_moto_keeps_what_is_there_with_its_metadata(bucket):
    opened = Bucket.from_url(bucket)
    opened.prove()
    said = {"Content-Type": "audio/wav", "sha256": "aa", "seconds": "1.5"}
    assert opened.create_now("x.wav", b"data", said)
    assert not opened.create_now("x.wav", b"other", said)
    head = opened.head("x.wav")
    assert head is not None
    assert {name: head.metadata[name] for name in ("content-type", "sha256", "seconds")} == {
        "content-type": "audio/wav",
        "sha256": "aa",
        "seconds": "1.5",
    }
    assert [one.path for one in opened.list()] == ["x.wav"]
    assert opened.remove("x.wav")
    assert opened.head("x.wav") is None


def test_moto_has_no_such_bucket(bucket, tmp_path):
    with pytest.raises(DestinationError, match="there is no such bucket"):
        Store(Bucket.from_url("s3://another/calls"), tmp_path / "cache").open()


def azurite() -> str | None:
    return shutil.which(os.environ.get("AGENTPHONE_TEST_AZURITE", "azurite-blob"))


@pytest.fixture(scope="module")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    program = azurite()
    if program is None:
        pytest.skip("azurite is not installed: npm install -g azurite")
    folder = tmp_path_factory.mktemp("azurite")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [program, "--blobHost", "127.0.0.1", "--blobPort", str(port), "--silent",
         "--location", os.fspath(folder), "--skipApiVersionCheck", "--loose"],
        env={**os.environ, "AZURITE_ACCOUNTS": f"tester:{AZURE_KEY}"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    endpoint = f"http://127.0.0.1:{port}/tester"
    try:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(endpoint, timeout=2).close()
            except urllib.error.HTTPError:
                break
            except OSError:
                time.sleep(0.1)
        make_container(endpoint)
        yield {
            "AZURE_STORAGE_ACCOUNT_NAME": "tester",
            "AZURE_STORAGE_ACCOUNT_KEY": AZURE_KEY,
            "AZURE_STORAGE_ENDPOINT": endpoint,
        }
    finally:
        process.kill()
        process.wait()


def make_container(endpoint: str) -> None:
    """Create Container, signed as Microsoft's page "Authorize with Shared Key" has it."""
    now = formatdate(usegmt=True)
    headers = {"x-ms-date": now, "x-ms-version": "2021-08-06"}
    signed = "\n".join(
        ["PUT", *[""] * 11, f"x-ms-date:{now}", "x-ms-version:2021-08-06",
         "/tester/tester/calls", "restype:container"]
    )  # fmt: skip
    digest = hmac.new(base64.b64decode(AZURE_KEY), signed.encode(), hashlib.sha256).digest()
    headers["Authorization"] = f"SharedKey tester:{base64.b64encode(digest).decode()}"
    url = f"{endpoint}/calls?restype=container"
    request = urllib.request.Request(url, method="PUT", headers=headers)
    urllib.request.urlopen(request).close()


class TestAzure(SinkConformance):
    @pytest.fixture(autouse=True)
    def _server(self, azure: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in azure.items():
            monkeypatch.setenv(name, value)

    def open_sink(self, place: Path) -> ObjectSink:
        return ObjectSink.from_url(f"az://calls/{place.name}")

    def contents(self, place: Path) -> dict[str, bytes]:
        bucket = self.open_sink(place).bucket
        return {head.path: bucket.read(head.path) for head in bucket.list()}

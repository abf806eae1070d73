"""A small S3 in this process, which plays whatever trouble a test asks it for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

KEYS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI"}


class Request(NamedTuple):
    """What is asked of the store; ``kind`` is put, get, head, delete, copy or list."""

    kind: str
    key: str
    headers: Any


class Answer(NamedTuple):
    """What the store says."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = MappingProxyType({})


Trouble = Callable[[Request], Answer | None]


def refusal(status: int, code: str) -> Answer:
    """An answer as S3 refuses; what is in it beside the code must never be shown."""
    body = f"<Error><Code>{code}</Code><Message>no</Message><Key>AKIDEXAMPLE</Key></Error>"
    return Answer(status, body.encode(), {"Content-Type": "application/xml"})


def always(answer: Answer, *kinds: str) -> Trouble:
    """This answer to requests of these kinds, or to all."""
    return lambda request: answer if not kinds or request.kind in kinds else None


class FakeS3:
    """One running store, with one bucket of any name.

    Attributes:
        objects: what it holds: bytes and headers by key.
        trouble: asked first what the answer is; None for the right one.
        create_only: whether ``If-None-Match`` is honoured.
        asked: all requests, in order.
    """

    def __init__(self) -> None:
        self.objects: dict[str, tuple[bytes, dict[str, str]]] = {}
        self.trouble: Trouble = lambda _: None
        self.create_only = True
        self.asked: list[Request] = []
        handler = type("Handler", (_Handler,), {"store": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self.env = {"AWS_ENDPOINT_URL": self.endpoint, "AWS_REGION": "us-east-1", **KEYS}

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, request: Request, data: bytes, query: dict[str, list[str]]) -> Answer:
        """What comes back for one request."""
        self.asked.append(request)
        trouble = self.trouble(request)
        if trouble is not None:
            return trouble
        key = request.key
        if request.kind == "list":
            return self._list(query)
        if request.kind == "delete":
            self.objects.pop(key, None)
            return Answer(204)
        if request.kind == "copy":
            _, _, source = unquote(request.headers["x-amz-copy-source"]).lstrip("/").partition("/")
            self.objects[key] = self.objects[source]
            return Answer(200, b"<CopyObjectResult><ETag>1</ETag></CopyObjectResult>")
        if request.kind == "put":
            if self.create_only and request.headers.get("If-None-Match") and key in self.objects:
                return refusal(412, "PreconditionFailed")
            kept = {
                name: value
                for name, value in request.headers.items()
                if name.lower().startswith("x-amz-meta-") or name.lower() == "content-type"
            }
            self.objects[key] = data, kept
            return Answer(200, b"", {"ETag": '"1"'})
        if key not in self.objects:
            return refusal(404, "NoSuchKey")
        body, kept = self.objects[key]
        return Answer(200, body, {"ETag": '"1"', **kept})

    def _list(self, query: dict[str, list[str]]) -> Answer:
        prefix = query.get("prefix", [""])[0]
        rows = "".join(
            f"<Contents><Key>{escape(key)}</Key><LastModified>2026-11-21T10:00:00.000Z"
            f"</LastModified><Size>{len(body)}</Size><ETag>1</ETag></Contents>"
            for key, (body, _) in sorted(self.objects.items())
            if key.startswith(prefix)
        )
        return Answer(200, f"<ListBucketResult>{rows}</ListBucketResult>".encode())


class _Handler(BaseHTTPRequestHandler):
    store: FakeS3
    protocol_version = "HTTP/1.1"

    def _any(self) -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = urlsplit(self.path)
        query = parse_qs(parts.query)
        kind = self.command.lower()
        if kind == "put" and "x-amz-copy-source" in self.headers:
            kind = "copy"
        if kind == "get" and "list-type" in query:
            kind = "list"
        key = unquote(parts.path).lstrip("/").partition("/")[2]
        answer = self.store.answer(Request(kind, key, self.headers), data, query)
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Last-Modified", "Sat, 21 Nov 2026 10:00:00 GMT")
        if answer.status != 204:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _any  # noqa: N815 - http.server's names

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def running() -> Iterator[FakeS3]:
    """A store that ends with the block."""
    store = FakeS3()
    try:
        yield store
    finally:
        store.close()

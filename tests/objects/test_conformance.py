"""The sinks of this package do what every sink has to do."""

from pathlib import Path

import pytest

from agentphone_async.sinks.local import LocalSink
from agentphone_async.sinks.objects import ObjectSink
from agentphone_async.testing import SinkConformance


class TestLocalSink(SinkConformance):
    def open_sink(self, place: Path) -> LocalSink:
        return LocalSink(place)

    def contents(self, place: Path) -> dict[str, bytes]:
        files = (path for path in place.rglob("*") if path.is_file() and path.name[0] != ".")
        return {path.relative_to(place).as_posix(): path.read_bytes() for path in files}


class TestMemory(SinkConformance):
    def url(self, place: Path) -> str:
        return f"memory://conformance/{place.name}"

    def open_sink(self, place: Path) -> ObjectSink:
        return ObjectSink.from_url(self.url(place))

    def contents(self, place: Path) -> dict[str, bytes]:
        bucket = ObjectSink.from_url(self.url(place)).bucket
        return {head.path: bucket.read(head.path) for head in bucket.list()}


class TestFolderUrl(TestMemory):
    def url(self, place: Path) -> str:
        return f"file://{place}"


class TestS3(TestMemory):
    @pytest.fixture(autouse=True)
    def _server(self, s3: str) -> None:
        self.prefix = s3

    def url(self, place: Path) -> str:
        return self.prefix

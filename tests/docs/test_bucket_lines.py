"""Every line on buckets of the page on failures is provoked here, with its exit code."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from agentphone_async.archive.bucket import manifest
from agentphone_async.sinks import bucket
from agentphone_async.sinks.bucket_opening import FIRST
from tests.docs.test_lines import BUCKETS, ROW
from tests.support import fake_s3
from tests.support.archives import CommandLine
from tests.support.fake_s3 import Answer, FakeS3, always, refusal

HEAD = {"format": "agentphone-archive", "version": 1, "id": "0", "key": "00" * 32}
PAGE = Answer(200, b"<html>Please log in</html>", {"Content-Type": "text/html"})
PART = "parts/run/000000-000001.jsonl.zst"


class Step(NamedTuple):
    """What provokes a line.

    Attributes:
        code: the exit code.
        command: what is run; ``URL`` stands for a prefix with an archive.
        answer: of the store, to everything.
        objects: what else is below ``_catalog/``.
        settings: of the environment; None for what is not there.
        absent: a package that cannot be imported.
    """

    code: int
    command: str = "ls URL"
    answer: Answer | None = None
    objects: dict[str, bytes] = {}  # noqa: RUF012 - never changed
    settings: dict[str, str | None] = {}  # noqa: RUF012 - never changed
    absent: str = ""


def refused(status: int, code: str) -> Step:
    return Step(4, answer=refusal(status, code))


NO_KEYS = dict.fromkeys(fake_s3.KEYS)
RUN = "--since 1970-01-01"
STEPS: dict[str, Step] = {
    "… is not a URL; write s3://…": Step(2, "ls s3:/bucket/x"),
    "… is not a destination; …": Step(2, f"archive https://key:wJalrXUtnFEMI@host/x {RUN}"),
    "… carries more than a bucket and a prefix; …": Step(2, "ls s3://AKIDEXAMPLE:x@bucket/x"),
    "… needs the extra for object stores; …": Step(2, absent="obstore"),
    "--dask needs the extra for Dask; …": Step(
        2, f"archive URL {RUN} --dask local", absent="distributed"
    ),
    "…: … has white space or other odd characters in it; …": Step(
        2, settings={"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE\n"}
    ),
    "…: … is not the address of a store; …": Step(2, settings={"AWS_ENDPOINT_URL": "host:9000"}),
    "…: no credentials were found; set …": Step(4, settings=NO_KEYS),
    "…: the credentials are refused (…); check or renew them": refused(403, "InvalidAccessKeyId"),
    "…: the clock of this machine is wrong, …": refused(403, "RequestTimeTooSkewed"),
    "…: there is no such bucket; …": refused(404, "NoSuchBucket"),
    "…: the bucket is in another region, …": refused(400, "AuthorizationHeaderMalformed"),
    "…: not permitted to … (on S3: …); …": refused(403, "AccessDenied"),
    "…: the store cannot be reached: …; check the network, and AWS_ENDPOINT_URL": Step(
        4, settings={"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    ),
    "…: the endpoint is not encrypted (http://); …": Step(
        4, settings={"AWS_ENDPOINT_URL": "http://store.invalid"}
    ),
    "…: the store answers … also when asked again; try later": refused(503, "SlowDown"),
    "…: the store refuses the request (…); …": refused(400, "KMS.DisabledException"),
    "… is a web page; is AWS_ENDPOINT_URL the address of the store?": Step(4, answer=PAGE),
    "…: the store …, so that two runs could overwrite …": Step(4, f"archive URL {RUN} CARELESS"),
    "… holds objects that are not of an archive; …": Step(4, f"archive s3://bucket {RUN}"),
    "there is no plan in …; run 'agentphone-async archive plan' first": Step(2, "archive work URL"),
    "the manifest … is damaged (…); …": Step(4, objects={PART: b"torn"}),
    "… has format …, and this version of agentphone-async knows … at most; …": Step(
        4, objects={PART: manifest.compress(json.dumps(HEAD | {"version": 9}).encode())}
    ),
    "… is damaged or not ours; …": Step(4, objects={"archive.json": b"{"}),
    "… is missing or damaged; plan again": Step(
        4,
        "archive work URL",
        objects={
            "plans/p.json": json.dumps(
                {"version": 1, "shards": 1, "calls": 1, "created": "", "about": {}}
            ).encode()
        },
    ),
    "the catalog … belongs to another archive; …": Step(4, "ls URL --catalog other"),
}


@pytest.fixture(scope="module")
def store() -> Iterator[FakeS3]:
    with fake_s3.running() as running:
        yield running


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str],
    store: FakeS3,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> CommandLine:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("AGENTPHONE_API_KEY", "sk_test_1")
    monkeypatch.setenv("AGENTPHONE_BASE_URL", "http://127.0.0.1:9")
    for name, value in store.env.items():
        monkeypatch.setenv(name, value)
    for name in ("FIRST", "USUAL"):
        monkeypatch.setattr(bucket, name, FIRST._replace(retries=0))
    store.create_only = True
    store.trouble = lambda _: None
    store.objects.clear()
    put(store, "archive.json", json.dumps(HEAD).encode())
    return CommandLine(capsys)


def put(store: FakeS3, name: str, data: bytes, prefix: str = "calls") -> None:
    store.objects[f"{prefix}/_catalog/{name}"] = data, {}


def test_every_line_on_buckets_is_provoked_and_the_other_way_round():
    assert ROW.findall(BUCKETS) == list(STEPS)


@pytest.mark.parametrize("line", STEPS)
def test_the_line_is_as_the_page_shows_it(
    line: str, run: CommandLine, store: FakeS3, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    step = STEPS[line]
    for name, value in step.settings.items():
        set_or_delete = monkeypatch.delenv if value is None else monkeypatch.setenv
        set_or_delete(*filter(None, (name, value)))
    for name, data in step.objects.items():
        put(store, name, data)
    if step.absent:
        monkeypatch.setitem(sys.modules, step.absent, None)
    if "other" in step.command:
        put(store, "archive.json", json.dumps(HEAD | {"id": "1"}).encode(), "others")
        assert run("ls", "s3://bucket/others", "--catalog", "other").code == 0
    before = dict(store.objects), sorted(tmp_path.rglob("*"))
    store.create_only = "CARELESS" not in step.command
    if step.answer is not None:
        store.trouble = always(step.answer)
    words = step.command.replace("URL", "s3://bucket/calls").replace(" CARELESS", "").split()
    ended = run(*words)
    assert ended.code == step.code, ended.err
    assert re.search(re.escape(line).replace("…", ".*"), ended.err), ended.err
    assert ended.err.count("\n") == 1
    assert not any(word in ended.err for word in ("AKID", "wJalr", "Generic", "Debug"))
    assert (dict(store.objects), sorted(tmp_path.rglob("*"))) == before

"""Call ids from arguments, files and standard input, however they are cut into blocks."""

from __future__ import annotations

import os
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentphone_async.cli import ids as ids_module
from agentphone_async.cli.ids import call_ids


async def read(arguments=(), file=None):
    return [call_id async for call_id in call_ids(arguments, file)]


async def test_arguments_come_first_and_as_they_are(tmp_path):
    (tmp_path / "ids").write_text("c\nd")
    assert await read(["", "#b", " a "], tmp_path / "ids") == ["", "#b", " a ", "c", "d"]


@pytest.mark.parametrize("block", [1, 2, 3, 7, 64])
async def test_blocks_may_end_anywhere(block, tmp_path, monkeypatch):
    monkeypatch.setattr(ids_module, "BLOCK", 64)
    (tmp_path / "ids").write_bytes(
        b"call_1\r\n\r\ncall_2\n#no\n  call_3\t\n\ncall_\xc3\xa9\ncall_5"
    )
    expected = ["call_1", "call_2", "call_3", "call_é", "call_5"]
    real = ids_module._file_blocks

    async def small(file):
        async for part in real(file):
            for start in range(0, len(part), block):
                yield part[start : start + block]

    monkeypatch.setattr(ids_module, "_file_blocks", small)
    assert await read(file=tmp_path / "ids") == expected


@settings(max_examples=50, deadline=None)
@given(
    lines=st.lists(st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=20)),
    ending=st.sampled_from(["\n", "\r\n"]),
)
async def test_every_line_that_is_no_comment_is_an_id(lines, ending, tmp_path_factory):
    path = tmp_path_factory.mktemp("ids") / "ids"
    path.write_bytes(ending.join(lines).encode())
    kept = [line for line in lines if not line.startswith("#")]
    assert await read(file=path) == kept


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["started\tid", "2026-01-01\tcall_1", "\tcall_2"], ["call_1", "call_2"]),
        (["# why", "", "id\tpath", "call_1\t", "call_2\ta/b.wav"], ["call_1", "call_2"]),
        (["found\treason\tid\tpath", "unknown\t-\t\tx", "missing\tgone\tcall_1\ty"], ["call_1"]),
        (
            ["call_id", "call_1", "https://x.example/v1/calls/call_2/recording"],
            ["call_1", "call_2"],
        ),
        (["path,call_id,x", '"a, b",call_1,', "c,call_2,"], ["call_1", "call_2"]),
        (["call_1", "id", "call_2"], ["call_1", "id", "call_2"]),
        (['{"call_id": "call_1"}', '{"call": {"id": "call_2"}}'], ["call_1", "call_2"]),
    ],
)
async def test_what_other_commands_print_is_taken(lines, expected, mark, end, tmp_path):
    path = tmp_path / "ids"
    path.write_text(mark + end.join(lines), newline="", encoding="utf-8")
    assert await read(file=path) == expected
    assert ids_module.count_ids(path) == len(expected)


async def test_bytes_that_are_no_text_make_distinct_ids(tmp_path):
    (tmp_path / "ids").write_bytes(b"\xff\n\xfe\n")
    found = await read(file=tmp_path / "ids")
    assert len(set(found)) == 2
    assert [os.fsencode(call_id) for call_id in found] == [b"\xff", b"\xfe"]


async def test_a_mark_at_the_beginning_is_no_part_of_the_first_id(tmp_path):
    (tmp_path / "ids").write_bytes("\ufeffcall_1\ncall_2\n".encode())
    assert await read(file=tmp_path / "ids") == ["call_1", "call_2"]


async def test_a_line_without_end_is_not_kept_whole(tmp_path):
    (tmp_path / "ids").write_bytes(b"x" * 1_000_000 + b"\ncall_2\n")
    long, short = await read(file=tmp_path / "ids")
    assert 1024 < len(long) <= 2 * ids_module.BLOCK
    assert short == "call_2"


async def test_leaving_early_closes_the_file(tmp_path):
    (tmp_path / "ids").write_text("a\nb\nc\n")
    source = call_ids((), tmp_path / "ids")
    assert await anext(source) == "a"
    await source.aclose()  # an unclosed file would be a warning, and so an error here


BASE = "https://api.agentphone.ai/v1/calls"


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (f"{BASE}/call_1/recording", "call_1"),
        (f"{BASE}/call%2F1/recording?download=1", "call/1"),
        ("http://127.0.0.1:80/prefix/v1/calls/c/recording/", "c"),
        (f"{BASE}/call_1", f"{BASE}/call_1"),
        ('{"event": "archived", "call_id": "c"}', "c"),
        ('{"id": "c", "status": "completed"}', "c"),
        ('{"state": "unseen", "call": {"id": "c"}}', "c"),
        ('{"event": "agent.call_ended", "data": {"callId": "c"}}', "c"),
        ('{"event": "summary", "listed": 3}', None),
        ('{"name": "x"}', '{"name": "x"}'),
        ('{"id": 3}', '{"id": 3}'),
        ("{", "{"),
        ("[" * 5000, "[" * 5000),
        ("{" * 5000, "{" * 5000),
    ],
)
def test_a_line_may_be_a_url_or_an_object(line, found):
    assert ids_module.Lines().id_in(line.encode()) == found


async def test_an_object_may_be_long(tmp_path):
    line = b'{"id": "c", "transcript": "' + b"x" * 300_000 + b'"}'
    (tmp_path / "ids").write_bytes(line + b"\ncall_2\n")
    assert await read([f"{BASE}/a/recording"], tmp_path / "ids") == ["a", "c", "call_2"]
    assert ids_module.count_ids(tmp_path / "ids") == 2
    assert ids_module.count_ids(tmp_path / "none") == 0


async def test_a_line_without_end_is_read_in_bounded_memory(tmp_path):
    (tmp_path / "ids").touch()
    os.truncate(tmp_path / "ids", 32 << 20)
    tracemalloc.start()
    try:
        (found,) = await read(file=tmp_path / "ids")
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(found) > 1024  # which is refused as too long
    assert most < 2 << 20

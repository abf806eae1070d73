from __future__ import annotations

import hashlib

from benchmarks.check import complaint
from benchmarks.corpus import Entry

CONTENTS = {f"call_{index}": bytes([index]) * 100 for index in range(4)}
ENTRIES = [
    Entry(call_id, len(content), hashlib.sha256(content).hexdigest())
    for call_id, content in CONTENTS.items()
]


def bring(folder, contents):
    for call_id, content in contents.items():
        (folder / f"recording-{call_id}.wav").write_bytes(content)


def test_the_right_bytes_give_no_complaint_whatever_lies_beside_them(tmp_path):
    bring(tmp_path, CONTENTS)
    (tmp_path / "SHA256SUMS").write_text("…")
    assert complaint(tmp_path, ENTRIES) == ""


def test_one_altered_byte_of_the_same_length_is_found(tmp_path):
    bring(tmp_path, CONTENTS | {"call_2": b"\x02" * 99 + b"\x03"})
    assert complaint(tmp_path, ENTRIES) == "1 with wrong bytes"


def test_swapped_files_are_found(tmp_path):
    bring(tmp_path, CONTENTS | {"call_1": CONTENTS["call_2"], "call_2": CONTENTS["call_1"]})
    assert complaint(tmp_path, ENTRIES) == "2 with wrong bytes"


def test_missing_and_unexpected_files_are_counted(tmp_path):
    bring(tmp_path, {"call_0": CONTENTS["call_0"], "call_9": b"?"})
    assert complaint(tmp_path, ENTRIES) == "3 missing, 1 unexpected"


def test_where_nothing_is_expected_any_recording_is_a_complaint(tmp_path):
    assert complaint(tmp_path, ()) == ""
    bring(tmp_path, {"call_0": b"<html>"})
    assert complaint(tmp_path, ()) == "1 unexpected"

from __future__ import annotations

import hashlib
import io
import wave

import pytest

from benchmarks.corpus import (
    CorpusSpec,
    absent_ids,
    build,
    cache_folder,
    call_id,
    require_space,
    wave_bytes,
)
from benchmarks.stopping import BenchError

SPEC = CorpusSpec("small", 8, 2_000, seed=3)


def test_every_file_is_a_pcm_wave_file_of_about_the_asked_size():
    for index in range(SPEC.count):
        content = wave_bytes(SPEC, index)
        assert 1_790 <= len(content) <= 2_210
        with wave.open(io.BytesIO(content)) as audio:
            assert (audio.getframerate(), audio.getnchannels(), audio.getsampwidth()) == (
                8000,
                1,
                2,
            )
            assert 44 + len(audio.readframes(audio.getnframes())) == len(content)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_gives_others():
    other = CorpusSpec("small", 8, 2_000, seed=4)
    assert wave_bytes(SPEC, 1) == wave_bytes(SPEC, 1)
    assert wave_bytes(SPEC, 1) != wave_bytes(SPEC, 2)
    assert wave_bytes(SPEC, 1) != wave_bytes(other, 1)


def test_ids_are_distinct_and_name_their_corpus():
    ids = {call_id(SPEC, index) for index in range(100)} | set(absent_ids(100))
    assert len(ids) == 200
    assert all(each.startswith(("call_small_", "call_absent_")) for each in ids)


def test_a_built_corpus_says_what_lies_on_disk(tmp_path):
    corpus = build(SPEC, tmp_path)
    assert len(corpus.entries) == SPEC.count
    for entry in corpus.entries:
        content = (corpus.folder / f"{entry.call_id}.wav").read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (entry.size, entry.sha256)
    assert corpus.total_bytes == sum(entry.size for entry in corpus.entries)


def test_a_whole_corpus_is_taken_from_the_cache_and_a_damaged_one_is_built_anew(tmp_path):
    first = build(SPEC, tmp_path)
    path = first.folder / f"{first.entries[0].call_id}.wav"
    written = path.stat().st_mtime_ns
    assert build(SPEC, tmp_path) == first
    assert path.stat().st_mtime_ns == written
    path.write_bytes(b"short")
    assert build(SPEC, tmp_path) == first
    assert path.stat().st_size == first.entries[0].size


def test_a_cache_folder_that_is_a_file_or_too_small_is_one_clear_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BenchError, match="cannot use the cache folder"):
        cache_folder(tmp_path / "file")
    with pytest.raises(BenchError, match="GB are needed"):
        require_space(tmp_path, 10**18)


def test_a_cache_folder_behind_a_link_is_refused(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(BenchError, match="not a folder of yours"):
        cache_folder(tmp_path / "link")

"""Compressed streams: whole, in several frames, cut off, damaged in the middle, and built to explode."""

from __future__ import annotations

import io
import struct
import tracemalloc
from pathlib import Path

import pytest
import zstandard
from corpus_files import PACKS, check_every_position, ids, json_line
from hypothesis import given, settings
from hypothesis import strategies as st

from reread.corpus import Rejects
from reread.corpus.blob import Blob
from reread.corpus.streams import DamagedStream, open_stream, read_lines, read_whole, resync, stream_errors

LINES = [json_line(number) for number in range(40)]
NAMES = [f"r{number}" for number in range(40)]


def unpacked(content: bytes) -> bytes:
    with open_stream(Blob("x", lambda: io.BytesIO(content))) as stream:
        return stream.read()


@pytest.mark.parametrize("codec", PACKS)
@given(parts=st.lists(st.binary(max_size=3000), min_size=1, max_size=5), n_zeros=st.integers(0, 20))
@settings(max_examples=25, deadline=None)
def test_any_bytes_in_any_number_of_frames_come_back(codec: str, parts: list[bytes], n_zeros: int) -> None:
    # Zeros behind the last frame are a tape's padding.
    assert unpacked(b"".join(PACKS[codec](part) for part in parts) + bytes(n_zeros)) == b"".join(parts)


@pytest.mark.parametrize("codec", PACKS)
def test_a_cut_anywhere_is_an_error_and_never_a_shorter_file(codec: str) -> None:
    first, last = PACKS[codec](b"".join(LINES[:20])), PACKS[codec](b"".join(LINES[20:]))
    for n_left in range(1, len(last)):
        with pytest.raises(DamagedStream) as caught:
            unpacked(first + last[:n_left])
        assert caught.value.is_cut
    assert unpacked(first) == b"".join(LINES[:20])


@pytest.mark.parametrize("codec", PACKS)
def test_json_lines_are_read_from_any_codec_whatever_the_name(tmp_path: Path, codec: str) -> None:
    (tmp_path / "a.jsonl.x").write_bytes(PACKS[codec](b"".join(LINES[:9])) + PACKS[codec](b"".join(LINES[9:])))
    assert ids(tmp_path) == (NAMES, {})


@pytest.mark.parametrize("codec", PACKS)
def test_frames_behind_a_damaged_one_are_read(tmp_path: Path, codec: str) -> None:
    frames = [PACKS[codec](b"".join(LINES[n : n + 10])) for n in range(0, 40, 10)]
    for at in range(12, len(frames[1]), 23):
        broken = frames[1][:at] + bytes([frames[1][at] ^ 0x55]) + frames[1][at + 1 :]
        (tmp_path / "a.jsonl.x").write_bytes(frames[0] + broken + frames[2] + frames[3])
        found, counts = ids(tmp_path / "a.jsonl.x")
        # What the broken frame gave before it failed may be read as well, but for the line that the damage is in.
        assert found[:10] == NAMES[:10] and found[-20:] == NAMES[20:], at
        assert counts["damaged_file"] == 1, at


@pytest.mark.parametrize("codec", PACKS)
def test_reading_goes_on_exactly_behind_any_record_of_a_damaged_file(tmp_path: Path, codec: str) -> None:
    frames = [PACKS[codec](b"".join(LINES[n : n + 10])) for n in range(0, 40, 10)]
    (tmp_path / "a.jsonl.x").write_bytes(frames[0] + frames[1][:-30] + frames[2] + frames[3][:-9])
    assert check_every_position(tmp_path) >= 20


def test_bytes_behind_the_last_frame_that_are_none_are_damage(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(PACKS["gzip"](b"".join(LINES)) + b"not a frame at all")
    assert ids(tmp_path) == (NAMES, {"damaged_file": 1})


@pytest.mark.parametrize("codec", ["zstd", "lz4"])
def test_frames_of_other_data_are_passed_over(codec: str) -> None:
    other = b"\x50\x2a\x4d\x18" + struct.pack("<I", 5) + b"index"
    assert unpacked(other + PACKS[codec](b"words") + other + PACKS[codec](b" and more")) == b"words and more"


@pytest.mark.parametrize("is_packed", [False, True])
def test_a_zstd_dictionary_in_front_is_used(is_packed: bool) -> None:
    samples = [b"WARC/1.0\r\nWARC-Type: response\r\nnumber %d" % n for n in range(2000)]
    dictionary = zstandard.train_dictionary(2000, samples)
    packed = zstandard.ZstdCompressor(dict_data=dictionary).compress(samples[7])
    stored = zstandard.compress(dictionary.as_bytes()) if is_packed else dictionary.as_bytes()
    front = b"\x5d\x2a\x4d\x18" + struct.pack("<I", len(stored)) + stored
    assert unpacked(front + packed + packed) == samples[7] * 2
    with pytest.raises(DamagedStream):
        unpacked(packed)


def bomb(codec: str) -> bytes:
    """Some hundred kB or less that unfold to 200 MB and more."""
    if codec == "zstd":
        # One frame of blocks that repeat a byte 128 kB long: three bytes of header, one of content.
        blocks = [((1 << 17) << 3 | 1 << 1 | (n == 4799)).to_bytes(3, "little") + b"x" for n in range(4800)]
        return b"\x28\xb5\x2f\xfd\x00\x58" + b"".join(blocks)
    return PACKS[codec](bytes(20 << 20)) * 10


@pytest.mark.parametrize("codec", PACKS)
def test_a_bomb_takes_little_memory_and_is_rejected(tmp_path: Path, codec: str) -> None:
    path = tmp_path / "a.x"
    path.write_bytes(bomb(codec))
    rejects = Rejects()
    tracemalloc.start()
    assert read_whole(path, "a", rejects, max_bytes=4 << 20) is None
    assert list(read_lines(path, "a", rejects, max_bytes=4 << 20)) == []
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rejects.counts == {"record_too_large": 2}
    assert peak < 24 << 20


@given(content=st.binary(max_size=400), codec=st.sampled_from(sorted(PACKS)), data=st.data())
@settings(max_examples=150, deadline=None)
def test_no_bytes_bring_a_stream_to_raise_anything_but_its_own_errors(
    content: bytes, codec: str, data: st.DataObject
) -> None:
    frame = PACKS[codec](content)
    at = data.draw(st.integers(0, len(frame)))
    n_left_out = data.draw(st.integers(0, 20))
    bad = frame[:at] + data.draw(st.binary(max_size=20)) + frame[at + n_left_out :] + PACKS[codec](b"end")
    with open_stream(Blob("x", lambda: io.BytesIO(bad))) as stream:
        for _ in range(1000):
            try:
                if not stream.read1(1 << 20):
                    return
            except stream_errors():
                if not resync(stream):
                    return
    raise AssertionError("reading does not end")

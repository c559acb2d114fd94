"""Compressed bytes in, plain bytes and lines out, however damaged the file is."""

from __future__ import annotations

import bz2
import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, Self, cast

from reread.corpus.rejects import Rejects

BLOCK_BYTES = 1 << 20
MAX_RECORD_BYTES = 64 << 20
"""A longer line or file is rejected, so that one broken record cannot take the machine's memory."""

GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
BZIP2_MAGIC = b"BZh"
LZ4_MAGIC = b"\x04\x22\x4d\x18"
PARQUET_MAGIC = b"PAR1"
WARC_MARK = b"WARC/1."

ZSTD_MAX_WINDOW_BYTES = 1 << 31
"""zstd --long=31, which The Pile and Dolma files may use."""
ZSTD_INPUT_BYTES = 8192
"""Fed at once: a block of zeros can grow a thousandfold."""


def stream_errors() -> tuple[type[Exception], ...]:
    """What a damaged compressed file raises while it is read."""
    import zstandard

    return (EOFError, OSError, zlib.error, zstandard.ZstdError)


def first_bytes(path: Path, n: int = 4) -> bytes:
    with path.open("rb") as file:
        return file.read(n)


class Stream(Protocol):
    """A binary file. `read1` returns what one read gives: nothing read before damage is lost, as `read` would."""

    def read1(self, size: int = -1, /) -> bytes: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *error: object) -> None: ...


def open_stream(path: Path) -> Stream:
    """The file's content, decompressed by what its first bytes say (gzip, zstd, bzip2), whatever its name."""
    magic = first_bytes(path)
    if magic.startswith(GZIP_MAGIC):
        return cast(Stream, gzip.open(path, "rb"))
    if magic == ZSTD_MAGIC:
        return cast(Stream, io.BufferedReader(_ZstdStream(path), BLOCK_BYTES))
    if magic.startswith(BZIP2_MAGIC):
        return cast(Stream, bz2.open(path, "rb"))
    return cast(Stream, path.open("rb"))


def ends_whole(path: Path, last_start: int) -> bool:
    """Whether a WARC file's last compressed frame, which began at `last_start`, ended.

    Without compression: whether the file stops elsewhere than in the first line of a record. lz4 goes unchecked.
    """
    magic = first_bytes(path)
    with path.open("rb") as file:
        file.seek(last_start)
        # Files compressed as one have no frame there.
        start = last_start if file.read(2) == magic[:2] else 0
        file.seek(start)
        try:
            if magic.startswith(GZIP_MAGIC):
                with gzip.GzipFile(fileobj=file) as stream:
                    _read_through(stream)
            elif magic == ZSTD_MAGIC:
                with io.BufferedReader(_ZstdStream(path, start), BLOCK_BYTES) as stream:
                    _read_through(stream)
            elif magic != LZ4_MAGIC:
                file.seek(-min(len(WARC_MARK), path.stat().st_size), io.SEEK_END)
                line = file.read().rpartition(b"\n")[2]
                return not (line and WARC_MARK.startswith(line))
        except stream_errors():
            return False
    return True


def _read_through(stream: Any) -> None:
    while stream.read1(BLOCK_BYTES):
        pass


class _ZstdStream(io.RawIOBase):
    """A zstd file's content, frame after frame. Unlike zstandard's own reader, a cut-off frame is an EOFError."""

    def __init__(self, path: Path, start: int = 0) -> None:
        import zstandard

        self._file = path.open("rb")
        self._file.seek(start)
        self._decompressor = zstandard.ZstdDecompressor(max_window_size=ZSTD_MAX_WINDOW_BYTES)
        self._frame = self._decompressor.decompressobj()
        self._frame_begun = False
        self._compressed = b""
        self._plain = memoryview(b"")

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._file.close()
        super().close()

    def readinto(self, buffer: Any) -> int:
        while not self._plain:
            if not self._compressed:
                self._compressed = self._file.read(ZSTD_INPUT_BYTES)
                if not self._compressed:
                    if self._frame_begun:
                        raise EOFError("the last zstd frame is cut off")
                    return 0
            self._plain = memoryview(self._frame.decompress(self._compressed))
            self._compressed, self._frame_begun = b"", True
            if self._frame.eof:
                self._compressed, self._frame_begun = self._frame.unused_data, False
                self._frame = self._decompressor.decompressobj()
        n = min(len(buffer), len(self._plain))
        buffer[:n] = self._plain[:n]
        self._plain = self._plain[n:]
        return n


def read_head(path: Path, n: int = 4096) -> bytes:
    """Up to n first bytes after decompression; what can be had of them where the file is damaged."""
    head = b""
    try:
        with open_stream(path) as stream:
            while len(head) < n:
                block = stream.read1(n - len(head))
                if not block:
                    break
                head += block
    except stream_errors():
        pass
    return head


def read_lines(
    path: Path, source: str, rejects: Rejects, *, skip: int = 0, max_bytes: int = MAX_RECORD_BYTES
) -> Iterator[tuple[int, bytes]]:
    """(line number from 1, line) of a possibly compressed file; blank lines are passed over, the first `skip` too.

    Over-long lines and a damaged end are rejected ("record_too_large", "damaged_file") and the rest is read.
    """
    number = 0
    pending: list[bytes] = []
    pending_bytes = 0
    too_large = False
    try:
        with open_stream(path) as stream:
            while block := stream.read1(BLOCK_BYTES):
                lines = block.split(b"\n")
                for position, piece in enumerate(lines):
                    if not too_large:
                        pending.append(piece)
                        pending_bytes += len(piece)
                        if pending_bytes > max_bytes:
                            too_large, pending, pending_bytes = True, [], 0
                    if position == len(lines) - 1:
                        break
                    number += 1
                    line, pending, pending_bytes = b"".join(pending), [], 0
                    if too_large:
                        too_large = False
                        if number > skip:
                            rejects.add(source, number, "record_too_large")
                    elif number > skip and (line := line.strip()):
                        yield number, line
    except stream_errors():
        # Whole lines before the damage were read; the line it cut is not trusted.
        rejects.add(source, number + 1, "damaged_file")
        return
    line = b"".join(pending).strip()
    if too_large:
        rejects.add(source, number + 1, "record_too_large")
    elif line and number + 1 > skip:
        yield number + 1, line


def read_whole(path: Path, source: str, rejects: Rejects, *, max_bytes: int = MAX_RECORD_BYTES) -> bytes | None:
    """The whole decompressed content, or None after rejecting it ("record_too_large", "damaged_file")."""
    content = io.BytesIO()
    try:
        with open_stream(path) as stream:
            while block := stream.read1(BLOCK_BYTES):
                content.write(block)
                if content.tell() > max_bytes:
                    rejects.add(source, 1, "record_too_large")
                    return None
    except stream_errors():
        rejects.add(source, 1, "damaged_file")
        return None
    return content.getvalue()

"""Compressed bytes in, plain bytes and lines out, however damaged the file is."""

from __future__ import annotations

import bz2
import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from reread.corpus.rejects import Rejects

BLOCK_BYTES = 1 << 20
MAX_RECORD_BYTES = 64 << 20
"""A longer line or file is rejected, so that one broken record cannot take the machine's memory."""

GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
BZIP2_MAGIC = b"BZh"
LZ4_MAGIC = b"\x04\x22\x4d\x18"
PARQUET_MAGIC = b"PAR1"

ZSTD_MAX_WINDOW_BYTES = 1 << 31
"""zstd --long=31, which The Pile and Dolma files may use."""


def stream_errors() -> tuple[type[Exception], ...]:
    """What a damaged compressed file raises while it is read."""
    import zstandard

    return (EOFError, OSError, zlib.error, zstandard.ZstdError)


def first_bytes(path: Path, n: int = 4) -> bytes:
    with path.open("rb") as file:
        return file.read(n)


def open_stream(path: Path) -> IO[bytes]:
    """The file's content, decompressed by what its first bytes say (gzip, zstd, bzip2), whatever its name."""
    magic = first_bytes(path)
    if magic.startswith(GZIP_MAGIC):
        return cast(IO[bytes], gzip.open(path, "rb"))
    if magic == ZSTD_MAGIC:
        import zstandard

        decompressor = zstandard.ZstdDecompressor(max_window_size=ZSTD_MAX_WINDOW_BYTES)
        return cast(IO[bytes], decompressor.stream_reader(path.open("rb"), read_across_frames=True, closefd=True))
    if magic.startswith(BZIP2_MAGIC):
        return cast(IO[bytes], bz2.open(path, "rb"))
    return path.open("rb")


def read_head(path: Path, n: int = 4096) -> bytes:
    """Up to n first bytes after decompression; what can be had of them where the file is damaged."""
    head = b""
    try:
        with open_stream(path) as stream:
            while len(head) < n:
                block = stream.read(n - len(head))
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
            while block := stream.read(BLOCK_BYTES):
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
            while block := stream.read(BLOCK_BYTES):
                content.write(block)
                if content.tell() > max_bytes:
                    rejects.add(source, 1, "record_too_large")
                    return None
    except stream_errors():
        rejects.add(source, 1, "damaged_file")
        return None
    return content.getvalue()

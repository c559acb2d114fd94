"""Compressed bytes in, plain bytes and lines out, however damaged the file is."""

from __future__ import annotations

import bz2
import codecs
import io
import re
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, Protocol, Self, cast

from reread.corpus.blob import Openable
from reread.corpus.rejects import Rejects

BLOCK_BYTES = 1 << 20
MAX_RECORD_BYTES = 64 << 20
"""A longer line or file is rejected, so that one broken record cannot take the machine's memory."""

GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
BZIP2_MAGIC = b"BZh"
LZ4_MAGIC = b"\x04\x22\x4d\x18"
PARQUET_MAGIC = b"PAR1"
SKIPPABLE_MAGIC = b"\x2a\x4d\x18"
"""Of zstd and lz4, behind a byte 0x50 to 0x5f: a frame of other data (seek tables, the dictionary of a .warc.zst)."""
ZSTD_DICTIONARY_MAGIC = b"\x5d" + SKIPPABLE_MAGIC
"""https://iipc.github.io/warc-specifications/specifications/warc-zstd/"""

ZSTD_MAX_WINDOW_LOG = 31
"""zstd --long=31, which The Pile and Dolma files may use."""
INPUT_BYTES = 32 << 10
"""Decompressed at once: what is lost of a damaged frame in front of the damage is at most this."""
PROBE_BYTES = 64 << 10
MAX_RESYNCS = 10_000
"""Damaged places of one file behind which the next frame is looked for; a file made of nothing else ends here."""
FRAME_STARTS = {
    "gzip": re.compile(rb"\x1f\x8b\x08[\x00-\x1f]"),
    "zstd": re.compile(re.escape(ZSTD_MAGIC)),
    "bzip2": re.compile(rb"BZh[1-9]1AY&SY"),
    "lz4": re.compile(re.escape(LZ4_MAGIC)),
}


class DamagedStream(OSError):
    """Compressed bytes that cannot be undone, or (`is_cut`) that end inside a frame."""

    def __init__(self, message: str, *, is_cut: bool = False) -> None:
        super().__init__(message)
        self.is_cut = is_cut
        self.is_doubtful = False
        """Whether bytes of the broken frame were given before it showed: those may be wrong."""


def stream_errors() -> tuple[type[Exception], ...]:
    """What a damaged, unreadable or interrupted file raises while it is read."""
    return (EOFError, OSError)


def first_bytes(path: Openable, n: int = 4) -> bytes:
    with path.open("rb") as file:
        return file.read(n)


class Stream(Protocol):
    """A binary file. `read1` returns what one read gives: nothing read before damage is lost, as `read` would."""

    def read1(self, size: int = -1, /) -> bytes: ...
    def read(self, size: int = -1, /) -> bytes: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *error: object) -> None: ...


def codec_of(head: bytes) -> str:
    """ "gzip", "zstd", "bzip2", "lz4", "skippable" (zstd or lz4: what follows tells), or "" for plain bytes."""
    if head.startswith(GZIP_MAGIC):
        return "gzip"
    if head.startswith(ZSTD_MAGIC):
        return "zstd"
    if head.startswith(BZIP2_MAGIC) and head[3:4] in b"123456789":
        return "bzip2"
    if head.startswith(LZ4_MAGIC):
        return "lz4"
    return "skippable" if head[1:4] == SKIPPABLE_MAGIC and 0x50 <= head[0] <= 0x5F else ""


def open_stream(path: Openable) -> Stream:
    """The file's content, decompressed by what its first bytes say (gzip, zstd, bzip2, lz4), whatever its name.

    Reading raises DamagedStream where a frame is broken or cut off; `resync` then goes on behind it.
    """
    file = path.open("rb")
    try:
        head, dictionary = _read_magic(file)
        codec = codec_of(head)
        if codec:
            return cast(Stream, io.BufferedReader(_Frames(file, head, codec, dictionary), BLOCK_BYTES))
        if file.seekable():
            file.seek(0)
            return cast(Stream, file)
        return cast(Stream, io.BufferedReader(_Prefixed(head, file), BLOCK_BYTES))
    except BaseException:
        file.close()
        raise


def _read_magic(file: BinaryIO) -> tuple[bytes, bytes | None]:
    """(the first bytes behind skippable frames, the zstd dictionary that one of those held)."""
    dictionary = None
    head = file.read(4)
    # bz2 data that merely begins like a skippable frame does not exist, plain text may: it has no frame behind.
    while codec_of(head) == "skippable":
        size = file.read(4)
        n = int.from_bytes(size, "little")
        content = file.read(min(n, MAX_RECORD_BYTES))
        if len(content) < n or len(size) < 4:
            return head + size + content, None
        if head == ZSTD_DICTIONARY_MAGIC:
            dictionary = content
        head = file.read(4)
    return head, dictionary


def resync(stream: Stream, starts: bytes = b"") -> bool:
    """After a DamagedStream: go on at the next frame that can be read and begins with `starts`; False without one."""
    frames = getattr(stream, "raw", None)
    return isinstance(frames, _Frames) and frames.resync(starts)


class _Prefixed(io.RawIOBase):
    """Bytes already read, then the rest of the file they came from."""

    def __init__(self, head: bytes, file: BinaryIO) -> None:
        self._head = head
        self._file = file

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._file.close()
        super().close()

    def readinto(self, buffer: Any) -> int:
        data = self._head[: len(buffer)] or self._file.read(len(buffer))
        self._head = self._head[len(data) :]
        buffer[: len(data)] = data
        return len(data)


class _Frames(io.RawIOBase):
    """A compressed file's content, frame after frame, in bounded memory whatever a few bytes unfold to."""

    def __init__(self, file: BinaryIO, head: bytes, codec: str, dictionary: bytes | None) -> None:
        self._file = file
        self._codec = codec
        self._make_frame = _frame_maker(codec, dictionary)
        self._errors = _codec_errors(codec)
        self._frame: Any = None
        self._compressed = head
        self._fed = b""
        """The last two pieces given to the decompressor: where the search behind damage begins."""
        self._plain = memoryview(b"")
        self._damage: DamagedStream | None = None
        self._frame_gave = False
        self._n_resyncs = 0

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._file.close()
        super().close()

    def readinto(self, buffer: Any) -> int:
        if not self._plain:
            if self._damage is not None:
                raise self._damage
            try:
                self._plain = memoryview(self._next_plain())
            except DamagedStream as error:
                error.is_doubtful = self._frame_gave and not error.is_cut
                self._damage = error
                raise
        n = min(len(buffer), len(self._plain))
        buffer[:n] = self._plain[:n]
        self._plain = self._plain[n:]
        return n

    def _next_plain(self) -> bytes:
        """The next piece of content; empty at the end of the file alone."""
        while True:
            if self._frame is None and not self._begin_frame():
                return b""
            if not self._compressed and self._frame.needs_input:
                self._compressed = self._file.read(INPUT_BYTES)
                if not self._compressed:
                    raise DamagedStream(f"the last {self._codec} frame is cut off", is_cut=True)
            if self._compressed:
                self._fed = self._fed[-INPUT_BYTES:] + self._compressed
            plain = self._decompress(self._frame, self._compressed)
            self._compressed = b""
            if self._frame.eof:
                self._compressed, self._frame = self._frame.unused_data or b"", None
            if plain:
                self._frame_gave = True
                return plain

    def _begin_frame(self) -> bool:
        """Whether there is a frame to read; zero bytes between frames are padding."""
        while len(self._compressed) < 4:
            more = self._file.read(INPUT_BYTES)
            self._compressed = (self._compressed + more).lstrip(b"\x00")
            if not more:
                break
        self._compressed = self._compressed.lstrip(b"\x00")
        if not self._compressed:
            return False
        self._frame_gave = False
        if codec_of(self._compressed) not in (self._codec, "skippable"):
            self._fed = self._compressed
            raise DamagedStream(f"bytes that begin no {self._codec} frame", is_cut=len(self._compressed) < 4)
        self._fed = b""
        self._frame = self._make_frame()
        return True

    def _decompress(self, frame: Any, data: bytes) -> bytes:
        try:
            return cast(bytes, frame.decompress(data, BLOCK_BYTES))
        except self._errors as error:
            raise DamagedStream(f"a {self._codec} frame is damaged ({error})") from error

    def resync(self, starts: bytes) -> bool:
        if self._damage is None or self._damage.is_cut or self._n_resyncs >= MAX_RESYNCS:
            return False
        self._n_resyncs += 1
        # Behind the first byte, so that the broken frame's own start is not found again.
        window, at_end = self._fed[1:], False
        while True:
            for match in FRAME_STARTS[self._codec].finditer(window):
                while not at_end and len(window) - match.start() < PROBE_BYTES:
                    more = self._file.read(PROBE_BYTES)
                    window, at_end = window + more, not more
                if self._is_frame(window[match.start() : match.start() + PROBE_BYTES], starts):
                    self._compressed, self._frame, self._damage = window[match.start() :], None, None
                    return True
            if at_end:
                return False
            more = self._file.read(BLOCK_BYTES)
            window, at_end = window[-16:] + more, not more

    def _is_frame(self, head: bytes, starts: bytes) -> bool:
        frame = self._make_frame()
        try:
            plain = self._decompress(frame, head)
        except DamagedStream:
            return False
        # A bzip2 block gives nothing before all of its bytes are there.
        return plain.startswith(starts) and bool(plain or frame.eof or self._codec == "bzip2")


def _frame_maker(codec: str, dictionary: bytes | None) -> Callable[[], Any]:
    """Makes objects with `decompress(data, max_length)`, `eof`, `needs_input` and `unused_data` (as bz2's)."""
    if codec == "gzip":
        from isal.igzip_lib import DECOMP_GZIP, IgzipDecompressor

        return lambda: IgzipDecompressor(flag=DECOMP_GZIP)
    if codec == "zstd":
        return _zstd_maker(dictionary)
    if codec == "bzip2":
        return bz2.BZ2Decompressor
    from lz4.frame import LZ4FrameDecompressor

    return cast("Callable[[], Any]", LZ4FrameDecompressor)


def _zstd_maker(dictionary: bytes | None) -> Callable[[], Any]:
    zstd = _zstd()
    options = {zstd.DecompressionParameter.window_log_max: ZSTD_MAX_WINDOW_LOG}
    if dictionary is None:
        return lambda: zstd.ZstdDecompressor(options=options)
    try:
        if dictionary.startswith(ZSTD_MAGIC):
            dictionary = zstd.ZstdDecompressor().decompress(dictionary, MAX_RECORD_BYTES)
        shared = zstd.ZstdDict(dictionary)
    except (zstd.ZstdError, ValueError) as error:
        raise DamagedStream(f"the zstd dictionary is damaged ({error})") from error
    return lambda: zstd.ZstdDecompressor(zstd_dict=shared, options=options)


def _zstd() -> Any:
    try:
        from compression import zstd  # Python 3.14
    except ImportError:
        from backports import zstd
    return zstd


def _codec_errors(codec: str) -> tuple[type[Exception], ...]:
    general: tuple[type[Exception], ...] = (OSError, EOFError, RuntimeError, ValueError, MemoryError)
    if codec == "gzip":
        from isal import igzip_lib

        return (*general, cast(type[Exception], igzip_lib.IsalError))
    return (*general, _zstd().ZstdError) if codec == "zstd" else general


def read_head(path: Openable, n: int = 4096) -> bytes:
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
    path: Openable, source: str, rejects: Rejects, *, skip: int = 0, max_bytes: int = MAX_RECORD_BYTES
) -> Iterator[tuple[int, bytes]]:
    """(line number from 1, line) of a possibly compressed file; blank lines are passed over, the first `skip` too.

    UTF-16 with its mark comes as UTF-8. Over-long lines and damaged places are rejected ("record_too_large",
    "damaged_file"), count as one line, and the rest is read, behind damage from the next frame on.
    """
    number = 0
    pending: list[bytes] = []
    pending_bytes = 0
    for block in _blocks(path):
        if block is None:
            # Whole lines before the damage were read; the line it cut is not trusted.
            number += 1
            if number > skip:
                rejects.add(source, number, "damaged_file")
            pending, pending_bytes = [], 0
            continue
        lines = block.split(b"\n")
        last = lines.pop()
        for line in lines:
            number += 1
            if pending_bytes:
                too_large = pending_bytes + len(line) > max_bytes
                line = b"" if too_large else b"".join([*pending, line])
                pending, pending_bytes = [], 0
                if too_large and number > skip:
                    rejects.add(source, number, "record_too_large")
            elif len(line) > max_bytes:
                line = b""
                if number > skip:
                    rejects.add(source, number, "record_too_large")
            if number > skip and (line := line.strip()):
                yield number, line
        pending_bytes += len(last)
        if pending_bytes > max_bytes:
            pending = []
        elif last:
            pending.append(last)
    number += 1
    if number <= skip:
        return
    if pending_bytes > max_bytes:
        rejects.add(source, number, "record_too_large")
    elif line := b"".join(pending).strip():
        yield number, line


def _blocks(path: Openable) -> Iterator[bytes | None]:
    """The content in blocks, that of UTF-16 with its mark as UTF-8; None for every damaged place."""
    decoder: codecs.IncrementalDecoder | None = None
    is_first = True
    for block in read_blocks(path):
        if block and is_first:
            is_first = False
            if block.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                decoder = codecs.getincrementaldecoder("utf-16")("replace")
        yield block if block is None or decoder is None else decoder.decode(block).encode("utf-8", "replace")


def read_blocks(path: Openable, n: int = BLOCK_BYTES) -> Iterator[bytes | None]:
    """The decompressed content in blocks of up to n bytes; None for every damaged place, behind which it goes on."""
    try:
        stream = open_stream(path)
    except stream_errors():
        yield None
        return
    with stream:
        while True:
            try:
                block = stream.read1(n)
            except stream_errors():
                yield None
                if not resync(stream):
                    return
                continue
            if not block:
                return
            yield block


def read_whole(path: Openable, source: str, rejects: Rejects, *, max_bytes: int = MAX_RECORD_BYTES) -> bytes | None:
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

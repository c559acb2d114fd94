"""Tar and ZIP archives, streamed: every member is read by its own format and nothing is written to disk."""

from __future__ import annotations

import io
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

from reread.corpus.blob import Blob, Openable
from reread.corpus.find import CorpusFile, is_hidden
from reread.corpus.rejects import Rejects
from reread.corpus.streams import open_stream

MEMBER_BITS = 32
"""A record's number in an archive is its member's place << 32 | its number in the member, so that going on from a
record passes over whole members without counting what they hold."""
MAX_KEPT_BYTES = 4 << 20
"""Of a member's first bytes, which are read to tell its format and then again."""
MAX_HEADER_BYTES = 64 << 20
"""Of a member's header; a tar file may claim a file name of gigabytes."""
ReadMember = Callable[[CorpusFile, Openable, Rejects, int], Iterator[tuple[int, Any]]]
MEMBER_ERRORS: tuple[type[Exception], ...] = (
    OSError,
    zipfile.BadZipFile, NotImplementedError, RuntimeError, zlib.error, EOFError, tarfile.TarError, ValueError,
)  # fmt: skip


def read_tar(
    file: CorpusFile, path: Openable, rejects: Rejects, skip: int, read_member: ReadMember
) -> Iterator[tuple[int, Any]]:
    """The records of every member. Links, devices and hidden members are no documents; a broken header ends the file
    with one reject, "damaged_file"."""
    first_member, first_record = _split(skip)
    place = 0
    try:
        with open_stream(path) as stream:
            bounded = _Bounded(cast(BinaryIO, stream))
            with tarfile.open(fileobj=cast(Any, bounded), mode="r|", errorlevel=1) as tar:
                while (member := tar.next()) is not None:
                    # A streamed tar remembers every member otherwise.
                    cast(Any, tar).members.clear()
                    # This member and the header behind it.
                    bounded.allow(member.size + MAX_HEADER_BYTES)
                    is_wanted = place >= first_member and not is_hidden(PurePosixPath(member.name))
                    if is_wanted and member.issparse():
                        # Holes take no room in the archive and may be of any size.
                        if place > first_member or not first_record:
                            rejects.add(f"{file.name}/{member.name}", 0, "unsupported_format (sparse file)")
                    elif is_wanted and member.isfile():
                        content = tar.extractfile(member)
                        if content is not None:
                            blob = _member_blob(member.name, cast(BinaryIO, content))
                            inner_skip = first_record if place == first_member else 0
                            yield from _records(file, blob, rejects, place, inner_skip, read_member)
                    place += 1
                if not bounded.ends_at(tar.offset):
                    # tarfile takes a broken header, or a file cut between two members, for the end.
                    raise tarfile.ReadError("the archive has no end mark")
    except MEMBER_ERRORS:
        rejects.add(file.name, place + 1, "damaged_file")


def read_zip(
    file: CorpusFile, path: Openable, rejects: Rejects, skip: int, read_member: ReadMember
) -> Iterator[tuple[int, Any]]:
    """The records of every member, in the archive's order; encrypted ones are rejected as "encrypted_file"."""
    first_member, first_record = _split(skip)
    try:
        source = path if isinstance(path, Path) else path.open("rb")
        if not isinstance(source, Path) and not source.seekable():
            rejects.add(file.name, 0, "unsupported_format (nested archive)")
            return
        archive = zipfile.ZipFile(source)
    except MEMBER_ERRORS:
        rejects.add(file.name, 0, "damaged_file")
        return
    with archive:
        for place, member in enumerate(archive.infolist()):
            if place < first_member or member.is_dir() or is_hidden(PurePosixPath(member.filename)):
                continue
            inner_skip = first_record if place == first_member else 0
            if member.flag_bits & 0x1:
                if not inner_skip:
                    rejects.add(f"{file.name}/{member.filename}", 0, "encrypted_file")
                continue
            blob = Blob(member.filename, lambda member=member: _open_zip_member(archive, member))  # type: ignore[misc]
            yield from _records(file, blob, rejects, place, inner_skip, read_member)


def _records(
    file: CorpusFile, blob: Blob, rejects: Rejects, place: int, skip: int, read_member: ReadMember
) -> Iterator[tuple[int, Any]]:
    member = CorpusFile(f"{file.name}/{blob.name}", None, text_field=file.text_field, member_of=file.source)
    for number, record in read_member(member, blob, rejects, skip):
        yield _join(place, number), record


def _join(place: int, number: int) -> int:
    return place << MEMBER_BITS | number


def _split(number: int) -> tuple[int, int]:
    return number >> MEMBER_BITS, number & ((1 << MEMBER_BITS) - 1)


def _open_zip_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> BinaryIO:
    try:
        return cast(BinaryIO, io.BufferedReader(_Guarded(cast(BinaryIO, archive.open(member)))))
    except MEMBER_ERRORS as error:
        raise OSError(f"the member {member.filename} cannot be read ({error})") from error


def _member_blob(name: str, content: BinaryIO) -> Blob:
    replay = _Replay(content)
    return Blob(name, lambda: cast(BinaryIO, io.BufferedReader(_Replayed(replay))))


class _Bounded:
    """A stream of which no more may be read than was allowed, whatever lengths a tar header claims."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._n_left = MAX_HEADER_BYTES
        self._n_read = 0
        self._last = b""

    def ends_at(self, offset: int) -> bool:
        """Whether the block of zeros that ends an archive was read there."""
        start = offset - (self._n_read - len(self._last))
        return start >= 0 and self._last[start : start + tarfile.BLOCKSIZE] == bytes(tarfile.BLOCKSIZE)

    def allow(self, n: int) -> None:
        self._n_left = n

    def read(self, n: int) -> bytes:
        if self._n_left <= 0:
            raise tarfile.ReadError("a tar header is too long")
        data = self._stream.read(n)
        self._n_left -= len(data)
        self._n_read += len(data)
        self._last = (self._last + data)[-4 * tarfile.RECORDSIZE :]
        return data


class _Guarded(io.RawIOBase):
    """A ZIP member whose damage is an OSError, as that of every other stream is."""

    def __init__(self, content: BinaryIO) -> None:
        self._content = content

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._content.read(len(buffer))
        except MEMBER_ERRORS as error:
            raise OSError(f"the member is damaged ({error})") from error
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._content.close()
        super().close()


class _Replay:
    """What was read of a member that can only be read once."""

    def __init__(self, content: BinaryIO) -> None:
        self.content = content
        self.kept = bytearray()
        self.n_read = 0


class _Replayed(io.RawIOBase):
    """A member from its start, as long as the reader before stopped within its first bytes."""

    def __init__(self, replay: _Replay) -> None:
        self._replay = replay
        self._at = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        replay = self._replay
        if self._at < len(replay.kept):
            data = bytes(replay.kept[self._at : self._at + len(buffer)])
        elif self._at == replay.n_read:
            try:
                data = replay.content.read(len(buffer))
            except MEMBER_ERRORS as error:
                raise OSError(f"the member is damaged ({error})") from error
            replay.n_read += len(data)
            if replay.n_read <= MAX_KEPT_BYTES:
                replay.kept += data
            else:
                # Once more is read than is kept, nobody may begin again.
                replay.kept.clear()
        else:
            raise OSError("a member of an archive cannot be read twice")
        self._at += len(data)
        buffer[: len(data)] = data
        return len(data)

"""What a build remembers of the files it is made of, and whether they are still the same."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reread.corpus import CorpusFile, Position
from reread.corpus.find import HUB_PREFIX
from reread.corpus.records import clean
from reread.corpus.remote import object_facts
from reread.errors import DatastoreError
from reread.runs import canonical_json, file_sha256

SAMPLES = 64
SAMPLE_BYTES = 1 << 18
WHOLE_BYTES = SAMPLES * SAMPLE_BYTES
"""Files up to 16 MiB are known by the checksum of all their bytes. Of a longer one, size and 64 samples of 256 KiB are
summed, the first and the last bytes among them: reading terabytes twice more would cost as much as reading them once.
What the samples miss, the time stamp shows: it is compared while a build is unfinished."""


def label(corpus: str) -> str:
    """What the store remembers of a CORPUS: its base name, as a store is passed on and paths are private."""
    if corpus.startswith(HUB_PREFIX):
        return corpus
    # "." and "/" have no name. A name that is not UTF-8 cannot stand in a JSON file as it is.
    return clean(Path(corpus).name or corpus)


def describe(file: CorpusFile) -> dict[str, Any]:
    """Name, size and checksum of an input file, as datastore.json holds them.

    Of an object on a store: its size and ETag (else the time of its last change) as the store states them.
    """
    name = clean(file.name)
    if file.url:
        return {"name": name, **object_facts(file.url)}
    if file.path is None:
        return {"name": name}
    try:
        n_bytes = file.path.stat().st_size
        if n_bytes <= WHOLE_BYTES:
            return {"name": name, "bytes": n_bytes, "sha256": file_sha256(file.path)}
        return {"name": name, "bytes": n_bytes, "sha256_of_samples": _sha256_of_samples(file.path, n_bytes)}
    except OSError as error:
        # One unreadable file must not stop the rest: it is rejected when its turn comes.
        return {"name": name, "unreadable": error.strerror}


def _sha256_of_samples(path: Path, n_bytes: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for sample in range(SAMPLES):
            file.seek(sample * (n_bytes - SAMPLE_BYTES) // (SAMPLES - 1))
            digest.update(file.read(SAMPLE_BYTES))
    return digest.hexdigest()


Stamp = Sequence[Any] | None


def stamps(files: Sequence[CorpusFile]) -> list[Stamp]:
    """(size, time of the last change in ns, or an object's ETag) of every file, None where there is none to be had."""
    return [_stamp(file) for file in files]


def _stamp(file: CorpusFile) -> Stamp:
    if file.url:
        facts = object_facts(file.url)
        return None if "unreadable" in facts else [facts["bytes"] or 0, facts.get("etag") or facts.get("changed")]
    try:
        status = file.path.stat() if file.path is not None else None
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns] if status is not None else None


def check_unchanged(file: CorpusFile, stamp: Stamp) -> None:
    """Raises DatastoreError where the file is not what it was when its stamp was taken."""
    if _stamp(file) != stamp:
        raise DatastoreError(
            f"{file.place} changed while it was read; let it rest, delete the store and build it again"
        )


def check_stamps(
    files: Sequence[CorpusFile], described: Sequence[Mapping[str, Any]], before: Sequence[Any], now: Sequence[Stamp]
) -> None:
    """Of an unfinished build that goes on: raises DatastoreError where a file known by samples alone was touched."""
    for file, facts, stamp, present in zip(files, described, before, now, strict=True):
        if "sha256_of_samples" in facts and stamp != present:
            raise DatastoreError(
                f"{file.place} was changed or copied since the build began ({present} instead of {stamp}: bytes, time "
                "stamp in ns); set the old time stamp if its content is the same, or delete the store and build it "
                "again"
            )


def fingerprint(build_entry: Mapping[str, Any]) -> str:
    """What must not change between two calls of one build; not the folders, so that a corpus may be moved."""
    if build_entry["files"]:
        return canonical_json([build_entry["files"], build_entry["made_from"]])
    # Stores of earlier versions hold whole paths.
    return canonical_json([[label(corpus) for corpus in build_entry["corpora"]], build_entry["made_from"]])


COMPRESSED_SUFFIXES = (".gz", ".zst", ".bz2", ".xz", ".lz4", ".parquet", ".zip", ".tgz")


class CorpusBytes:
    """How far into the bytes of a corpus a build is, for the time left: exact at the ends of files.

    Within a file it goes by the characters of its documents, with the bytes a character that files of its kind had.
    """

    def __init__(self, files: Sequence[CorpusFile], stamps: Sequence[Stamp]) -> None:
        self._sizes = [stamp[0] if stamp else 0 for stamp in stamps]
        self._kinds = [file.name.lower().endswith(COMPRESSED_SUFFIXES) for file in files]
        self._bytes = {True: 0.35, False: 1.15}
        self._chars = {True: 1, False: 1}
        self._file, self._chars_here, self._done = 0, 0, 0
        self.total = sum(self._sizes)

    def read(self, position: Position, n_chars: int) -> None:
        """Take in that a document of so many characters was read there."""
        while self._file < min(position.file, len(self._sizes)):
            size, kind = self._sizes[self._file], self._kinds[self._file]
            if self._chars_here:
                self._bytes[kind] += size
                self._chars[kind] += self._chars_here
            self._done += size
            self._file, self._chars_here = self._file + 1, 0
        self._chars_here += n_chars

    def read_all(self) -> None:
        """Take in that nothing is left to read."""
        self._file = len(self._sizes)

    @property
    def share(self) -> float:
        """Of the corpus that was read, from 0 to 1."""
        if not self.total or self._file >= len(self._sizes):
            return 1.0
        size, kind = self._sizes[self._file], self._kinds[self._file]
        here = min(0.99 * size, self._chars_here * self._bytes[kind] / self._chars[kind])
        return (self._done + here) / self.total

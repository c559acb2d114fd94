"""Records, packings and reading for the tests of corpora."""

from __future__ import annotations

import bz2
import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path

import lz4.frame
import zstandard

from reread.corpus import Position, Rejects, find_files
from reread.corpus.documents import read_from
from reread.types import Document

Pack = Callable[[bytes], bytes]


def _zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


def _lz4(data: bytes) -> bytes:
    return lz4.frame.compress(data, content_checksum=True)


PACKS: dict[str, Pack] = {"gzip": gzip.compress, "zstd": _zstd, "bzip2": bz2.compress, "lz4": _lz4}


def json_line(number: int, n_letters: int = 60) -> bytes:
    """A record whose text does not compress away."""
    letters = "".join(random.Random(number).choices("abcdefghijklmnopqrstuvwxyz ", k=n_letters))
    return json.dumps({"id": f"r{number}", "text": letters}).encode() + b"\n"


def read(*corpora: Path | str, text_field: str | None = None) -> tuple[list[Document], Rejects]:
    """(documents, rejects), of which there may be no documents."""
    rejects = Rejects()
    files = find_files([str(corpus) for corpus in corpora])
    return [d for _, d in read_from(files, Position(0, 0), rejects=rejects, text_field=text_field)], rejects


def ids(*corpora: Path | str) -> tuple[list[str], dict[str, int]]:
    documents, rejects = read(*corpora)
    return [document.id for document in documents], dict(rejects.counts)


def check_every_position(*corpora: Path | str) -> int:
    """That reading from any document on gives exactly the rest, of documents and of rejects; returns how many."""

    class Log(Rejects):
        def __init__(self) -> None:
            super().__init__()
            self.lines: list[tuple[str, str | int, str]] = []

        def add(self, source: str, record: str | int, reason: str) -> None:
            super().add(source, record, reason)
            self.lines.append((source, record, reason))

    files = find_files([str(corpus) for corpus in corpora])
    rejects = Log()
    whole, n_rejects = [], []
    for found in read_from(files, Position(0, 0), rejects=rejects):
        whole.append(found)
        n_rejects.append(len(rejects.lines))
    assert [position for position, _ in whole] == sorted(position for position, _ in whole)
    for place, (position, _) in enumerate(whole):
        rest_rejects = Log()
        rest = list(read_from(files, position, rejects=rest_rejects))
        assert rest == whole[place + 1 :], position
        assert rest_rejects.lines == rejects.lines[n_rejects[place] :], position
    return len(whole)


__all__ = ["PACKS", "Pack", "check_every_position", "ids", "json_line", "read"]

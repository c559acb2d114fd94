"""A corpus written back: the same records file by file, each file taking its name once it is whole."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from reread.corpus.find import CorpusFile
from reread.errors import RereadError
from reread.types import Document

CORPUS_SUFFIXES = (".jsonl.zst", ".jsonl.gz", ".jsonl")


def record_of(document: Document) -> dict[str, Any]:
    """The record as a corpus file has it: the document's own fields beside its further ones."""
    own = {"id": document.id, "title": document.title, "text": document.text, "url": document.url}
    return {**document.meta, **{key: value for key, value in own.items() if value or key in ("id", "text")}}


def record_line(document: Document) -> bytes:
    """The document as one line of JSON; text that is no Unicode (lone surrogates) keeps its escapes."""
    try:
        return json.dumps(record_of(document), ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:
        return json.dumps(record_of(document)).encode() + b"\n"


def output_names(files: Sequence[CorpusFile], suffix: str = ".jsonl.zst") -> list[str]:
    """A name with `suffix` for each corpus file, below one folder and without repeats."""
    names: list[str] = []
    taken: set[str] = set()
    for number, file in enumerate(files):
        parts = [
            part for part in file.name.replace(":", "-").replace("\\", "/").split("/") if part not in ("", ".", "..")
        ]
        name = "/".join(parts)
        for ending in CORPUS_SUFFIXES:
            name = name.removesuffix(ending)
        name += suffix
        if name in taken:
            name = f"{number:05d}-{Path(name).name}"
        taken.add(name)
        names.append(name)
    return names


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """A file that takes its name only once it is whole and on disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def atomic_zstd(path: Path, level: int = 3) -> Iterator[BinaryIO]:
    """Likewise, compressed; equal content gives equal bytes."""
    try:
        from compression import zstd  # Python 3.14
    except ImportError:
        from backports import zstd
    options = {zstd.CompressionParameter.compression_level: level, zstd.CompressionParameter.checksum_flag: 1}
    with atomic_file(path) as file, zstd.ZstdFile(file, "wb", options=options) as compressed:
        yield cast(BinaryIO, compressed)


@contextmanager
def full_disk(folder: Path) -> Iterator[None]:
    """Turns a full disk into one clear sentence."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise RereadError(
            f"the disk that holds {folder} is full; free some space and run the same command again: "
            "finished files are kept"
        ) from error


def join_files(paths: Sequence[Path], target: Path) -> None:
    """The files that exist, one behind the other, as one."""
    with atomic_file(target) as joined:
        for path in paths:
            if path.exists():
                with path.open("rb") as file:
                    shutil.copyfileobj(file, joined)

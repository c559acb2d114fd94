"""A corpus as a stream of documents: the first step of everything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from reread.corpus.find import CorpusFile, find_files
from reread.corpus.formats import READERS, detect_format, read_hub
from reread.corpus.records import make_document
from reread.corpus.rejects import Rejects, Unreadable
from reread.errors import CorpusError
from reread.types import Document


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Where a document lies in a corpus: the file's place in the list, from 0, and its record number, from 1."""

    file: int
    record: int


START = Position(0, 0)


def read_documents(corpora: Sequence[str], *, rejects: Rejects) -> Iterator[Document]:
    """Every readable document of the corpora, in the order of the words given and of sorted paths within each.

    A CORPUS is a file, a folder, a glob or hf:DATASET; formats are told by content, then by name (JSON lines, JSON,
    Parquet, text, Markdown, HTML, WARC and WET; gzip, zstd and bzip2 where they apply). A record that cannot be
    read goes to `rejects` with its reason and never ends the run. Ids are the records' own and may repeat;
    who needs them unique (datastore.build) rejects the later one.

    Raises CorpusError for a corpus that is missing or has no readable document, and MissingExtra where a format needs
    an optional package.
    """
    files = find_files(corpora)
    n_documents = 0
    for _, document in read_from(files, START, rejects=rejects):
        n_documents += 1
        yield document
    if n_documents == 0:
        raise no_documents(corpora, rejects)


def no_documents(corpora: Sequence[str], rejects: Rejects) -> CorpusError:
    """The error for a corpus of files that hold nothing readable."""
    reasons = ", ".join(f"{n} × {reason}" for reason, n in rejects.counts.most_common(3)) or "no records"
    hint = "a record needs a text field such as text, content or body"
    if set(rejects.counts) == {"damaged_file"}:
        hint = "a damaged file must be copied or fetched again"
    return CorpusError(f"no readable document in {' '.join(map(str, corpora))} ({reasons}); {hint}")


def read_from(files: Sequence[CorpusFile], start: Position, *, rejects: Rejects) -> Iterator[tuple[Position, Document]]:
    """Documents after `start`, each with its position, so that a build can go on where it stopped."""
    for index, file in enumerate(files):
        if index < start.file:
            continue
        skip = start.record if index == start.file else 0
        for number, record in _records(file, rejects, skip):
            if not isinstance(record, Document | Unreadable):
                record = make_document(record, file.name, file.source, number)
            if isinstance(record, Unreadable):
                rejects.add(file.name, number, record.reason)
            else:
                yield Position(index, number), record


def _records(file: CorpusFile, rejects: Rejects, skip: int) -> Iterator[tuple[int, Any]]:
    if file.path is None:
        yield from read_hub(file, rejects, skip)
        return
    try:
        kind = detect_format(file.path)
    except OSError as error:
        rejects.add(file.name, 0, f"unreadable_file ({error.strerror})")
        return
    if kind not in READERS:
        if not skip:
            rejects.add(file.name, 0, "empty_file" if kind == "empty" else f"unsupported_format ({kind})")
        return
    yield from READERS[kind](file, file.path, rejects, skip)

"""A corpus as a stream of documents: the first step of everything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from reread.corpus.blob import Openable
from reread.corpus.find import CorpusFile, find_files
from reread.corpus.formats import READERS, detect_format
from reread.corpus.formats.archives import read_tar, read_zip
from reread.corpus.hub import read_hub
from reread.corpus.records import clean, make_document
from reread.corpus.rejects import Rejects, Unreadable
from reread.errors import CorpusError
from reread.types import Document


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Where a document lies in a corpus: the file's place in the list, from 0, and its record number, from 1."""

    file: int
    record: int


START = Position(0, 0)


def read_documents(corpora: Sequence[str], *, rejects: Rejects, text_field: str | None = None) -> Iterator[Document]:
    """Every readable document of the corpora, in the order of the words given and of sorted paths within each.

    A CORPUS is a file, a folder, a glob, a URL on an object store (s3://, gs://) or hf:DATASET. Formats are told by
    content, then by name: JSON lines, JSON, Parquet, text, Markdown, HTML, WARC and WET, ARC, Wikipedia dumps, and tar
    and ZIP archives of these; gzip, zstd, bzip2 and lz4 around any of them but Parquet and ZIP. A record that cannot be
    read goes to `rejects` with its reason and never ends the run. Ids are the records' own and may repeat; who needs
    them unique (datastore.build) rejects the later one. text_field: the field or column that holds the text, where
    the usual names would find another or none.

    Raises CorpusError for a corpus that is missing or has no readable document, and MissingExtra where a format needs
    an optional package.
    """
    files = find_files(corpora)
    n_documents = 0
    for _, document in read_from(files, START, rejects=rejects, text_field=text_field):
        n_documents += 1
        yield document
    if n_documents == 0:
        raise no_documents(corpora, rejects, text_field)


def no_documents(corpora: Sequence[str], rejects: Rejects, text_field: str | None = None) -> CorpusError:
    """The error for a corpus of files that hold nothing readable; text_field: the one asked for."""
    reasons = ", ".join(f"{n} × {reason}" for reason, n in rejects.counts.most_common(3)) or "no records"
    hint = "a record needs a text field such as text, content or body"
    if text_field is not None:
        hint = f"is {text_field!r} the name of the text field?"
    if set(rejects.counts) == {"damaged_file"}:
        hint = "a damaged file must be copied or fetched again"
    return CorpusError(f"no readable document in {' '.join(map(str, corpora))} ({reasons}); {hint}")


def read_from(
    files: Sequence[CorpusFile], start: Position, *, rejects: Rejects, text_field: str | None = None
) -> Iterator[tuple[Position, Document]]:
    """Documents after `start`, each with its position, so that a build can go on where it stopped."""
    for index, file in enumerate(files):
        if index < start.file:
            continue
        skip = start.record if index == start.file else 0
        for number, record in _records(replace(file, text_field=text_field), rejects, skip):
            yield Position(index, number), record


def _records(file: CorpusFile, rejects: Rejects, skip: int) -> Iterator[tuple[int, Document]]:
    content = file.content
    if content is None:
        yield from _documents(file, read_hub(file, rejects, skip), rejects)
        return
    kind = _format(file, content, rejects, skip)
    if kind in ("tar", "zip"):
        # A member's records become documents under the member's name.
        read_archive = read_tar if kind == "tar" else read_zip
        yield from read_archive(file, content, rejects, skip, _member_records)
    elif kind:
        yield from _documents(file, READERS[kind](file, content, rejects, skip), rejects)


def _member_records(file: CorpusFile, content: Openable, rejects: Rejects, skip: int) -> Iterator[tuple[int, Document]]:
    kind = _format(file, content, rejects, skip)
    if kind in ("tar", "zip"):
        # One level holds every published layout; more of them is how archives are made to explode.
        if not skip:
            rejects.add(file.name, 0, "unsupported_format (nested archive)")
    elif kind:
        yield from _documents(file, READERS[kind](file, content, rejects, skip), rejects)


def _format(file: CorpusFile, content: Openable, rejects: Rejects, skip: int) -> str:
    """The name of the format; "" after rejecting what has no reader."""
    try:
        kind = detect_format(content)
    except OSError as error:
        if not skip:
            rejects.add(file.name, 0, f"unreadable_file ({error.strerror})" if error.strerror else "damaged_file")
        return ""
    if kind in READERS or kind in ("tar", "zip"):
        return kind
    if not skip:
        rejects.add(file.name, 0, "empty_file" if kind == "empty" else f"unsupported_format ({kind})")
    return ""


def _documents(
    file: CorpusFile, records: Iterator[tuple[int, Any]], rejects: Rejects
) -> Iterator[tuple[int, Document]]:
    name, source = clean(file.name), clean(file.source)
    for number, record in records:
        if not isinstance(record, Document | Unreadable):
            record = make_document(record, name, source, number, file.text_field)
        if isinstance(record, Unreadable):
            rejects.add(file.name, number, record.reason)
        else:
            yield number, record

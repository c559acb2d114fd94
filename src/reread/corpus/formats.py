"""One reader a format: each yields (record number, record or Document), and rejects what it cannot read."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reread.corpus.find import CorpusFile
from reread.corpus.html import html_text
from reread.corpus.records import TEXT_FIELDS, clean
from reread.corpus.rejects import Rejects, Unreadable
from reread.corpus.streams import (
    LZ4_MAGIC,
    MAX_RECORD_BYTES,
    PARQUET_MAGIC,
    first_bytes,
    read_head,
    read_lines,
    read_whole,
)
from reread.errors import MissingExtra
from reread.types import Document

Record = tuple[int, Any]
PARQUET_BATCH_ROWS = 256
COMPRESSION_SUFFIXES = (".gz", ".zst", ".bz2", ".lz4")
HTML_SUFFIXES = (".html", ".htm", ".xhtml")
MARKDOWN_SUFFIXES = (".md", ".markdown", ".mdx")


def detect_format(path: Path) -> str:
    """ "jsonl", "json", "parquet", "warc", "html", "markdown", "text", "arc", "binary" or "empty".

    By what the bytes say first, and by the name where they do not.
    """
    magic = first_bytes(path)
    if not magic:
        return "empty"
    if magic == PARQUET_MAGIC:
        return "parquet"
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() not in COMPRESSION_SUFFIXES]
    suffix = suffixes[-1] if suffixes else ""
    if magic == LZ4_MAGIC:
        return "warc" if suffix in (".warc", ".wet") else "binary"
    head = read_head(path)
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if start.startswith(b"WARC/"):
        return "warc"
    if start.startswith(b"filedesc://"):
        return "arc"
    if suffix in (".warc", ".wet"):
        return "warc"
    if suffix in (".jsonl", ".ndjson"):
        return "jsonl"
    if suffix == ".json":
        return _json_layout(start)
    if suffix in HTML_SUFFIXES or start[:64].lower().startswith((b"<!doctype html", b"<html")):
        return "html"
    if suffix in MARKDOWN_SUFFIXES:
        return "markdown"
    if suffix in (".txt", ".text", ".rst", ".tex"):
        return "text"
    if start[:1] == b"{" or (start[:1] == b'"' and suffix in ("", ".zst")):
        return _json_layout(start)
    if b"\x00" in head and not head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "binary"
    return "text"


def _json_layout(start: bytes) -> str:
    line, newline, _ = start.partition(b"\n")
    if not newline:
        # One line that the head may have cut: a file of one record, unless it is an array.
        return "json" if start[:1] == b"[" else "jsonl"
    try:
        json.loads(line)
    except ValueError:
        return "json"
    return "jsonl"


def read_jsonl(file: CorpusFile, path: Path, rejects: Rejects, skip: int) -> Iterator[Record]:
    for number, line in read_lines(path, file.name, rejects, skip=skip):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            rejects.add(file.name, number, "not_utf8")
            continue
        record = _parse(text)
        if record is _UNREADABLE:
            rejects.add(file.name, number, "not_json")
        else:
            yield number, record


def read_json(file: CorpusFile, path: Path, rejects: Rejects, skip: int) -> Iterator[Record]:
    """A whole-file JSON value: an array of records, or one record."""
    content = read_whole(path, file.name, rejects)
    if content is None:
        return
    text = _decode(content)
    value = _parse(text)
    if value is _UNREADABLE:
        # Lines of JSON under the name .json whose first line is broken.
        yield from read_jsonl(file, path, rejects, skip)
        return
    for number, record in enumerate(value if isinstance(value, list) else [value], 1):
        if number > skip:
            yield number, record


_UNREADABLE = object()


def _parse(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return _UNREADABLE


def read_parquet(file: CorpusFile, path: Path, rejects: Rejects, skip: int) -> Iterator[Record]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path, memory_map=True) as table:
            text_column = _text_column(table.schema_arrow)
            if text_column is None:
                rejects.add(file.name, 0, "no_text_column")
                return
            for batch in table.iter_batches(batch_size=PARQUET_BATCH_ROWS):
                if number + batch.num_rows <= skip:
                    number += batch.num_rows
                    continue
                for row in batch.to_pylist():
                    number += 1
                    if number > skip:
                        if text_column not in ("", "text") and text_column.lower() not in TEXT_FIELDS:
                            row["text"] = row.pop(text_column)
                        yield number, row
    except (pa.ArrowException, OSError, UnicodeDecodeError):
        rejects.add(file.name, number + 1, "damaged_file")


def _text_column(schema: Any) -> str | None:
    """The name of the column that holds the text, "" where it may be nested, None where there is none."""
    import pyarrow.types as pt

    strings = [field.name for field in schema if pt.is_string(field.type) or pt.is_large_string(field.type)]
    lower = {name.lower() for name in schema.names}
    if any(name in lower for name in TEXT_FIELDS) or any(pt.is_struct(field.type) for field in schema):
        return ""
    return strings[0] if len(strings) == 1 else None


def _decode(content: bytes) -> str:
    """UTF-8, UTF-16 with its mark, else Windows-1252, which every byte string decodes under."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", "replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", "replace")


def read_text(file: CorpusFile, path: Path, rejects: Rejects, skip: int) -> Iterator[Record]:
    """A file that is one document; a Markdown file's first heading is its title."""
    content = read_whole(path, file.name, rejects) if not skip else None
    if content is None:
        return
    text = clean(_decode(content))
    title = path.stem
    if path.suffix.lower() in MARKDOWN_SUFFIXES:
        heading = next((line for line in text.splitlines() if line.startswith("# ")), "")
        title = heading.removeprefix("# ").strip() or title
    yield 1, _one_document(file, text, title)


def read_html(file: CorpusFile, path: Path, rejects: Rejects, skip: int) -> Iterator[Record]:
    content = read_whole(path, file.name, rejects) if not skip else None
    if content is None:
        return
    text, title = html_text(content)
    yield 1, _one_document(file, text, title or path.stem)


def _one_document(file: CorpusFile, text: str, title: str) -> Document | Unreadable:
    if not text.strip():
        return Unreadable("empty_text")
    return Document(id=clean(file.name), text=text, source=clean(file.source), title=clean(title))


def read_warc(file: CorpusFile, path: Path, rejects: Rejects, skip: int) -> Iterator[Record]:
    """Responses with a web page or text, resources, and WET's conversion records."""
    if importlib.util.find_spec("fastwarc") is None:
        raise MissingExtra("fastwarc", "web", "reading WARC files")
    from reread.corpus.warc import warc_records

    for number, record in warc_records(path, file.name, rejects):
        if number > skip:
            yield number, record


def read_hub(file: CorpusFile, rejects: Rejects, skip: int) -> Iterator[Record]:
    """Rows of a hub data set, streamed: hf:OWNER/NAME or hf:OWNER/NAME:SPLIT."""
    if importlib.util.find_spec("datasets") is None:
        raise MissingExtra("datasets", "hub", f"the corpus hf:{file.dataset}")
    import datasets

    name, _, split = file.dataset.partition(":")
    rows = datasets.load_dataset(name, split=split or "train", streaming=True)
    for number, row in enumerate(rows.skip(skip), skip + 1):
        yield number, dict(row)


READERS = {
    "jsonl": read_jsonl,
    "json": read_json,
    "parquet": read_parquet,
    "text": read_text,
    "markdown": read_text,
    "html": read_html,
    "warc": read_warc,
}
__all__ = ["MAX_RECORD_BYTES", "READERS", "detect_format", "read_hub"]

"""One reader a format: each yields (record number, record or Document), and rejects what it cannot read."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Iterator
from typing import Any

import orjson

from reread.corpus.blob import Openable
from reread.corpus.find import CorpusFile
from reread.corpus.formats.parquet import ENCRYPTED_MAGIC, read_parquet
from reread.corpus.records import clean
from reread.corpus.rejects import Rejects, Unreadable
from reread.corpus.streams import (
    MAX_RECORD_BYTES,
    PARQUET_MAGIC,
    first_bytes,
    read_head,
    read_lines,
    read_whole,
)
from reread.corpus.web.html import html_text
from reread.errors import MissingExtra
from reread.types import Document

Record = tuple[int, Any]
COMPRESSION_SUFFIXES = (".gz", ".zst", ".bz2", ".lz4")
HTML_SUFFIXES = (".html", ".htm", ".xhtml")
TAR_SUFFIXES = (".tar", ".tgz", ".tbz", ".tbz2", ".tzst", ".tlz4")
TAR_MARK, TAR_MARK_AT = b"ustar", 257
ZIP_MAGICS = (b"PK\x03\x04", b"PK\x05\x06")
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
MARKDOWN_SUFFIXES = (".md", ".markdown", ".mdx")


def detect_format(path: Openable) -> str:
    """What READERS name, or "tar", "zip", "binary", "empty", "encrypted parquet".

    By what the bytes say first, and by the name where they do not. Raises OSError where they cannot be read.
    """
    magic = first_bytes(path)
    if not magic:
        return "empty"
    if magic == PARQUET_MAGIC:
        return "parquet"
    if magic == ENCRYPTED_MAGIC:
        return "encrypted parquet"
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() not in COMPRESSION_SUFFIXES]
    suffix = suffixes[-1] if suffixes else ""
    if magic in ZIP_MAGICS:
        # Office documents, e-books and programs are ZIP files too.
        return "zip" if suffix == ".zip" else "binary"
    head = read_head(path)
    if head.startswith(UTF16_MARKS):
        head = head.decode("utf-16", "ignore").encode("utf-8", "ignore")
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if start.startswith(b"WARC/"):
        return "warc"
    if start.startswith(b"filedesc:"):
        return "arc"
    if head[TAR_MARK_AT : TAR_MARK_AT + len(TAR_MARK)] == TAR_MARK or suffix in TAR_SUFFIXES:
        return "tar"
    if start.startswith(b"<mediawiki") or (start.startswith(b"<?xml") and b"<mediawiki" in start[:1024]):
        return "wikipedia-xml"
    return _format_of_text(head, start, suffix)


def _format_of_text(head: bytes, start: bytes, suffix: str) -> str:
    if suffix in (".warc", ".wet"):
        return "warc"
    if suffix == ".arc":
        return "arc"
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
    if b"\x00" in head:
        return "binary"
    return "text"


def _json_layout(start: bytes) -> str:
    line, newline, _ = start.partition(b"\n")
    if not newline:
        # One line that the head may have cut: a file of one record, unless it is an array.
        return "json" if start[:1] == b"[" else "jsonl"
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        # The first line of many, of records that are broken or deeply nested, looks no different from an indented file.
        return "json"
    return "jsonl"


def read_jsonl(file: CorpusFile, path: Openable, rejects: Rejects, skip: int) -> Iterator[Record]:
    """One JSON value a line; a file of blank lines alone is rejected as "no_records"."""
    n_before, is_blank = rejects.total, skip == 0
    for number, line in read_lines(path, file.name, rejects, skip=skip):
        is_blank = False
        try:
            record = orjson.loads(line)
        except ValueError:
            # What json reads beyond the standard (NaN, lone surrogates), a byte order mark, or a fault to be named.
            pass
        else:
            if not _holds_huge_number(record):
                yield number, record
                continue
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
    if is_blank and rejects.total == n_before:
        rejects.add(file.name, 0, "no_records")


def _holds_huge_number(record: Any) -> bool:
    """Whether an integer beyond 64 bits, an id perhaps, may have become a float, which orjson makes of it."""
    if not isinstance(record, dict):
        return False
    for value in record.values():
        if type(value) is dict:
            if any(type(inner) is float and abs(inner) >= 2.0**63 for inner in value.values()):
                return True
        elif type(value) is float and abs(value) >= 2.0**63:
            return True
    return False


def read_json(file: CorpusFile, path: Openable, rejects: Rejects, skip: int) -> Iterator[Record]:
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
    if value == [] and not skip:
        rejects.add(file.name, 0, "no_records")
    for number, record in enumerate(value if isinstance(value, list) else [value], 1):
        if number > skip:
            yield number, record


_UNREADABLE = object()


def _parse(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return _UNREADABLE


def _decode(content: bytes) -> str:
    """UTF-8, UTF-16 with its mark, else Windows-1252, which every byte string decodes under."""
    if content.startswith(UTF16_MARKS):
        return content.decode("utf-16", "replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", "replace")


def read_text(file: CorpusFile, path: Openable, rejects: Rejects, skip: int) -> Iterator[Record]:
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


def read_html(file: CorpusFile, path: Openable, rejects: Rejects, skip: int) -> Iterator[Record]:
    content = read_whole(path, file.name, rejects) if not skip else None
    if content is None:
        return
    text, title = html_text(content)
    yield 1, _one_document(file, text, title or path.stem)


def _one_document(file: CorpusFile, text: str, title: str) -> Document | Unreadable:
    if not text.strip():
        return Unreadable("empty_text")
    return Document(id=clean(file.name), text=text, source=clean(file.source), title=clean(title))


def read_warc(file: CorpusFile, path: Openable, rejects: Rejects, skip: int) -> Iterator[Record]:
    """Responses with a web page or text, resources, and WET's conversion records."""
    from reread.corpus.formats.warc import warc_records

    _need_resiliparse()
    yield from warc_records(path, file.name, rejects, skip)


def read_arc(file: CorpusFile, path: Openable, rejects: Rejects, skip: int) -> Iterator[Record]:
    from reread.corpus.formats.arc import arc_records

    _need_resiliparse()
    yield from arc_records(path, file.name, rejects, skip)


def _need_resiliparse() -> None:
    if importlib.util.find_spec("resiliparse") is None:
        raise MissingExtra("resiliparse", "web", "reading HTML, WARC and ARC files")


def read_wikipedia(file: CorpusFile, path: Openable, rejects: Rejects, skip: int) -> Iterator[Record]:
    from reread.corpus.wikipedia.dump import read_wikipedia_dump

    yield from read_wikipedia_dump(file, path, rejects, skip)


READERS: dict[str, Callable[[CorpusFile, Any, Rejects, int], Iterator[Record]]] = {
    "jsonl": read_jsonl,
    "json": read_json,
    "parquet": read_parquet,
    "text": read_text,
    "markdown": read_text,
    "html": read_html,
    "warc": read_warc,
    "arc": read_arc,
    "wikipedia-xml": read_wikipedia,
}
"""Each yields (record number from 1, a JSON-like record, a Document or Unreadable) behind the first `skip`."""
__all__ = ["MAX_RECORD_BYTES", "READERS", "detect_format"]

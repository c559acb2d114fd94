"""WARC, WET and ARC records into documents, however damaged or mislabelled they are.

Our own parsers: FastWARC stops at the first damaged gzip member and passes silently over records that a wrong
Content-Length hides, and reads no ARC; warcio stops at damage too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from reread.corpus.blob import Openable
from reread.corpus.formats.window import Window
from reread.corpus.rejects import Rejects, Unreadable
from reread.corpus.streams import MAX_RECORD_BYTES, open_stream, stream_errors
from reread.corpus.web.http_body import CUT, MAX_HEADER_BYTES, TOO_LARGE, page_fields, parse_headers

MARK = b"WARC/"
RECORD_START = re.compile(rb"(?m)^WARC/[01]\.\d{1,2}[ \t]*\r?\n(?=[A-Za-z-]{1,64}[ \t]*:)")
"""What begins a record inside other bytes: the version line and a header field behind it."""
MARK_BYTES = 128
MAX_PUT_BACK_BYTES = 1 << 30
"""Read again in one file because of lengths that were too long. Beyond it they are not believed: every record ends
where the next one begins. Otherwise 60 MB claimed by each of a thousand small records take five minutes."""
WANTED = ("response", "resource", "conversion")
"""The types that hold a document; the others describe the crawl."""
LINE_END = re.compile(rb"\r?\n(\r?\n)?$")


@dataclass(frozen=True, slots=True)
class ArchiveRecord:
    """One record of a web archive as it is stored."""

    kind: str
    fields: dict[str, str]
    payload: bytes | Unreadable


def warc_records(path: Openable, name: str, rejects: Rejects, skip: int = 0) -> Iterator[tuple[int, Any]]:
    """(record number from 1, JSON-like record or Unreadable) for every record that should hold a document.

    A record with fewer bytes than its Content-Length, of whatever type, is Unreadable("damaged_file"); a damaged place
    elsewhere is rejected by that reason under a number of its own. Behind damage reading goes on at the next gzip,
    zstd or lz4 frame, or version line, that begins a record. A Content-Length that does not lead to a record's end is
    taken as a mistake where the next record's version line tells the true end. The first `skip` numbers are passed
    over.
    """
    yield from archive_documents(path, name, rejects, skip, MARK, _next_record, _warc_document)


def warc_pages(path: Openable, name: str, rejects: Rejects) -> Iterator[tuple[int, ArchiveRecord]]:
    """(record number from 1, record) of every whole response, resource and conversion, as stored; the rest is
    rejected."""
    for number, record in archive_documents(path, name, rejects, 0, MARK, _next_record, lambda record: record):
        if isinstance(record, Unreadable):
            rejects.add(name, number, record.reason)
        else:
            yield number, record


def archive_documents(
    path: Openable, name: str, rejects: Rejects, skip: int, mark: bytes, next_record: Any, document: Any
) -> Iterator[tuple[int, Any]]:
    """The loop that WARC and ARC share: records in order, damage counted, reading resumed behind it."""
    number = 0
    last_was_cut = False
    try:
        stream = open_stream(path)
    except stream_errors():
        rejects.add(name, 1, "damaged_file")
        return
    with stream:
        window = Window(stream)
        while True:
            if not window.pass_blank_lines():
                if window.damage is not None and not last_was_cut:
                    number += 1
                    if number > skip:
                        rejects.add(name, number, "damaged_file")
                if not window.resync(mark):
                    break
                last_was_cut = False
                continue
            record: ArchiveRecord = next_record(window)
            # Looking ahead shows whether the frame that held the record ends as it should.
            if not window.pass_blank_lines() and window.is_doubtful:
                record = ArchiveRecord(record.kind, record.fields, CUT)
            last_was_cut = record.payload == CUT
            if record.kind in WANTED or last_was_cut:
                number += 1
                if number > skip:
                    content = record.payload
                    yield number, document(record) if isinstance(content, bytes) else content
    if number == 0:
        rejects.add(name, 0, "no_records")


def _next_record(window: Window) -> ArchiveRecord:
    broken = ArchiveRecord("", {}, CUT)
    if window.peek(len(MARK)) != MARK:
        # The end of a record whose beginning is lost.
        window.take_until(RECORD_START, MARK_BYTES, 0)
        return broken
    lines: list[bytes] = []
    n_bytes = 0
    while True:
        line = window.line(MAX_HEADER_BYTES)
        n_bytes += len(line)
        if lines and line.startswith(MARK) and RECORD_START.match(line + window.peek(MARK_BYTES)):
            # The header breaks off and the next record follows.
            window.put_back(line)
            return broken
        if not line.endswith(b"\n") or n_bytes > MAX_HEADER_BYTES:
            window.take_until(RECORD_START, MARK_BYTES, 0)
            return broken
        if not line.strip():
            break
        lines.append(line)
    fields = parse_headers(lines[1:])
    kind = fields.get("warc-type", "").lower()
    length = fields.get("content-length", "")
    if not (length.isascii() and length.isdecimal() and len(length) < 16):
        window.take_until(RECORD_START, MARK_BYTES, 0)
        return ArchiveRecord(kind, fields, CUT)
    return ArchiveRecord(kind, fields, take_payload(window, int(length), RECORD_START, MARK))


def take_payload(window: Window, n: int, record_start: re.Pattern[bytes], mark: bytes) -> bytes | Unreadable:
    """The n bytes of a record, or as many as there are before the next record where n is wrong; CUT at the end."""
    if window.n_put_back > MAX_PUT_BACK_BYTES:
        payload = window.take_until(record_start, MARK_BYTES, MAX_RECORD_BYTES)
        return TOO_LARGE if len(payload) > MAX_RECORD_BYTES else LINE_END.sub(b"", payload)
    payload = window.take(min(n, MAX_RECORD_BYTES + 1))
    if len(payload) > MAX_RECORD_BYTES:
        is_cut = window.pass_over(n - len(payload)) < n - len(payload)
        return CUT if is_cut else TOO_LARGE
    is_short = len(payload) < n
    behind = window.peek(MARK_BYTES)
    if not is_short and (not behind.strip(b"\r\n") or _begins(behind.lstrip(b"\r\n"), record_start, mark)):
        return payload
    found = record_start.search(payload + behind)
    if found and found.start() <= len(payload):
        # Too long a length: the record ends where the next one begins.
        window.put_back(payload[found.start() :])
        return LINE_END.sub(b"", payload[: found.start()])
    if is_short:
        return CUT
    if not behind[:1].strip(b"\r\n"):
        # As long as it says; what follows its line end is no record, and counted on its own.
        return payload
    rest = window.take_until(record_start, MARK_BYTES, MAX_RECORD_BYTES)
    if len(payload) + len(rest) > MAX_RECORD_BYTES:
        return TOO_LARGE
    return LINE_END.sub(b"", payload + rest)


def _begins(head: bytes, record_start: re.Pattern[bytes], mark: bytes) -> bool:
    return (bool(mark) and head.startswith(mark[: len(head)])) or record_start.match(head) is not None


def _warc_document(record: ArchiveRecord) -> dict[str, Any] | Unreadable:
    assert isinstance(record.payload, bytes)
    fields: dict[str, Any] = {
        "id": record.fields.get("warc-record-id", "").strip("<> ") or None,
        "url": record.fields.get("warc-target-uri", "").strip("<> "),
    }
    if date := record.fields.get("warc-date"):
        fields["date"] = date
    return page_fields(record.payload, record.fields.get("content-type", ""), fields)

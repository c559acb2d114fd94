"""WARC and WET records into documents (FastWARC parses, resiliparse extracts)."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reread.corpus.html import html_text
from reread.corpus.rejects import Rejects, Unreadable
from reread.corpus.streams import BLOCK_BYTES, MAX_RECORD_BYTES, ends_whole

CUT = Unreadable("damaged_file")
TEXT_TYPES = ("", "text/plain", "text/markdown", "text/x-markdown", "text/x-rst")


def warc_records(path: Path, name: str, rejects: Rejects) -> Iterator[tuple[int, Any]]:
    """(record number from 1, JSON-like record or Unreadable) for every record that should hold a document.

    A record with fewer bytes than its Content-Length, of whatever type, is Unreadable("damaged_file"), as is a last
    one that ended before its header did; a compressed stream that breaks off elsewhere is rejected by that reason.
    """
    from fastwarc.warc import ArchiveIterator, WarcRecordType

    wanted = WarcRecordType.response | WarcRecordType.resource | WarcRecordType.conversion
    number = 0
    last_start = 0
    is_cut = False
    with path.open("rb") as file:
        # Quirks mode: bare line feeds and wrong lengths (ClueWeb, small tools) are read too. All types, as the cut
        # record may be one that holds no document.
        try:
            for record in ArchiveIterator(file, record_types=WarcRecordType.any_type, quirks_mode=True):
                last_start = record.stream_pos
                if record.record_type & wanted:
                    number += 1
                    content = _read_record(record)
                    is_cut = content == CUT
                    yield number, content
                elif is_cut := not _is_whole(record):
                    number += 1
                    yield number, CUT
        except (OSError, ValueError, EOFError):
            rejects.add(name, number + 1, "damaged_file")
            return
    if not is_cut and not ends_whole(path, last_start):
        # Every record's bytes are there, but the end of the stream is not, or a next record has barely begun.
        rejects.add(name, number + 1, "damaged_file")
    elif number == 0:
        rejects.add(name, 0, "no_records")


def _is_whole(record: Any) -> bool:
    """Whether the record has a length and as many bytes; reads the rest of it."""
    if not (record.headers.get("Content-Length") or "").strip().isdecimal():
        return False
    n_left = record.content_length
    while n_left > 0 and (block := record.reader.read(min(n_left, BLOCK_BYTES))):
        n_left -= len(block)
    return bool(n_left <= 0)


def _read_record(record: Any) -> dict[str, Any] | Unreadable:
    url = (record.headers.get("WARC-Target-URI") or "").strip("<> ")
    if not (record.headers.get("Content-Length") or "").strip().isdecimal():
        return CUT
    payload = record.reader.read(MAX_RECORD_BYTES + 1)
    if len(payload) < min(record.content_length, MAX_RECORD_BYTES + 1):
        return CUT
    http = record.http_headers
    if http is not None:
        decoded = _decode_body(payload, http.get("Transfer-Encoding") or "", http.get("Content-Encoding") or "")
        if decoded is None:
            return CUT
        payload = decoded
    if len(payload) > MAX_RECORD_BYTES:
        return Unreadable("record_too_large")
    content_type = (record.http_content_type or record.headers.get("Content-Type") or "").split(";")[0].strip().lower()
    if record.is_http and http is not None:
        status = http.status_code
        if status is not None and not 200 <= status < 300:
            return Unreadable(f"http_status_{status}")
    fields: dict[str, Any] = {"id": record.record_id or None, "url": url}
    if date := record.headers.get("WARC-Date"):
        fields["date"] = date
    if not payload.strip():
        return Unreadable("empty_text")
    if "html" in content_type or payload[:256].lstrip().lower().startswith((b"<!doctype html", b"<html")):
        fields["text"], fields["title"] = html_text(payload, record.http_charset if record.is_http else None)
    elif content_type in TEXT_TYPES:
        fields["text"] = payload.decode("utf-8", "replace")
    else:
        return Unreadable("not_text")
    return fields


def _decode_body(body: bytes, transfer_encoding: str, content_encoding: str) -> bytes | None:
    """The HTTP body without chunk marks and compression; None where its compressed stream breaks off.

    Crawlers may undo both and keep the header: look first.
    """
    if "chunked" in transfer_encoding.lower():
        body = _join_chunks(body)
    if content_encoding.strip().lower() in ("gzip", "x-gzip", "deflate") or body[:2] == b"\x1f\x8b":
        # 32 + MAX_WBITS: gzip or zlib, whichever the bytes are.
        inflate = zlib.decompressobj(32 + zlib.MAX_WBITS)
        try:
            plain = inflate.decompress(body, MAX_RECORD_BYTES + 1)
        except zlib.error:
            return body
        return plain if inflate.eof or not body or len(plain) > MAX_RECORD_BYTES else None
    return body


def _join_chunks(body: bytes) -> bytes:
    parts: list[bytes] = []
    position = 0
    while True:
        end = body.find(b"\n", position, position + 64)
        size = body[position:end].split(b";")[0].strip() if end >= 0 else b""
        try:
            n = int(size, 16)
        except ValueError:
            # Not chunked after all, or the marks are wrong from here on: keep the rest as it is.
            return b"".join([*parts, body[position:]])
        if n <= 0:
            return b"".join(parts)
        parts.append(body[end + 1 : end + 1 + n])
        position = end + 1 + n
        if body[position : position + 2] == b"\r\n":
            position += 2
        elif body[position : position + 1] == b"\n":
            position += 1

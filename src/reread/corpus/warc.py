"""WARC and WET records into documents (FastWARC parses, resiliparse extracts)."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reread.corpus.formats import html_text
from reread.corpus.rejects import Rejects, Unreadable
from reread.corpus.streams import MAX_RECORD_BYTES

TEXT_TYPES = ("", "text/plain", "text/markdown", "text/x-markdown", "text/x-rst")


def warc_records(path: Path, name: str, rejects: Rejects) -> Iterator[tuple[int, Any]]:
    """(record number from 1, JSON-like record or Unreadable) for every record that should hold a document."""
    from fastwarc.warc import ArchiveIterator, WarcRecordType

    wanted = WarcRecordType.response | WarcRecordType.resource | WarcRecordType.conversion
    number = 0
    with path.open("rb") as file:
        # Quirks mode: bare line feeds and wrong lengths (ClueWeb, small tools) are read too.
        try:
            for record in ArchiveIterator(file, record_types=wanted, quirks_mode=True):
                number += 1
                yield number, _read_record(record)
        except (OSError, ValueError, EOFError):
            rejects.add(name, number + 1, "damaged_file")
            return
    if number == 0:
        rejects.add(name, 0, "no_records")


def _read_record(record: Any) -> dict[str, Any] | Unreadable:
    url = (record.headers.get("WARC-Target-URI") or "").strip("<> ")
    payload = record.reader.read(MAX_RECORD_BYTES + 1)
    http = record.http_headers
    if http is not None:
        payload = _decode_body(payload, http.get("Transfer-Encoding") or "", http.get("Content-Encoding") or "")
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


def _decode_body(body: bytes, transfer_encoding: str, content_encoding: str) -> bytes:
    """The HTTP body without chunk marks and compression; crawlers may undo them and keep the header: look first."""
    if "chunked" in transfer_encoding.lower():
        body = _join_chunks(body)
    if content_encoding.strip().lower() in ("gzip", "x-gzip", "deflate") or body[:2] == b"\x1f\x8b":
        # 32 + MAX_WBITS: gzip or zlib, whichever the bytes are. What was decoded before damage is kept.
        inflate = zlib.decompressobj(32 + zlib.MAX_WBITS)
        try:
            return inflate.decompress(body, MAX_RECORD_BYTES + 1)
        except zlib.error:
            return body
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

"""An HTTP response as a web archive holds it, into a page's text."""

from __future__ import annotations

import codecs
import importlib.util
import io
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reread.corpus.blob import Blob
from reread.corpus.rejects import Unreadable
from reread.corpus.streams import MAX_RECORD_BYTES, ZSTD_MAGIC, open_stream, stream_errors
from reread.corpus.web.html import html_text

CUT = Unreadable("damaged_file")
TOO_LARGE = Unreadable("record_too_large")
TEXT_TYPES = ("", "text/plain", "text/markdown", "text/x-markdown", "text/x-rst")
MAX_HEADER_BYTES = 1 << 20
NO_CHARSETS = frozenset(
    ("idna", "mbcs", "oem", "palmos", "punycode", "raw_unicode_escape", "raw-unicode-escape", "undefined",
     "unicode_escape", "unicode-escape")
)  # fmt: skip
"""Codecs of text that no page is written in; some refuse what they cannot read, or take quadratic time. (hex, base64
and the like are codecs too, but not of text.)"""
HTML_STARTS = (b"<!doctype html", b"<html")


def parse_headers(lines: list[bytes]) -> dict[str, str]:
    """Header fields by lower-case name, the first of each; a line that begins with a blank goes on the one before."""
    fields: dict[str, list[bytes]] = {}
    name = ""
    for line in lines:
        if line[:1] in b" \t" and name:
            fields[name].append(line.strip())
            continue
        key, colon, value = line.partition(b":")
        name = key.strip().decode("latin-1").lower() if colon else ""
        if name and name not in fields:
            fields[name] = [value.strip()]
        else:
            name = ""
    return {name: b" ".join(values).strip().decode("utf-8", "replace") for name, values in fields.items()}


def split_response(payload: bytes) -> tuple[int | None, dict[str, str], bytes] | None:
    """(status, header fields, body) of an HTTP response; None where the bytes are none."""
    if payload[:5].upper() != b"HTTP/":
        return None
    ends = [(at, n) for mark, n in ((b"\r\n\r\n", 4), (b"\n\n", 2), (b"\n\r\n", 3)) if (at := payload.find(mark)) >= 0]
    at, n = min(ends) if ends else (len(payload), 0)
    lines = payload[:at].splitlines()
    words = lines[0].split()
    status = int(words[1]) if len(words) > 1 and words[1].isdigit() and len(words[1]) == 3 else None
    return status, parse_headers(lines[1:]), payload[at + n :]


@dataclass(frozen=True, slots=True)
class Page:
    """What a server answered, decompressed."""

    content: bytes
    is_html: bool
    charset: str | None
    """That the server named."""


def page_fields(payload: bytes, content_type: str, fields: Mapping[str, Any]) -> dict[str, Any] | Unreadable:
    """`fields` with the text and title of the payload's page; Unreadable as `page_of` has it."""
    page = page_of(payload, content_type)
    if isinstance(page, Unreadable):
        return page
    if page.is_html:
        text, title = html_text(page.content, page.charset)
        return {**fields, "text": text, "title": title}
    return {**fields, "text": page.content.decode(page.charset or "utf-8", "replace")}


def page_of(payload: bytes, content_type: str) -> Page | Unreadable:
    """The page in an HTTP response, or in bare content of that type.

    Unreadable for "http_status_N" other than 2xx, "unsupported_encoding (NAME)", "empty_text", "not_text", and
    "damaged_file" where the compressed body breaks off.
    """
    charset = None
    response = split_response(payload)
    if response is not None:
        status, headers, payload = response
        decoded = decode_body(payload, headers.get("transfer-encoding", ""), headers.get("content-encoding", ""))
        if isinstance(decoded, Unreadable):
            return decoded
        payload = decoded
        if status is not None and not 200 <= status < 300:
            return Unreadable(f"http_status_{status}")
        content_type = headers.get("content-type", "")
        charset = charset_of(content_type)
    content_type = content_type.split(";")[0].strip().lower()
    if not payload.strip():
        return Unreadable("empty_text")
    if "html" in content_type or payload[:256].lstrip().lower().startswith(HTML_STARTS):
        return Page(payload, True, charset)
    return Page(payload, False, charset) if content_type in TEXT_TYPES else Unreadable("not_text")


def charset_of(content_type: str) -> str | None:
    """The character set that a Content-Type names, if it is one."""
    for part in content_type.split(";")[1:]:
        name, _, value = part.partition("=")
        if name.strip().lower() == "charset":
            try:
                info = codecs.lookup(value.strip(" \t\"'"))
            except (LookupError, ValueError):
                return None
            return info.name if getattr(info, "_is_text_encoding", True) and info.name not in NO_CHARSETS else None
    return None


def decode_body(body: bytes, transfer_encoding: str, content_encoding: str) -> bytes | Unreadable:
    """The HTTP body without chunk marks and compression; Unreadable where its compressed stream breaks off.

    Crawlers may undo both and keep the header: look first.
    """
    if "chunked" in transfer_encoding.lower():
        body = _join_chunks(body)
    encoding = content_encoding.strip().lower()
    if encoding in ("gzip", "x-gzip", "deflate") or body[:2] == b"\x1f\x8b":
        return _inflate(body, encoding)
    if encoding == "br":
        return _unbrotli(body)
    if encoding == "zstd" and body.startswith(ZSTD_MAGIC):
        return _unzstd(body)
    return body


def _inflate(body: bytes, encoding: str) -> bytes | Unreadable:
    # 32 + MAX_WBITS: gzip or zlib, whichever the bytes are; deflate is also sent bare.
    for bits in (32 + zlib.MAX_WBITS, -zlib.MAX_WBITS)[: 2 if encoding == "deflate" else 1]:
        inflate = zlib.decompressobj(bits)
        try:
            plain = inflate.decompress(body, MAX_RECORD_BYTES + 1)
        except zlib.error:
            continue
        if len(plain) > MAX_RECORD_BYTES:
            return TOO_LARGE
        return plain if inflate.eof or not body else CUT
    return CUT if body[:3] == b"\x1f\x8b\x08" else body


def _unbrotli(body: bytes) -> bytes | Unreadable:
    if importlib.util.find_spec("brotli") is None:
        return Unreadable("unsupported_encoding (br)")
    import brotli

    inflate = brotli.Decompressor()
    try:
        plain = inflate.process(body, output_buffer_limit=MAX_RECORD_BYTES + 1)
    except brotli.error:
        # Undone by the crawler, as text shows; else broken.
        return body if _is_text(body) else CUT
    if len(plain) > MAX_RECORD_BYTES:
        return TOO_LARGE
    return plain if inflate.is_finished() else CUT


def _unzstd(body: bytes) -> bytes | Unreadable:
    try:
        with open_stream(Blob("", lambda: io.BytesIO(body))) as stream:
            plain = stream.read(MAX_RECORD_BYTES + 1)
    except stream_errors():
        return CUT
    return plain if len(plain) <= MAX_RECORD_BYTES else TOO_LARGE


def _is_text(body: bytes) -> bool:
    try:
        return "\x00" not in body[:1024].decode("utf-8", "strict")
    except UnicodeDecodeError as error:
        # A character that the 1024 bytes cut is no fault.
        return len(body) > 1024 and error.start >= 1020


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

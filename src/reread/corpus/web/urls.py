"""Lists of URLs, and when two URLs are one page."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from reread.corpus.rejects import Rejects
from reread.corpus.streams import read_lines
from reread.errors import UsageError

URL_FIELDS = ("urls", "url")
MAX_URL_CHARS = 4096
DEFAULT_PORTS = {"http": 80, "https": 443}
SENTENCE_MARKS = ".,;:!?'\"”’»*"
OPENING = {")": "(", "]": "["}

_URL = re.compile(r"https?://[^\s<>\"`{}|\\^]+", re.IGNORECASE)
_OTHER_SCHEME = re.compile(r"^[a-z][a-z0-9+.-]{1,30}:(?=\S)", re.IGNORECASE)
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$'()*,;:@")
"""Bytes that a path means the same by, escaped or not: RFC 3986's unreserved ones and the marks that web servers do
not tell apart (Wikipedia writes an apostrophe both ways)."""


def read_urls(path: Path, rejects: Rejects) -> list[str]:
    """The usable URLs of a file, each page once, in the order of the file.

    The file holds one URL a line (lines that begin with # are notes), or JSON lines whose `urls` (a list) or `url`
    names them; gzip, zstd and bzip2 are read. Hand-made lists hold URLs inside other text: every http(s) URL in an
    entry is taken. Unusable entries are rejected: "no_url", "url_scheme_NAME", "url_with_credentials",
    "url_without_host", "url_too_long", "not_json", "not_utf8".

    Raises UsageError where the file is missing or has no usable URL.
    """
    if not path.is_file():
        raise UsageError(f"{path} is no file; --urls takes a file with one URL a line, or JSON lines with url or urls")
    urls: dict[str, str] = {}
    n_lines = 0
    for number, line in read_lines(path, path.name, rejects):
        n_lines += 1
        for entry in _entries(line, path.name, number, rejects):
            for url in _urls_in(entry, path.name, number, rejects):
                urls.setdefault(normal_url(url), url)
    if not urls:
        reasons = ", ".join(f"{n} × {reason}" for reason, n in rejects.counts.most_common(3)) or "it is empty"
        raise UsageError(f"{path} holds no usable URL in {n_lines} lines ({reasons}); write one http(s) URL a line")
    return list(urls.values())


def _entries(line: bytes, source: str, number: int, rejects: Rejects) -> Iterator[str]:
    try:
        text = line.decode("utf-8-sig")
    except UnicodeDecodeError:
        rejects.add(source, number, "not_utf8")
        return
    if text.startswith("#"):
        return
    if not text.startswith("{"):
        yield text
        return
    try:
        record: Any = json.loads(text)
    except (ValueError, RecursionError):
        rejects.add(source, number, "not_json")
        return
    found = [record[field] for field in URL_FIELDS if record.get(field)]
    entries = [entry for value in found for entry in (value if isinstance(value, list) else [value])]
    if not entries:
        rejects.add(source, number, "no_url")
    for entry in entries:
        yield entry if isinstance(entry, str) else ""


def _urls_in(entry: str, source: str, number: int, rejects: Rejects) -> Iterator[str]:
    found = [_trimmed(match.group()) for match in _URL.finditer(entry)]
    if not found:
        scheme = _OTHER_SCHEME.match(entry.strip())
        rejects.add(source, number, f"url_scheme_{scheme.group()[:-1].lower()}" if scheme else "no_url")
    for url in found:
        reason = url_problem(url)
        if reason is None:
            yield url
        else:
            rejects.add(source, number, reason)


def _trimmed(url: str) -> str:
    """Without the quotes, brackets and full stops of the sentence it stood in."""
    while url and (url[-1] in SENTENCE_MARKS or url.count(url[-1]) > url.count(OPENING.get(url[-1], url[-1]))):
        url = url[:-1]
    return url


def url_problem(url: str) -> str | None:
    """Why no page can be asked for by this URL, or None."""
    if len(url) > MAX_URL_CHARS:
        return "url_too_long"
    try:
        parts = urlsplit(url)
        host, user, _ = parts.hostname, parts.username, parts.port
    except ValueError:
        return "url_malformed"
    if parts.scheme.lower() not in DEFAULT_PORTS:
        return f"url_scheme_{parts.scheme.lower() or 'none'}"
    if user is not None or "@" in parts.netloc:
        return "url_with_credentials"
    return None if host else "url_without_host"


def normal_url(url: str) -> str:
    """One form for the URLs of one page: equal forms are taken to be the same page.

    http and https are one; the fragment, the default port, a final slash and the case of the host are left out;
    percent-escapes are written where RFC 3986 needs them and in capitals; international hosts in their ASCII form.
    """
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return url.strip()
    if not host.isascii():
        try:
            host = host.encode("idna").decode("ascii")
        except UnicodeError:
            pass
    host = host.rstrip(".")
    if port is not None and port not in DEFAULT_PORTS.values():
        host = f"{host}:{port}"
    query = f"?{_normal_escapes(parts.query)}" if parts.query else ""
    return f"{host}{_normal_escapes(parts.path).rstrip('/')}{query}"


def _normal_escapes(text: str) -> str:
    raw = text.encode("utf-8", "surrogatepass")
    raw = _ESCAPE.sub(lambda match: _one_escape(int(match.group(1), 16)), raw)
    # What is left unescaped and may not stand in a URL; the reserved marks stay as they are.
    return "".join(chr(byte) if 0x20 < byte < 0x7F else f"%{byte:02X}" for byte in raw)


def _one_escape(byte: int) -> bytes:
    return bytes([byte]) if byte in _PLAIN else b"%%%02X" % byte

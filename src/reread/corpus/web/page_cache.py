"""Fetched pages in a standard WARC file with an index beside it, so that a stopped run goes on and any tool reads them.

FOLDER/pages.warc.gz holds one response record a page (each a gzip member of its own), FOLDER/pages.jsonl one line a
URL that was asked for: where its record lies, or why there is none.
"""

from __future__ import annotations

import gzip
import io
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reread.corpus.web.urls import normal_url
from reread.runs import JsonLines

REQUESTED_HEADER = "Reread-Requested-URI"
"""A WARC header of our own (the standard tells readers to pass over unknown ones): the URL that was asked for, where
redirects led elsewhere."""
DECODED_HEADERS = ("content-encoding", "transfer-encoding", "content-length")
"""Kept under an X-Crawl- name, as Common Crawl does, because the body is stored decoded."""


@dataclass(frozen=True, slots=True)
class FetchedPage:
    """A page as it was fetched, decompressed."""

    url: str
    """As it was asked for."""
    final_url: str
    """Where redirects led."""
    content: bytes
    content_type: str
    """Without parameters, such as "text/html"."""
    encoding: str | None
    """The charset that the server named."""
    fetched: str
    """When, in UTC, as 2026-11-21T12:00:00Z."""
    headers: tuple[tuple[str, str], ...] = field(default=(), compare=False, repr=False)
    """The reply's; from the cache, with the names it keeps them under."""


@dataclass(frozen=True, slots=True)
class MissedPage:
    """A URL without a page, and why ("robots_disallowed", "http_status_404", "timeout", ...)."""

    url: str
    reason: str


class PageCache:
    """The pages and misses of earlier runs, and where this one puts its own. A context manager for adding."""

    def __init__(self, folder: Path, software: str) -> None:
        self.path = folder / "pages.warc.gz"
        self.index = JsonLines(folder / "pages.jsonl")
        self._software = software
        self._entries: dict[str, dict[str, Any]] = {}

    def __enter__(self) -> PageCache:
        self.index.__enter__()
        whole = 0
        size = self.path.stat().st_size if self.path.exists() else 0
        for entry in self.index.read("url"):
            end = entry.get("offset", 0) + entry.get("length", 0)
            if end <= size:
                self._entries[normal_url(entry["url"])] = entry
                whole = max(whole, end)
        if whole < size:
            # A record that a kill cut, or whose line was never written.
            os.truncate(self.path, whole)
        self._file = self.path.open("ab")
        if whole == 0:
            self._write("warcinfo", "", f"software: {self._software}\r\nformat: WARC/1.1\r\n".encode(), "", {})
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()
        self.index.__exit__(*error)

    def get(self, url: str) -> FetchedPage | MissedPage | None:
        """What an earlier run found for the URL, or None. Raises OSError or ValueError where the WARC was damaged."""
        entry = self._entries.get(normal_url(url))
        if entry is None:
            return None
        if "reason" in entry:
            return MissedPage(url, entry["reason"])
        return self._page(url, entry)

    def add(self, found: FetchedPage | MissedPage) -> None:
        """Keep what was found for a URL; a page is handed to the operating system before its line in the index."""
        if isinstance(found, MissedPage):
            self._index({"url": found.url, "reason": found.reason})
            return
        lines = ["HTTP/1.1 200 OK"]
        for name, value in found.headers:
            lines.append(f"{'X-Crawl-' if name.lower() in DECODED_HEADERS else ''}{name}: {value}")
        lines.append(f"Content-Length: {len(found.content)}")
        head = "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n"
        further = {REQUESTED_HEADER: found.url} if found.url != found.final_url else {}
        offset = self._file.tell()
        self._write("response", found.final_url, head + found.content, found.fetched, further)
        self._index(
            {
                "url": found.url,
                "final_url": found.final_url,
                "content_type": found.content_type,
                "encoding": found.encoding,
                "fetched": found.fetched,
                "offset": offset,
                "length": self._file.tell() - offset,
            }
        )

    def _index(self, entry: dict[str, Any]) -> None:
        self.index.append(entry)
        self._entries[normal_url(entry["url"])] = entry

    def _write(self, kind: str, url: str, content: bytes, date: str, further: dict[str, str]) -> None:
        from fastwarc.warc import WarcRecord, WarcRecordType

        record = WarcRecord()
        record.init_headers(getattr(WarcRecordType, kind))
        record.set_bytes_content(content)
        record.headers["Content-Type"] = (
            "application/http; msgtype=response" if kind == "response" else "application/warc-fields"
        )
        if url:
            record.headers["WARC-Target-URI"] = url
        if date:
            record.headers["WARC-Date"] = date
        for name, value in further.items():
            record.headers[name] = value
        plain = io.BytesIO()
        record.write(plain, checksum_data=True)
        self._file.write(gzip.compress(plain.getvalue(), mtime=0))
        self._file.flush()

    def _page(self, url: str, entry: dict[str, Any]) -> FetchedPage:
        from fastwarc.warc import ArchiveIterator

        with self.path.open("rb") as file:
            file.seek(entry["offset"])
            member = io.BytesIO(file.read(entry["length"]))
        for record in ArchiveIterator(member):
            headers = tuple((str(name), str(value)) for name, value in record.http_headers)
            return FetchedPage(
                url,
                entry["final_url"],
                record.reader.read(),
                entry["content_type"],
                entry["encoding"],
                entry["fetched"],
                headers,
            )
        raise ValueError(f"{self.path} has no record at byte {entry['offset']}; delete it and pages.jsonl, run again")

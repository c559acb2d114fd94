"""ARC files (the Internet Archive's format before WARC), versions 1, 1.1 and 2.

https://archive.org/web/researcher/ArcFileFormat.php: a record is one line of fields, `URL IP-address Archive-date
Content-type Archive-length` in version 1, with result code, checksum, location, offset and file name before the length
in version 2; then that many bytes and a line end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from reread.corpus.blob import Openable
from reread.corpus.formats.warc import ArchiveRecord, archive_documents, take_payload
from reread.corpus.formats.window import Window
from reread.corpus.rejects import Rejects, Unreadable
from reread.corpus.web.http_body import CUT, page_fields

RECORD_START = re.compile(
    rb"(?m)^(?P<url>[a-zA-Z][a-zA-Z0-9+.-]{0,19}:[^\r\n]{1,4000}?) (?P<ip>[0-9a-fA-F.:]{3,45}|-) "
    rb"(?P<date>\d{8,14}) (?P<type>[^ \r\n]*)"
    rb"(?P<more> (?:\d{3}|-) [^ \r\n]* [^ \r\n]* \d+ [^ \r\n]*)? (?P<n>\d{1,12})\r?\n"
)
"""Old crawlers wrote blanks into URLs, so the fields are told from the right."""
MARK_BYTES = 4400
FILE_RECORD = b"filedesc:"


def arc_records(path: Openable, name: str, rejects: Rejects, skip: int = 0) -> Iterator[tuple[int, Any]]:
    """(record number from 1, JSON-like record or Unreadable) for every record but the file's own description.

    Damage is counted and passed over as in WARC files.
    """
    yield from archive_documents(path, name, rejects, skip, b"", _next_record, _arc_document)


def _next_record(window: Window) -> ArchiveRecord:
    found = RECORD_START.match(window.peek(MARK_BYTES))
    if found is None:
        # The end of a record whose beginning is lost.
        window.line(MARK_BYTES)
        window.take_until(RECORD_START, MARK_BYTES, 0)
        return ArchiveRecord("", {}, CUT)
    window.take(found.end())
    fields = {key: (value or b"").decode("utf-8", "replace") for key, value in found.groupdict().items()}
    # Every record but the first holds what a server answered.
    kind = "filedesc" if found["url"].startswith(FILE_RECORD) else "response"
    return ArchiveRecord(kind, fields, take_payload(window, int(found["n"]), RECORD_START, b""))


def _arc_document(record: ArchiveRecord) -> dict[str, Any] | Unreadable:
    assert isinstance(record.payload, bytes)
    if record.fields["url"].startswith("dns:"):
        return Unreadable("not_text")
    url, date = record.fields["url"], record.fields["date"]
    # An ARC record has no id: its URL and moment name it.
    return page_fields(record.payload, record.fields["type"], {"id": f"{url} {date}", "url": url, "date": date})

"""A JSON-like record, of whatever field names, into a Document."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping, Sequence
from typing import Any

from reread.corpus.rejects import Unreadable
from reread.types import Document

TEXT_FIELDS = (
    "text", "content", "raw_content", "contents", "body", "maintext", "article", "passage", "document_text",
    "markdown", "abstract", "string",
)  # fmt: skip
"""In order of preference: Dolma, FineWeb, RedPajama, Anserini, CORD and others; compared without case."""
ID_FIELDS = ("id", "_id", "docid", "doc_id", "document_id", "docno", "uuid", "warc_record_id", "warc-record-id")
TITLE_FIELDS = ("title", "page_title", "headline")
URL_FIELDS = ("url", "uri", "link", "source_url", "warc_target_uri", "warc-target-uri")
NESTED_FIELDS = ("metadata", "meta", "document", "doc", "data")
"""Objects in which publishers keep the fields above (Dolma: metadata.url)."""


def make_document(record: Any, name: str, source: str, number: int) -> Document | Unreadable:
    """The record as a Document, or Unreadable ("not_an_object", "no_text", "empty_text").

    The id is the record's own (a number is written out), else "NAME#NUMBER". Fields that were not used as id, text,
    title or url are kept in meta.
    """
    if isinstance(record, str):
        record = {"text": record}
    if not isinstance(record, Mapping):
        return Unreadable("not_an_object")
    key, text = _find(record, TEXT_FIELDS, _as_text)
    title_key, title = _find(record, TITLE_FIELDS, _as_string)
    if text is None:
        return Unreadable("no_text")
    # A record with a title alone (a reference without abstract) is a document of one line.
    text = clean(text) if text.strip() else clean(title or "")
    if not text.strip():
        return Unreadable("empty_text")
    id_key, doc_id = _find(record, ID_FIELDS, _as_id)
    url_key, url = _find(record, URL_FIELDS, _as_string)
    used = {key, id_key, title_key, url_key}
    return Document(
        id=clean(doc_id) if doc_id else f"{clean(name)}#{number}",
        text=text,
        source=clean(source),
        title=clean(title or "").strip(),
        url=clean(url or "").strip(),
        meta={clean(str(k)): plain(v) for k, v in record.items() if str(k) not in used and v is not None},
    )


def _find(record: Mapping[str, Any], names: Sequence[str], read: Any) -> tuple[str, str | None]:
    for name in names:
        if name in record and (value := read(record[name])) is not None:
            return name, value
    lower = {str(key).lower(): key for key in reversed(list(record))}
    for name in names:
        if name in lower and (value := read(record[lower[name]])) is not None:
            return str(lower[name]), value
    for outer in NESTED_FIELDS:
        inner = record.get(outer)
        if isinstance(inner, Mapping):
            for name in names:
                if name in inner and (value := read(inner[name])) is not None:
                    return "", value
    return "", None


def _as_text(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and all(isinstance(part, str) for part in value):
        return "\n".join(value)
    return None


def _as_string(value: Any) -> str | None:
    return value if isinstance(value, str) and value.strip() else None


def _as_id(value: Any) -> str | None:
    if isinstance(value, str) and value.strip():
        return value.strip()
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return None


def clean(text: str) -> str:
    """The text with lone surrogates, which no UTF-8 file can hold, replaced by U+FFFD."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def plain(value: Any) -> Any:
    """The value as JSON can hold it: dates in ISO form, bytes as text, no NaN."""
    if isinstance(value, str):
        return clean(value)
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {clean(str(key)): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set):
        return [plain(inner) for inner in value]
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, bytes | bytearray):
        return clean(bytes(value).decode("utf-8", "replace"))
    return clean(str(value))

"""Parquet rows, one row group after the other, so that a damaged group costs no other."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reread.corpus.blob import Openable
from reread.corpus.find import CorpusFile
from reread.corpus.records import TEXT_FIELDS
from reread.corpus.rejects import Rejects, Unreadable

BATCH_ROWS = 256
BUFFER_BYTES = 1 << 20
"""Read at once of a column, so that a row group of gigabytes is never in memory."""
MAX_MEMBER_BYTES = 256 << 20
"""Of a file inside an archive, which must be held whole as Parquet is read from its end."""
ENCRYPTED_MAGIC = b"PARE"
ENCRYPTED_MARKS = ("encrypt", "decrypt", "crypto")


def read_parquet(file: CorpusFile, path: Openable, rejects: Rejects, skip: int) -> Iterator[tuple[int, Any]]:
    """Rows by number from 1. A row group that cannot be read to its end is one reject, "damaged_file"; the rows before
    the damage and the other groups are read. A file is rejected as "no_text_column" where none is meant clearly, as
    "encrypted_file" and, where its footer is broken, as "damaged_file"."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    damage = (pa.ArrowException, OSError, EOFError, ValueError, TypeError, KeyError, MemoryError)
    try:
        source = _random_access(path)
        if source is None:
            rejects.add(file.name, 0, "record_too_large")
            return
        table = pq.ParquetFile(source, memory_map=isinstance(path, Path), buffer_size=BUFFER_BYTES, pre_buffer=False)
    except damage as error:
        if not skip:
            rejects.add(file.name, 0, _reason(error))
        return
    with table:
        text_column = _text_column(table.schema_arrow, file.text_field)
        if text_column is None:
            if not skip:
                rejects.add(file.name, 0, "no_text_column")
            return
        first = 0
        for group in range(table.metadata.num_row_groups):
            last = first + table.metadata.row_group(group).num_rows
            number = first
            try:
                if last > skip:
                    for batch in table.iter_batches(batch_size=BATCH_ROWS, row_groups=[group], use_threads=False):
                        if number + batch.num_rows > skip:
                            for place, row in enumerate(
                                _rows(batch, text_column, file.text_field or "text"), number + 1
                            ):
                                if place > skip:
                                    yield place, row
                        number += batch.num_rows
            except damage as error:
                if number + 1 > skip:
                    rejects.add(file.name, number + 1, _reason(error))
            first = last


def _random_access(path: Openable) -> Any:
    """What pyarrow may read from; None for a member of an archive that is too large to hold."""
    if isinstance(path, Path):
        return path
    stream = path.open("rb")
    if stream.seekable():
        return stream
    with stream:
        content = stream.read(MAX_MEMBER_BYTES + 1)
    return io.BytesIO(content) if len(content) <= MAX_MEMBER_BYTES else None


def _reason(error: Exception) -> str:
    return "encrypted_file" if any(mark in str(error).lower() for mark in ENCRYPTED_MARKS) else "damaged_file"


def _rows(batch: Any, text_column: str, name: str) -> Iterator[Any]:
    """The rows as dicts, with the text under that name, or Unreadable."""
    try:
        rows: list[Any] = batch.to_pylist()
    except (ValueError, OverflowError):
        # Text that is not UTF-8, a date beyond the year 9999: value by value, so that the others are kept.
        rows = [_row(batch, place, text_column) for place in range(batch.num_rows)]
    for row in rows:
        if isinstance(row, dict) and text_column:
            text = row.pop(text_column)
            if isinstance(text, bytes):
                try:
                    text = text.decode("utf-8")
                except UnicodeDecodeError:
                    yield Unreadable("not_utf8")
                    continue
            row[name] = text
        yield row


def _row(batch: Any, place: int, text_column: str) -> Any:
    row = {}
    for column in batch.schema.names:
        try:
            row[column] = batch.column(column)[place].as_py()
        except (ValueError, OverflowError):
            if column == text_column:
                return Unreadable("not_utf8")
    return row


def _text_column(schema: Any, text_field: str | None) -> str | None:
    """The column that holds the text, "" where the records' own rules find it, None where no choice is clear.

    The field asked for; else a text column with a usual name, or a nested one; else the only text column; else the
    only column of lists of text; else the only binary one.
    """
    if text_field is not None:
        return text_field if text_field in schema.names else ""
    kinds = {field.name: _kind(field.type) for field in schema}
    by_lower_name = {name.lower(): name for name in reversed(schema.names)}
    for name in TEXT_FIELDS:
        found = by_lower_name.get(name)
        if found is not None and kinds[found]:
            return found
    if "struct" in kinds.values():
        return ""
    for kind in ("text", "texts", "binary"):
        names = [name for name, its_kind in kinds.items() if its_kind == kind]
        if names:
            return names[0] if len(names) == 1 else None
    return None


def _kind(type_: Any) -> str:
    """ "text", "texts" (a list of it), "binary", "struct", or "" for what holds no text."""
    import pyarrow.types as pt

    if pt.is_dictionary(type_):
        return _kind(type_.value_type)
    if pt.is_string(type_) or pt.is_large_string(type_) or pt.is_string_view(type_):
        return "text"
    if pt.is_binary(type_) or pt.is_large_binary(type_) or pt.is_binary_view(type_):
        return "binary"
    if pt.is_list(type_) or pt.is_large_list(type_) or pt.is_list_view(type_) or pt.is_large_list_view(type_):
        return "texts" if _kind(type_.value_type) == "text" else ""
    return "struct" if pt.is_struct(type_) else ""

"""One shard, opened for reading: every file memory-mapped, nothing loaded."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from reread.datastore.layout import (
    BATCH_ROWS,
    DOCUMENTS,
    LEXICAL,
    PASSAGES,
    SHARD_FILE,
    VECTORS,
    id_hash,
    is_signed_rightly,
    load_array,
)
from reread.datastore.lexical import LexicalShard
from reread.errors import DatastoreError
from reread.types import Passage

if TYPE_CHECKING:
    import pyarrow as pa


OPEN_BATCHES = 64
"""Batches of a shard whose columns stay open, so that a store of many shards holds few objects in memory."""


class ShardPassages:
    """Reads the passages of a shard that has been cut, indexed or not, by row; every file memory-mapped."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._open_batches: dict[int, dict[str, Any]] = {}

    @cached_property
    def _arrow(self) -> pa.RecordBatchFileReader:
        import pyarrow as pa

        path = self.folder / PASSAGES
        try:
            return pa.ipc.open_file(pa.memory_map(str(path)))
        except (pa.ArrowException, OSError) as error:
            raise DatastoreError(f"{path} is missing or damaged; run: reread verify STORE") from error

    @cached_property
    def _documents(self) -> npt.NDArray[Any]:
        return load_array(self.folder / DOCUMENTS)

    @cached_property
    def _document_hashes(self) -> npt.NDArray[np.uint64]:
        return np.ascontiguousarray(self._documents["hash"])

    @property
    def n_batches(self) -> int:
        """Of passages.arrow; every batch but the last has BATCH_ROWS rows."""
        number: int = self._arrow.num_record_batches
        return number

    def batch(self, number: int) -> pa.RecordBatch:
        """The number-th batch of passages.arrow. Raises DatastoreError where the file is cut off."""
        import pyarrow as pa

        try:
            return self._arrow.get_batch(number)
        except (pa.ArrowException, OSError) as error:
            raise DatastoreError(f"{self.folder / PASSAGES} is damaged; run: reread verify STORE") from error

    def documents(self) -> npt.NDArray[Any]:
        """DOCUMENT_DTYPE (n,), in the order of their rows."""
        found: npt.NDArray[Any] = self._documents[np.argsort(self._documents["row"])]
        return found

    def _columns(self, number: int) -> dict[str, Any]:
        """The columns of a batch, by name; kept, as making them takes longer than reading a row."""
        columns = self._open_batches.get(number)
        if columns is None:
            if len(self._open_batches) >= OPEN_BATCHES:
                self._open_batches.clear()
            batch = self.batch(number)
            columns = self._open_batches[number] = {
                name: _reader(column) for name, column in zip(batch.schema.names, batch.columns, strict=True)
            }
        return columns

    def passages(self, rows: Sequence[int]) -> list[Passage]:
        """The passages in these rows."""
        found = []
        for row in rows:
            number, i = divmod(int(row), BATCH_ROWS)
            read = self._columns(number)
            meta = read["meta"](i)
            passage = Passage(
                id=read["id"](i),
                doc_id=read["doc_id"](i),
                start=read["start"](i),
                text=read["text"](i),
                title=read["title"](i),
                source=read["source"](i),
                url=read["url"](i),
                meta=json.loads(meta) if meta != "{}" else {},
            )
            found.append(passage)
        return found

    def ids(self, rows: Sequence[int]) -> list[str]:
        """The passage ids in these rows."""
        return [self._value("id", int(row)) for row in rows]

    def doc_id(self, row: int) -> str:
        """The id of the document that the passage in this row is of."""
        return self._value("doc_id", row)

    def _value(self, column: str, row: int) -> str:
        number, offset = divmod(row, BATCH_ROWS)
        value: str = self._columns(number)[column](offset)
        return value

    def may_hold(self, hashes: npt.NDArray[np.uint64]) -> list[int]:
        """Which of these documents, by the hashes of their ids, may be here (rows_of tells for certain)."""
        known = self._document_hashes
        if not len(known):
            return []
        places = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
        found: list[int] = np.flatnonzero(known[places] == hashes).tolist()
        return found

    def rows_of(self, doc_id: str, hashed: int | None = None) -> range:
        """The rows of a document's passages; empty where the shard does not hold it. hashed: its id_hash, if known."""
        number = np.uint64(id_hash(doc_id) if hashed is None else hashed)
        hashes = self._document_hashes
        place = int(np.searchsorted(hashes, number))
        while place < len(hashes) and hashes[place] == number:
            row, count = int(self._documents["row"][place]), int(self._documents["count"][place])
            if self._value("doc_id", row) == doc_id:
                return range(row, row + count)
            place += 1
        return range(0)


class Shard(ShardPassages):
    """A finished shard: passages, vectors and postings by row. Raises DatastoreError for a damaged shard.json."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.facts = shard_facts(folder)
        self.n_passages: int = self.facts["n_passages"]
        self.n_tokens: int = self.facts["n_tokens"]
        self.embed_flops = float(self.facts.get("embed_flops", 0))
        """Spent on embedding its passages; 0 where there are no vectors or the embedder does not count."""

    @cached_property
    def lexical(self) -> LexicalShard:
        return LexicalShard(self.folder / LEXICAL)

    @cached_property
    def vectors(self) -> npt.NDArray[np.float16]:
        """float16 (n, d), row i is passage i."""
        return load_array(self.folder / VECTORS)


def shard_facts(folder: Path) -> dict[str, Any]:
    """shard.json's content. Raises DatastoreError where it is missing or is not what was written."""
    try:
        facts = json.loads((folder / SHARD_FILE).read_bytes())
        if all(isinstance(facts[name], int) for name in ("n_passages", "n_tokens")) and is_signed_rightly(facts):
            return dict(facts)
        reason: Exception | None = None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = error
    raise DatastoreError(
        f"shard {folder.name} is unfinished or its shard.json is damaged; "
        f"check the store with: reread verify {folder.parent.parent}"
    ) from reason


def _reader(column: pa.Array) -> Callable[[int], Any]:
    """Reads the i-th value of a column straight from its buffers: a pyarrow scalar each takes several times longer."""
    import pyarrow as pa

    if column.offset or column.type not in (pa.string(), pa.int64()):
        return lambda i: column[i].as_py()
    if column.type == pa.int64():
        return memoryview(column.buffers()[1]).cast("q").__getitem__
    _, ends_buffer, text_buffer = column.buffers()
    ends, text = memoryview(ends_buffer).cast("i"), memoryview(text_buffer or b"")

    def read(i: int) -> str:
        return str(text[ends[i] : ends[i + 1]], "utf-8")

    return read

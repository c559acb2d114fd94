"""The first step of a shard: its passages and where its documents lie; cut.json last, which makes the step count.

What follows (`index_shard`) needs nothing but this folder, so it may run in another process or on another machine.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from reread.datastore.layout import (
    BATCH_ROWS,
    CUT_FILE,
    DOCUMENT_DTYPE,
    DOCUMENTS,
    PASSAGES,
    VECTORS,
    file_facts,
    flush_to_disk,
    id_hash,
    passage_schema,
    save_array,
    signed,
)
from reread.errors import UsageError
from reread.runs import canonical_json, write_json_atomically
from reread.types import Passage

MAX_META_CHARS = 1 << 14
"""JSON of a record's own fields that its passages repeat: with the raw page among them, a document of a thousand
passages would be stored a thousand times."""
LEFT_OUT = "left_out"


@dataclass(frozen=True, slots=True)
class DocumentRows:
    """The passages of one document as the columns of passages.arrow; what they share is said once."""

    doc_id: str
    source: str
    title: str
    url: str
    meta: str
    """JSON."""
    ids: list[str]
    starts: list[int]
    texts: list[str]
    n_words: list[int]
    vectors: npt.NDArray[np.float16] | None = None
    """(n, d), where they are known already."""
    embed_flops: float = 0.0
    """What those vectors took."""


def document_rows(passages: Sequence[Passage]) -> DocumentRows:
    """The columns of one document's passages, at least one."""
    first = passages[0]
    texts = [passage.text for passage in passages]
    return DocumentRows(
        doc_id=first.doc_id,
        source=first.source,
        title=first.title,
        url=first.url,
        meta=meta_json(first.meta) if first.meta else "{}",
        ids=[passage.id for passage in passages],
        starts=[passage.start for passage in passages],
        texts=texts,
        n_words=[len(text.split()) for text in texts],
    )


def meta_json(meta: Mapping[str, Any]) -> str:
    """The record's own fields as passages hold them, at most MAX_META_CHARS long.

    Where they are more, the longest are left out, and their names listed under "left_out" as far as there is room.
    """
    whole = canonical_json(meta)
    if len(whole) <= MAX_META_CHARS:
        return whole
    sizes = {name: len(canonical_json({name: value})) for name, value in meta.items()}
    kept: dict[str, Any] = {}
    left_out: list[str] = []
    # Half of the room is for names.
    room = MAX_META_CHARS // 2
    for name in sorted(sizes, key=lambda name: (sizes[name], name)):
        room -= sizes[name]
        if room >= 0:
            kept[name] = meta[name]
        else:
            left_out.append(name)
    n_names = MAX_META_CHARS // 4
    shown = [name for name in left_out if (n_names := n_names - len(canonical_json(name)) - 1) >= 0]
    return canonical_json({**kept, LEFT_OUT: shown})


class CutWriter:
    """Writes the first files of one shard. A folder without cut.json or shard.json is no shard and is written anew."""

    def __init__(self, folder: Path) -> None:
        import pyarrow as pa

        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        self.folder = folder
        self.n_passages = 0
        self._schema = passage_schema()
        self._file = pa.OSFile(str(folder / PASSAGES), "wb")
        self._arrow = pa.ipc.new_file(self._file, self._schema)
        self._columns: dict[str, list[Any]] = {name: [] for name in self._schema.names}
        self._documents: dict[str, tuple[int, int, int]] = {}
        self._vectors: list[npt.NDArray[np.float16]] = []
        self._embed_flops = 0.0

    @property
    def n_documents(self) -> int:
        return len(self._documents)

    def has_document(self, doc_id: str) -> bool:
        """Whether this document's passages lie in this shard."""
        return doc_id in self._documents

    def add(self, rows: DocumentRows, hashed: int | None = None) -> None:
        """Add all passages of one document. hashed: its id_hash, if known."""
        n = len(rows.ids)
        self._documents[rows.doc_id] = (id_hash(rows.doc_id) if hashed is None else hashed, self.n_passages, n)
        columns = self._columns
        columns["id"] += rows.ids
        columns["doc_id"] += [rows.doc_id] * n
        columns["start"] += rows.starts
        columns["source"] += [rows.source] * n
        columns["title"] += [rows.title] * n
        columns["url"] += [rows.url] * n
        columns["text"] += rows.texts
        columns["n_words"] += rows.n_words
        columns["meta"] += [rows.meta] * n
        if rows.vectors is not None:
            self._vectors.append(rows.vectors)
            self._embed_flops += rows.embed_flops
        self.n_passages += n
        while len(columns["id"]) >= BATCH_ROWS:
            self._write_batch()

    def _write_batch(self) -> None:
        import pyarrow as pa

        arrays = [pa.array(self._columns[field.name][:BATCH_ROWS], type=field.type) for field in self._schema]
        if any(isinstance(array, pa.ChunkedArray) for array in arrays):
            raise UsageError(
                f"{BATCH_ROWS:,} passages, from {self._columns['id'][0][:80]!r} on, have over 2 GB of text, which no "
                "batch of an Arrow file holds; build with fewer --chunk-words, or leave those documents out"
            )
        self._arrow.write_batch(pa.RecordBatch.from_arrays(arrays, schema=self._schema))
        for values in self._columns.values():
            del values[:BATCH_ROWS]

    def finish(self, further: Mapping[str, Any]) -> dict[str, Any]:
        """Write what is pending, then cut.json (atomically, last); returns its content."""
        if self._columns["id"]:
            self._write_batch()
        self._arrow.close()
        self._file.close()
        documents = np.array(list(self._documents.values()), dtype=DOCUMENT_DTYPE)
        save_array(self.folder / DOCUMENTS, documents[np.argsort(documents["hash"], kind="stable")])
        names = [DOCUMENTS, PASSAGES]
        copied: dict[str, Any] = {}
        if self._vectors:
            copied["embed_flops"] = round(self._embed_flops)
            save_array(self.folder / VECTORS, np.concatenate(self._vectors))
            self._vectors = []
            names.append(VECTORS)
        for name in names:
            flush_to_disk(self.folder / name)
        content = signed(
            {
                "n_passages": self.n_passages,
                "n_documents": self.n_documents,
                **copied,
                **further,
                "files": {name: file_facts(self.folder / name) for name in names},
            }
        )
        write_json_atomically(self.folder / CUT_FILE, content)
        return content

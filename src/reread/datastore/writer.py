"""One shard being written: passages in, plain files out, shard.json last."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from reread.datastore.layout import (
    BATCH_ROWS,
    DOCUMENT_DTYPE,
    DOCUMENTS,
    LEXICAL,
    PASSAGES,
    SHARD_FILE,
    VECTORS,
    id_hash,
    indexed_text,
    passage_schema,
    save_array,
)
from reread.datastore.lexical import LexicalWriter
from reread.errors import RereadError
from reread.protocols import Embedder
from reread.runs import canonical_json, file_sha256, write_json_atomically
from reread.types import Passage

EMBED_PASSAGES = 256
"""Passages handed to the embedder at once; it sorts them by length itself."""


class ShardWriter:
    """Writes the files of one shard; `finish` makes it count. An unfinished folder is no shard and is written anew."""

    def __init__(self, folder: Path, embedder: Embedder | None) -> None:
        import pyarrow as pa

        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        self.folder = folder
        self.n_passages = 0
        self._embedder = embedder
        self._schema = passage_schema()
        self._file = pa.OSFile(str(folder / PASSAGES), "wb")
        self._arrow = pa.ipc.new_file(self._file, self._schema)
        self._rows: list[dict[str, Any]] = []
        self._lexical = LexicalWriter()
        self._documents: dict[str, tuple[int, int]] = {}
        self._to_embed: list[str] = []
        self._vectors: list[npt.NDArray[np.float16]] = []
        self._embed_flops = 0

    def has_document(self, doc_id: str) -> bool:
        """Whether this document's passages lie in this shard."""
        return doc_id in self._documents

    def add_document(self, doc_id: str, passages: list[Passage]) -> None:
        """Add all passages of one document."""
        if not passages:
            return
        self._documents[doc_id] = (self.n_passages, len(passages))
        meta = canonical_json(passages[0].meta)
        for passage in passages:
            text = indexed_text(passage)
            self._lexical.add(text)
            self._rows.append(
                {
                    "id": passage.id,
                    "doc_id": passage.doc_id,
                    "start": passage.start,
                    "source": passage.source,
                    "title": passage.title,
                    "url": passage.url,
                    "text": passage.text,
                    "n_words": len(passage.text.split()),
                    "meta": meta,
                }
            )
            self.n_passages += 1
            if len(self._rows) == BATCH_ROWS:
                self._write_rows()
            if self._embedder is not None:
                self._to_embed.append(text)
                if len(self._to_embed) == EMBED_PASSAGES:
                    self._embed()

    def _write_rows(self) -> None:
        import pyarrow as pa

        self._arrow.write_batch(pa.RecordBatch.from_pylist(self._rows, schema=self._schema))
        self._rows = []

    def _embed(self) -> None:
        assert self._embedder is not None
        flops_before = getattr(self._embedder, "flops", 0)
        vectors = self._embedder.encode_passages(self._to_embed)
        # Whole numbers, so that a resumed build, whose embedder counts from 0 again, writes the same bytes.
        self._embed_flops += round(getattr(self._embedder, "flops", 0) - flops_before)
        check_vectors(vectors, len(self._to_embed), self._vectors[0].shape[1] if self._vectors else None)
        self._vectors.append(vectors.astype(np.float16))
        self._to_embed = []

    def abandon(self) -> None:
        """Close the files of a shard that will not be finished."""
        self._arrow.close()
        self._file.close()

    def finish(self, further: Mapping[str, Any]) -> dict[str, Any]:
        """Write what is pending, then shard.json (atomically, last); returns its content."""
        if self._rows:
            self._write_rows()
        self._arrow.close()
        self._file.close()
        n_tokens = self._lexical.write(self.folder / LEXICAL)
        documents = np.array(
            [(id_hash(doc_id), row, count) for doc_id, (row, count) in self._documents.items()], dtype=DOCUMENT_DTYPE
        )
        save_array(self.folder / DOCUMENTS, documents[np.argsort(documents["hash"], kind="stable")])
        dimension = None
        if self._embedder is not None:
            if self._to_embed:
                self._embed()
            vectors = np.concatenate(self._vectors)
            dimension = int(vectors.shape[1])
            save_array(self.folder / VECTORS, vectors)
        files = sorted(path for path in self.folder.rglob("*") if path.is_file())
        for path in files:
            _flush_to_disk(path)
        content = {
            "n_passages": self.n_passages,
            "n_documents": len(self._documents),
            "n_tokens": n_tokens,
            "dimension": dimension,
            "embed_flops": self._embed_flops,
            **further,
            "files": {
                path.relative_to(self.folder).as_posix(): {
                    "bytes": path.stat().st_size,
                    "sha256": file_sha256(path),
                }
                for path in files
            },
        }
        write_json_atomically(self.folder / SHARD_FILE, content)
        return content


def check_vectors(vectors: npt.NDArray[Any], n: int, dimension: int | None) -> None:
    """Raises RereadError for vectors of a wrong number or dimension, with NaN, or of length zero."""
    if vectors.ndim != 2 or len(vectors) != n:
        raise RereadError(f"the embedder gave vectors of shape {vectors.shape} for {n} passages; it needs ({n}, d)")
    if dimension is not None and vectors.shape[1] != dimension:
        raise RereadError(f"the embedder gave {vectors.shape[1]} dimensions after {dimension} before; use one model")
    if not np.isfinite(vectors).all():
        raise RereadError("the embedder gave a vector with NaN or infinity; check the model and its precision")
    lengths = np.linalg.norm(vectors, axis=1)
    if len(lengths) and lengths.min() < 1e-6:
        raise RereadError("the embedder gave a vector of length zero, which no search can find; check the model")


def _flush_to_disk(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())

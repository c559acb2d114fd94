"""The second step of a shard: its passages' postings and vectors; shard.json last, which makes the shard count.

A pure function of the shard's folder and the embedder: the same bytes wherever and however often it runs. Files are
written in a folder of their own and moved into place, so that two runs at once (a task repeated while the first still
lives) cannot spoil each other's.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from reread.corpus.fit import embedded_texts
from reread.datastore.layout import (
    CUT_FILE,
    LEXICAL,
    SHARD_FILE,
    VECTORS,
    file_facts,
    flush_to_disk,
    indexed_text,
    is_signed_rightly,
    signed,
)
from reread.datastore.lexical import LexicalWriter
from reread.datastore.shard import ShardPassages
from reread.errors import BadVectors, DatastoreError, RereadError
from reread.protocols import Embedder
from reread.runs import write_json_atomically
from reread.types import Passage

EMBED_PASSAGES = 4096
"""Passages handed to the embedder at once: it sorts them by length, so that little of a batch is padding."""
WORK_PREFIX = ".indexing-"


def index_shard(folder: Path, embedder: Embedder | None, progress: Callable[[int], None] | None = None) -> None:
    """Finish the shard that was cut in `folder`; nothing to do where it is finished.

    progress: told the number of passages embedded so far. Raises RereadError for vectors of a wrong number or
    dimension, with NaN or of length zero; DatastoreError where cut.json is missing or damaged.
    """
    try:
        if not (folder / SHARD_FILE).is_file():
            _index(folder, embedder, progress)
    except FileNotFoundError:
        # Another run of the same task was faster, and cleared up.
        if not (folder / SHARD_FILE).is_file():
            raise
    clear_work(folder)


def _index(folder: Path, embedder: Embedder | None, progress: Callable[[int], None] | None) -> None:
    cut = cut_facts(folder)
    work = Path(tempfile.mkdtemp(prefix=WORK_PREFIX, dir=folder))
    shard = ShardPassages(folder)
    n_tokens = _write_postings(shard, work)
    dimension, embed_flops = None, cut.get("embed_flops", 0)
    if VECTORS in cut["files"]:
        dimension = int(np.load(folder / VECTORS, mmap_mode="r", allow_pickle=False).shape[1])
    elif embedder is not None:
        dimension, embed_flops = _write_vectors(shard, cut["n_passages"], embedder, work / VECTORS, progress)
    written = sorted(path for path in work.rglob("*") if path.is_file())
    files = dict(cut["files"])
    for path in written:
        flush_to_disk(path)
        files[path.relative_to(work).as_posix()] = file_facts(path)
    (folder / LEXICAL).mkdir(exist_ok=True)
    for path in written:
        path.replace(folder / path.relative_to(work))
    facts = {
        "n_passages": cut["n_passages"],
        "n_documents": cut["n_documents"],
        "n_tokens": n_tokens,
        "dimension": dimension,
        "embed_flops": embed_flops,
        **{key: value for key, value in cut.items() if key not in ("files", "sha256")},
        "files": dict(sorted(files.items())),
    }
    write_json_atomically(folder / SHARD_FILE, signed(facts))


def clear_work(folder: Path) -> None:
    """Remove what a finished shard no longer needs, and what runs that were killed left behind."""
    for path in folder.glob(f"{WORK_PREFIX}*"):
        shutil.rmtree(path, ignore_errors=True)
    # Atomic writes that were cut off.
    for path in folder.glob(".*.part"):
        path.unlink(missing_ok=True)
    if (folder / SHARD_FILE).is_file():
        (folder / CUT_FILE).unlink(missing_ok=True)


def cut_facts(folder: Path) -> dict[str, Any]:
    """cut.json's content. Raises DatastoreError where it is missing or is not what was written."""
    try:
        facts = json.loads((folder / CUT_FILE).read_bytes())
        if isinstance(facts, dict) and "files" in facts and is_signed_rightly(facts):
            return facts
        reason: Exception | None = None
    except (OSError, ValueError, RecursionError) as error:
        reason = error
    raise DatastoreError(
        f"shard {folder.name} was not cut, or its cut.json is damaged; delete the folder {folder}, then run the same "
        "reread build command again"
    ) from reason


def _write_postings(shard: ShardPassages, work: Path) -> int:
    writer = LexicalWriter()
    for number in range(shard.n_batches):
        batch = shard.batch(number)
        writer.add_arrow(batch.column("title"), batch.column("text"))
    return writer.write(work / LEXICAL)


def _write_vectors(
    shard: ShardPassages, n_passages: int, embedder: Embedder, path: Path, progress: Callable[[int], None] | None
) -> tuple[int, int]:
    """Writes vectors.npy block by block; returns (dimension, FLOPs)."""
    dimension = None
    flops_before = getattr(embedder, "flops", 0)
    done = 0
    # Not through a memory map: a full disk would be a SIGBUS there.
    with path.open("wb") as file:
        for passages in _blocks(shard):
            try:
                vectors = embedder.encode_passages(_texts_to_embed(passages, embedder))
            except BadVectors as error:
                raise RereadError(f"{error} (passage {passages[error.indices[0]].id})") from error
            check_vectors(vectors, len(passages), dimension, passages)
            if dimension is None:
                dimension = int(vectors.shape[1])
                header = {"descr": "<f2", "fortran_order": False, "shape": (n_passages, dimension)}
                np.lib.format.write_array_header_1_0(file, header)
            file.write(np.ascontiguousarray(vectors, dtype="<f2").data)
            done += len(passages)
            if progress is not None:
                progress(done)
    assert dimension is not None
    # Whole numbers, so that a resumed build, whose embedder counts from 0 again, writes the same bytes.
    return dimension, round(getattr(embedder, "flops", 0) - flops_before)


def _blocks(shard: ShardPassages) -> Iterator[list[Passage]]:
    """Passages with what is embedded of them (id, title, text), EMBED_PASSAGES at a time."""
    block: list[Passage] = []
    for number in range(shard.n_batches):
        batch = shard.batch(number)
        columns = (batch.column(name).to_pylist() for name in ("id", "doc_id", "start", "text", "title"))
        block += map(Passage, *columns)
        if len(block) >= EMBED_PASSAGES:
            yield block[:EMBED_PASSAGES]
            block = block[EMBED_PASSAGES:]
    if block:
        yield block


def _texts_to_embed(passages: Sequence[Passage], embedder: Embedder) -> list[str]:
    """Titles and texts, without the titles that were left out when the passages were made to fit (see corpus.fit)."""
    limit, count_tokens = token_limit(embedder)
    texts = [indexed_text(passage) for passage in passages]
    if limit is None or count_tokens is None:
        return texts
    # Only a title of over half the limit is left out, and a token has a byte at least: few passages are counted.
    long_titles = [i for i, passage in enumerate(passages) if 2 * len(passage.title.encode()) > limit]
    found = embedded_texts([passages[i] for i in long_titles], count_tokens, limit, indexed_text)
    for i, text in zip(long_titles, found, strict=True):
        texts[i] = text
    return texts


def token_limit(embedder: Embedder | None) -> tuple[int | None, Callable[[Sequence[str]], list[int]] | None]:
    """(tokens that the embedder reads of a passage, how to count them), None each where it does not say."""
    limit, count_tokens = getattr(embedder, "max_tokens", None), getattr(embedder, "count_tokens", None)
    return (limit, count_tokens) if limit is not None and count_tokens is not None else (None, None)


def check_vectors(
    vectors: npt.NDArray[Any], n: int, dimension: int | None, passages: Sequence[Passage] | None = None
) -> None:
    """Raises RereadError for vectors of a wrong number or dimension, with NaN, or of length zero."""
    if vectors.ndim != 2 or len(vectors) != n:
        raise RereadError(f"the embedder gave vectors of shape {vectors.shape} for {n} passages; it needs ({n}, d)")
    if dimension is not None and vectors.shape[1] != dimension:
        raise RereadError(f"the embedder gave {vectors.shape[1]} dimensions after {dimension} before; use one model")

    def called(is_bad: Any) -> str:
        return f" for the passage {passages[int(np.argmax(is_bad))].id}" if passages else ""

    # Vectors are kept as float16, whose largest number is 65504: what overflows there is no vector either.
    with np.errstate(over="ignore"):
        is_bad = ~np.isfinite(vectors.astype(np.float16)).all(axis=1)
    if is_bad.any():
        raise RereadError(
            f"the embedder gave a vector with NaN or infinity{called(is_bad)}; check the model and its precision"
        )
    is_bad = np.linalg.norm(vectors, axis=1) < 1e-6
    if is_bad.any():
        raise RereadError(
            f"the embedder gave a vector of length zero{called(is_bad)}, which no search can find; check the model"
        )

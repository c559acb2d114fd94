"""Building a datastore: documents stream in, shards come out one after the other, each finished for good.

Every shard takes two steps: `cut` in this process, in corpus order, and `index` (see workers), which needs nothing but
the shard's folder. Memory is bounded by a shard for each process. A build that was killed and is started again goes on
behind the last shard that was cut and ends with the same bytes.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from reread.corpus import (
    DEFAULT_CHUNK_WORDS,
    CorpusFile,
    Position,
    Rejects,
    check_chunking,
    chunk,
    find_files,
    no_documents,
    read_from,
)
from reread.corpus.chunk import ChunkUnit
from reread.corpus.fit import fit_passages
from reread.datastore.assembly import Assembly, Reject, Seen, Taken
from reread.datastore.cut import document_rows
from reread.datastore.entries import BuildReport, begin, finish, is_whole, remove_empty, report_of
from reread.datastore.index import token_limit
from reread.datastore.inputs import CorpusBytes, Stamp, check_unchanged, describe, label, stamps
from reread.datastore.layout import disk_errors, id_hash, indexed_text, only_writer
from reread.datastore.lexical import ANALYSER, MAX_ROWS
from reread.datastore.workers import Indexed, Indexer, MakeEmbedder, ProcessIndexer, SerialIndexer
from reread.errors import CorpusError, UsageError
from reread.protocols import Embedder, Progress
from reread.types import Document, Passage

DEFAULT_SHARD_PASSAGES = 100_000
BATCH_DOCUMENTS = 64
BATCH_CHARS = 1 << 20
"""Documents cut together: their ids are looked up, and their tokens counted, at once."""

Drop = Callable[[Passage], str | None]
Keep = Callable[[Document], str | None]
Engine = Literal["local", "ray"]


def build(
    corpora: Sequence[str],
    store: Path,
    *,
    embedder: Embedder | None = None,
    chunk_words: int = DEFAULT_CHUNK_WORDS,
    overlap_words: int = 0,
    chunk_by: ChunkUnit = "words",
    shard_passages: int = DEFAULT_SHARD_PASSAGES,
    append: bool = False,
    text_field: str | None = None,
    keep: Keep | None = None,
    drop: Drop | None = None,
    documents: Iterable[Document] | None = None,
    made_from: Mapping[str, Any] | None = None,
    workers: int = 1,
    engine: Engine = "local",
    make_embedder: MakeEmbedder | None = None,
    devices: Sequence[str | None] = (None,),
    progress: Progress | None = None,
) -> BuildReport:
    """Build, finish or extend the datastore in the folder `store`, and say what it then holds.

    corpora: CORPUS words (see corpus.read_documents), or the label of `documents` where those are given; documents
    must then come in the same order on every call, as a resumed build skips the ones it has. text_field: the field or
    column of the corpora that holds the text, where it has none of the usual names. keep: a reason for every document
    that must stay out, None for the others; drop: the same of passages; reasons are counted in rejects.jsonl.
    made_from: what else decided the content (the settings behind `documents`, `text_field`, `keep` and `drop`),
    recorded and compared like every setting. A document whose id came before is rejected as "duplicate_id". A passage
    over the embedder's token limit becomes several (corpus.fit), after `drop` has seen it whole.

    workers: processes that index shards while this one cuts them; with an embedder each makes its own by
    `make_embedder(device)` (default: by the embedder's spec), devices in turn; the embedder given is then used for its
    name and its tokenizer alone. A script that asks for several must guard its entry (`if __name__ == "__main__"`).
    engine: "ray" indexes on a Ray cluster (see datastore.cluster), as many shards at once as workers.
    progress: (passages done, how many there will be as far as can be told); done is embedded, without embedder cut.

    A finished store of the same settings that this corpus is in already, from its first build or a later one, is left
    as it is, but for shards of that build that are missing: those are made again. Raises CorpusError for a corpus that
    is missing or holds nothing readable, DatastoreError where the store has other settings (named) or the corpus has
    changed, RereadError where the disk is full or a shard cannot be indexed.
    """
    check_chunking(chunk_words, overlap_words, chunk_by)
    if not 1 <= shard_passages <= MAX_ROWS // 16:
        raise UsageError(f"shard passages must be from 1 to {MAX_ROWS // 16}, not {shard_passages}")
    if engine not in get_args(Engine):
        raise UsageError(f"unknown engine {engine!r}; use one of {', '.join(get_args(Engine))}")
    if workers < 1:
        raise UsageError(f"the number of workers must be at least 1, not {workers}")
    store = Path(store)
    files = [] if documents is not None else find_files(corpora)
    before = stamps(files)
    max_tokens, _ = token_limit(embedder)
    settings = {
        "embedder": embedder.spec if embedder is not None else None,
        "chunking": {
            "unit": chunk_by,
            "chunk_words": chunk_words,
            "overlap_words": overlap_words,
            **({"max_tokens": max_tokens} if max_tokens is not None else {}),
        },
        "analyser": ANALYSER,
        "shard_passages": shard_passages,
    }
    inputs: dict[str, Any] = {
        "corpora": [label(os.fspath(corpus)) for corpus in corpora],
        "files": [describe(file) for file in files],
        "made_from": dict(made_from or {}),
    }
    with disk_errors(store, "while building"), only_writer(store):
        content, number = begin(store, settings, inputs, append=append, files=files, now=before)
        if is_whole(store, content["builds"][number]):
            return report_of(store, content, n_new_shards=0)
        meter = _Meter(progress, CorpusBytes(files, before) if files else None, counts_embedded=embedder is not None)
        indexer = _make_indexer(embedder, make_embedder, workers, engine, tuple(devices), meter.embedded, store)
        assembly = Assembly(store, content, number, shard_passages, indexer, meter.cut)
        cutter = _Cutter(embedder, keep, drop, functools.partial(_chunk, chunk_words, overlap_words, chunk_by))

        def source(start: Position, seen: Seen) -> Iterator[Taken]:
            rejects = _Waiting()
            if documents is not None:
                return cutter.taken(_numbered(documents, start), rejects, seen)
            return cutter.taken(_watched(files, before, text_field, start, rejects, meter), rejects, seen)

        assembly.make(source)
        for file, stamp in zip(files, before, strict=True):
            check_unchanged(file, stamp)
        if assembly.n_documents == 0 and not append:
            remove_empty(store)
            if documents is None:
                raise no_documents(corpora, assembly.rejects, text_field)
            raise CorpusError(f"{' '.join(map(str, corpora)) or 'the corpus'} gave no documents")
        finish(store, content, number, assembly)
        return report_of(store, content, assembly.n_new_shards)


def _make_indexer(
    embedder: Embedder | None,
    make: MakeEmbedder | None,
    workers: int,
    engine: Engine,
    devices: tuple[str | None, ...],
    indexed: Indexed,
    store: Path,
) -> Indexer:
    if engine == "local" and workers == 1:
        return SerialIndexer(embedder, indexed)
    if embedder is not None and make is None:
        if not embedder.spec.startswith(("st:", "openai:")):
            raise UsageError(
                f"several workers cannot share the embedder {embedder.spec}; give make_embedder, a function that makes "
                "it in each of them, or use one worker"
            )
        make = functools.partial(_make_by_spec, embedder.spec)
    if engine == "ray":
        from reread.datastore.cluster import RayIndexer

        return RayIndexer(store, workers, make, indexed)
    return ProcessIndexer(workers, make, indexed, devices)


def _make_by_spec(spec: str, device: str | None) -> Embedder:
    from reread.embed import make_embedder

    return make_embedder(spec, device=device)


def _chunk(chunk_words: int, overlap_words: int, unit: ChunkUnit, document: Document) -> list[Passage]:
    return list(chunk(document, chunk_words, overlap_words, unit))


def _numbered(documents: Iterable[Document], start: Position) -> Iterator[tuple[Position, Document]]:
    for number, document in enumerate(documents, 1):
        if number > start.record:
            yield Position(0, number), document


def _watched(
    files: Sequence[CorpusFile],
    before: Sequence[Stamp],
    text_field: str | None,
    start: Position,
    rejects: Rejects,
    meter: _Meter,
) -> Iterator[tuple[Position, Document]]:
    """The documents behind `start`; a file that was read must be what it was before, so that a long build ends soon."""
    current = start.file
    for position, document in read_from(files, start, rejects=rejects, text_field=text_field):
        for number in range(current, position.file):
            check_unchanged(files[number], before[number])
        current = position.file
        meter.read(position, len(document.text))
        yield position, document
    meter.read_all()


class _Waiting(Rejects):
    """Rejects that wait for the document they came before, as the reader runs ahead of the shard being cut."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: list[Reject] = []

    def add(self, source: str, record: str | int, reason: str) -> None:
        # Readers ask how many there were.
        self.counts[reason] += 1
        self._waiting.append((source, record, reason))

    def handed_over(self) -> list[Reject]:
        waiting, self._waiting = self._waiting, []
        return waiting


@dataclass(slots=True)
class _Read:
    """A document on its way into a shard."""

    position: Position
    document: Document
    rejects: list[Reject]
    hashed: int = 0
    passages: list[Passage] | None = None
    """None where it was rejected."""
    n_split: int = 0


class _Cutter:
    """From documents to the rows of shards, some documents at a time."""

    def __init__(
        self,
        embedder: Embedder | None,
        keep: Keep | None,
        drop: Drop | None,
        cut: Callable[[Document], list[Passage]],
    ) -> None:
        self._max_tokens, self._count_tokens = token_limit(embedder)
        self._keep = keep
        self._drop = drop
        self._cut = cut

    def taken(self, stream: Iterable[tuple[Position, Document]], rejects: _Waiting, seen: Seen) -> Iterator[Taken]:
        batch: list[_Read] = []
        n_chars = 0
        position = Position(0, 0)
        for position, document in stream:
            batch.append(_Read(position, document, rejects.handed_over()))
            n_chars += len(document.text)
            if len(batch) == BATCH_DOCUMENTS or n_chars >= BATCH_CHARS:
                yield from self._take(batch, seen)
                batch, n_chars = [], 0
        yield from self._take(batch, seen)
        yield Taken(position, None, rejects=rejects.handed_over())

    def _take(self, batch: list[_Read], seen: Seen) -> Iterator[Taken]:
        if not batch:
            return
        ids = [read.document.id for read in batch]
        hashes = np.array([id_hash(doc_id) for doc_id in ids], dtype=np.uint64)
        kept: set[str] = set()
        for read, hashed, is_known in zip(batch, hashes.tolist(), seen(ids, hashes), strict=True):
            document, read.hashed = read.document, hashed
            reason = "duplicate_id" if is_known or document.id in kept else self._keep(document) if self._keep else None
            if reason is not None:
                read.rejects.append((document.source, document.id, reason))
                continue
            read.passages = self._without_dropped(read)
            if read.passages:
                kept.add(document.id)
        if self._max_tokens is not None:
            self._fit(batch)
        for read in batch:
            yield Taken(
                read.position,
                document_rows(read.passages) if read.passages else None,
                read.hashed,
                read.rejects,
                n_documents=0 if read.passages is None else 1,
                n_split=read.n_split,
            )

    def _without_dropped(self, read: _Read) -> list[Passage]:
        passages = self._cut(read.document)
        if self._drop is None:
            return passages
        kept = []
        for passage in passages:
            reason = self._drop(passage)
            if reason is None:
                kept.append(passage)
            else:
                read.rejects.append((read.document.source, passage.id, reason))
        return kept

    def _fit(self, batch: list[_Read]) -> None:
        """Split what is over the embedder's limit; the documents kept have ids of their own."""
        assert self._max_tokens is not None and self._count_tokens is not None
        whole = [passage for read in batch for passage in read.passages or ()]
        fitted = fit_passages(whole, self._count_tokens, self._max_tokens, indexed_text)
        if len(fitted) == len(whole) and all(a is b for a, b in zip(fitted, whole, strict=True)):
            return
        as_they_were = set(map(id, fitted))
        by_document: dict[str, list[Passage]] = {}
        for passage in fitted:
            by_document.setdefault(passage.doc_id, []).append(passage)
        for read in batch:
            if read.passages:
                read.n_split = sum(id(passage) not in as_they_were for passage in read.passages)
                read.passages = by_document[read.document.id]


class _Meter:
    """Turns what is cut and embedded into (passages done, passages there will be)."""

    def __init__(self, progress: Progress | None, corpus: CorpusBytes | None, *, counts_embedded: bool) -> None:
        self._progress = progress
        self._corpus = corpus
        self._counts_embedded = counts_embedded
        self._n_cut = 0
        self._n_embedded = 0
        self._embedded_of: dict[str, int] = {}

    def read(self, position: Position, n_chars: int) -> None:
        if self._corpus is not None:
            self._corpus.read(position, n_chars)

    def read_all(self) -> None:
        if self._corpus is not None:
            self._corpus.read_all()

    def cut(self, n_passages: int) -> None:
        self._n_cut = n_passages
        if not self._counts_embedded:
            self._tell(n_passages)

    def embedded(self, shard: str, n_passages: int) -> None:
        self._n_embedded += n_passages - self._embedded_of.get(shard, 0)
        self._embedded_of[shard] = n_passages
        self._tell(self._n_embedded)

    def _tell(self, n_done: int) -> None:
        if self._progress is None:
            return
        share = self._corpus.share if self._corpus is not None else 0.0
        self._progress(n_done, max(round(self._n_cut / share), n_done) if share > 0 else None)

"""Building a datastore: documents stream in, shards come out one after the other, each finished for good.

Every shard takes two steps: `cut` in this process, in corpus order, and `index` (see workers), which needs nothing but
the shard's folder. Memory is bounded by a shard for each process. A build that was killed and is started again goes on
behind the last shard that was cut and ends with the same bytes.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
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
from reread.datastore.index import token_limit
from reread.datastore.inputs import (
    CorpusBytes,
    Stamp,
    check_stamps,
    check_unchanged,
    describe,
    fingerprint,
    label,
    stamps,
)
from reread.datastore.layout import (
    REJECTS,
    SHARD_FILE,
    SHARDS,
    STORE_FILE,
    disk_errors,
    id_hash,
    indexed_text,
    only_writer,
    read_store_file,
    shard_folder,
    shard_name,
    write_store_file,
)
from reread.datastore.lexical import ANALYSER, MAX_ROWS, check_analyser
from reread.datastore.shard import shard_facts
from reread.datastore.workers import Indexed, Indexer, MakeEmbedder, ProcessIndexer, SerialIndexer
from reread.errors import CorpusError, DatastoreError, UsageError
from reread.protocols import Embedder, Progress
from reread.runs import canonical_json, file_sha256
from reread.types import Document, Passage

DEFAULT_SHARD_PASSAGES = 100_000
BATCH_DOCUMENTS = 64
BATCH_CHARS = 1 << 20
"""Documents cut together: their ids are looked up, and their tokens counted, at once."""

Drop = Callable[[Passage], str | None]
Keep = Callable[[Document], str | None]
Engine = Literal["local", "ray"]


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What the store holds after a build."""

    store: Path
    n_documents: int
    n_passages: int
    n_shards: int
    n_new_shards: int
    """Shards that this call wrote; 0 where everything was finished before."""
    n_split: int = 0
    """Passages over the embedder's token limit that became several."""
    rejects: Mapping[str, int] = field(default_factory=dict)
    """Records (and dropped passages) not in the store, by reason, over all of its builds."""
    flops: float = 0.0
    """Embedding FLOPs of all shards, those of earlier calls too; 0 where the embedder does not count them."""


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
        content, number = begin(store, settings, inputs, append=append, files=files)
        if content["builds"][number]["finished"] and not missing_shards(store, content["builds"][number]):
            return report_of(store, content, n_new_shards=0)
        meter = _Meter(progress, CorpusBytes(files) if files else None, counts_embedded=embedder is not None)
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
        if documents is None and assembly.n_documents == 0 and not append:
            remove_empty(store)
            raise no_documents(corpora, assembly.rejects)
        if assembly.n_documents == 0 and not append:
            remove_empty(store)
            raise CorpusError(f"{' '.join(map(str, corpora)) or 'the corpus'} gave no documents")
        finish(store, content, number, assembly)
        return report_of(store, content, assembly.n_new_shards)


def begin(
    store: Path,
    settings: dict[str, Any],
    inputs: dict[str, Any],
    *,
    append: bool = False,
    files: Sequence[CorpusFile] = (),
) -> tuple[dict[str, Any], int]:
    """datastore.json's content, and which of its builds is of these inputs; a new, unfinished one where none was."""
    entry = {**inputs, "finished": False, "first_shard": 0, "rejects_start": 0, "stamps": stamps(files)}
    # Of an atomic write that was cut off.
    for path in store.glob(f".{STORE_FILE}.*.part") if store.exists() else ():
        path.unlink()
    if not (store / STORE_FILE).exists():
        if store.exists() and any(store.iterdir()):
            raise DatastoreError(f"{store} is not empty and is no datastore; choose another folder")
        content: dict[str, Any] = {**settings, "builds": [entry], "shards": []}
        write_store_file(store, content)
        return content, 0
    content = read_store_file(store)
    # First, as stores of earlier versions describe other settings in other words too.
    check_analyser(store, content)
    for key, value in settings.items():
        if content.get(key) != value:
            raise DatastoreError(
                f"{store} was built with {key} = {_show(content.get(key))}, not {_show(value)}; "
                "use the same setting, or build into another folder"
            )
    last = len(content["builds"]) - 1
    same = [number for number, other in enumerate(content["builds"]) if fingerprint(other) == fingerprint(inputs)]
    damaged = [number for number in same if missing_shards(store, content["builds"][number])]
    if damaged:
        return content, damaged[0]
    if not content["builds"][last]["finished"]:
        if last not in same:
            raise DatastoreError(
                f"{store} holds an unfinished build of {_show(content['builds'][last]['corpora'])}, not of what is "
                "given now (or it has changed since); finish it with its own corpus, or delete the folder"
            )
        check_stamps(files, inputs["files"], content["builds"][last]["stamps"])
        return content, last
    # Documents that come as a stream have no checksum, so a second stream of one name may hold others.
    if same and (not append or inputs["files"]):
        return content, same[-1]
    if not append:
        built = ", then ".join(_show(other["corpora"]) for other in content["builds"])
        raise DatastoreError(
            f"{store} was built from {built}, not from what is given now (or it has changed since); "
            "add to it with --append, or build into another folder"
        )
    # Counted before anything is written: a damaged list must not be added to.
    _count_reasons(store)
    content["builds"].append({**entry, "first_shard": len(content["shards"]), "rejects_start": _size(store / REJECTS)})
    write_store_file(store, content)
    return content, last + 1


def missing_shards(store: Path, entry: Mapping[str, Any]) -> list[int]:
    """The shards of a finished build that are not there, as where one was deleted to have it made again."""
    if not entry["finished"] or "n_shards" not in entry:
        return []
    numbers = range(entry["first_shard"], entry["first_shard"] + entry["n_shards"])
    return [number for number in numbers if not (shard_folder(store, number) / SHARD_FILE).is_file()]


def finish(store: Path, content: dict[str, Any], number: int, assembly: Assembly) -> None:
    """Write into datastore.json that this build is finished and what it made; nothing where it was a repair."""
    entry = content["builds"][number]
    if entry["finished"]:
        return
    entry.pop("stamps", None)
    content["shards"] = [shard_name(shard) for shard in range(assembly.n_shards)]
    entry["finished"] = True
    entry["n_shards"] = assembly.n_shards - entry["first_shard"]
    entry["rejects"] = dict(sorted(_count_reasons(store).items()))
    entry["rejects_bytes"] = _size(store / REJECTS)
    entry["rejects_sha256"] = file_sha256(store / REJECTS) if entry["rejects_bytes"] else None
    write_store_file(store, content)


def _show(value: Any) -> str:
    return value if isinstance(value, str) else canonical_json(value)


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


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _count_reasons(store: Path) -> Counter[str]:
    counts: Counter[str] = Counter()
    if (store / REJECTS).exists():
        with (store / REJECTS).open("rb") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    counts[json.loads(line)["reason"]] += 1
                except (ValueError, KeyError, TypeError) as error:
                    raise DatastoreError(
                        f"{store / REJECTS} line {number} is damaged; delete the folder {store}, then build it again"
                    ) from error
    return counts


def remove_empty(store: Path) -> None:
    """Leave no half-made store behind where the corpus held nothing."""
    shutil.rmtree(store / SHARDS, ignore_errors=True)
    for name in (REJECTS, STORE_FILE):
        (store / name).unlink(missing_ok=True)


def report_of(store: Path, content: Mapping[str, Any], n_new_shards: int) -> BuildReport:
    """What the store holds, from its shards."""
    report = BuildReport(store, 0, 0, len(content["shards"]), n_new_shards)
    # After a repair, shards of another build may still be missing.
    for name in (name for name in content["shards"] if (store / SHARDS / name / SHARD_FILE).is_file()):
        facts = shard_facts(store / SHARDS / name)
        report = replace(
            report,
            n_documents=report.n_documents + facts["n_documents"],
            n_passages=report.n_passages + facts["n_passages"],
            n_split=report.n_split + facts.get("n_split", 0),
            flops=report.flops + facts.get("embed_flops", 0),
        )
    return replace(report, rejects=content["builds"][-1].get("rejects", {}))

"""Building a datastore: documents stream in, shards come out one after the other, each finished for good.

Memory is bounded by one shard. A build that was killed and is started again goes on behind its last finished shard
and ends with the same bytes: shards are cut at document ends, in corpus order, by nothing but the settings.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
from reread.corpus.find import HUB_PREFIX
from reread.datastore.layout import (
    REJECTS,
    SHARD_FILE,
    SHARDS,
    STORE_FILE,
    disk_errors,
    id_hash,
    only_writer,
    read_store_file,
    shard_name,
    write_store_file,
)
from reread.datastore.lexical import ANALYSER, MAX_ROWS
from reread.datastore.shard import Shard
from reread.datastore.writer import ShardWriter
from reread.errors import CorpusError, DatastoreError, UsageError
from reread.protocols import Embedder, Progress
from reread.runs import canonical_json, file_sha256
from reread.types import Document, Passage

logger = logging.getLogger(__name__)

DEFAULT_SHARD_PASSAGES = 100_000
Drop = Callable[[Passage], str | None]


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What the store holds after a build."""

    store: Path
    n_documents: int
    n_passages: int
    n_shards: int
    n_new_shards: int
    """Shards that this call wrote; 0 where everything was finished before."""
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
    shard_passages: int = DEFAULT_SHARD_PASSAGES,
    append: bool = False,
    drop: Drop | None = None,
    documents: Iterable[Document] | None = None,
    made_from: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> BuildReport:
    """Build, finish or extend the datastore in the folder `store`, and say what it then holds.

    corpora: CORPUS words (see corpus.read_documents), or the label of `documents` where those are given; documents
    must then come in the same order on every call, as a resumed build skips the ones it has. drop: a reason for every
    passage that must stay out, None for the others; the reason is counted in rejects.jsonl. made_from: what else
    decided the content (the settings behind `documents` and `drop`), recorded and compared like every setting.
    A document whose id came before is rejected as "duplicate_id". progress: (passages done, None).

    A finished store of the same settings that this corpus is in already, from its first build or a later one, is left
    as it is. Raises CorpusError for a corpus that is missing
    or holds nothing readable, DatastoreError where the store has other settings (named) or the corpus has changed,
    RereadError where the disk is full.
    """
    check_chunking(chunk_words, overlap_words)
    if not 1 <= shard_passages <= MAX_ROWS // 16:
        raise UsageError(f"shard passages must be from 1 to {MAX_ROWS // 16}, not {shard_passages}")
    files = [] if documents is not None else find_files(corpora)
    settings = {
        "embedder": embedder.spec if embedder is not None else None,
        "chunking": {"unit": "words", "chunk_words": chunk_words, "overlap_words": overlap_words},
        "analyser": ANALYSER,
        "shard_passages": shard_passages,
    }
    inputs: dict[str, Any] = {
        "corpora": [_label(os.fspath(corpus)) for corpus in corpora],
        "files": [_describe(file) for file in files],
        "made_from": dict(made_from or {}),
    }
    with disk_errors(store, "while building"), only_writer(store):
        content = _begin(store, settings, inputs, append)
        this_build = content["builds"][-1]
        if this_build["finished"] and _is_missing_a_shard(store, content):
            this_build["finished"] = False
        if this_build["finished"]:
            return _report(store, content, n_new_shards=0)
        maker = _Maker(store, content, embedder, shard_passages, progress)
        with maker.rejects:
            if documents is None:
                stream = read_from(files, maker.position, rejects=maker.rejects)
            else:
                stream = _numbered(documents, maker.position)
            for position, document in stream:
                maker.take(position, document, list(chunk(document, chunk_words, overlap_words)), drop)
            maker.finish_shard()
        _check_unchanged(files, inputs["files"])
        content = maker.content
        if maker.n_documents == 0 and not append:
            _remove_empty(store)
            if documents is None:
                raise no_documents(corpora, maker.rejects)
            raise CorpusError(f"{' '.join(map(str, corpora)) or 'the corpus'} gave no documents")
        this_build["finished"] = True
        this_build["rejects"] = dict(sorted(_count_reasons(store).items()))
        write_store_file(store, content)
        return _report(store, content, maker.n_new_shards)


def _label(corpus: str) -> str:
    """What the store remembers of a CORPUS: its base name, as a store is passed on and paths are private."""
    if corpus.startswith(HUB_PREFIX):
        return corpus
    # "." and "/" have no name.
    return Path(corpus).name or corpus


def _describe(file: CorpusFile) -> dict[str, Any]:
    if file.path is None:
        return {"name": file.name}
    try:
        status = file.path.stat()
        return {"name": file.name, "bytes": status.st_size, "sha256": file_sha256(file.path)}
    except OSError as error:
        # One unreadable file must not stop the rest: it is rejected when its turn comes.
        return {"name": file.name, "unreadable": error.strerror}


def _begin(store: Path, settings: dict[str, Any], inputs: dict[str, Any], append: bool) -> dict[str, Any]:
    """datastore.json's content with an unfinished last build of these inputs, or a finished one where all is done."""
    build_entry = {**inputs, "finished": False, "rejects_start": _size(store / REJECTS)}
    if not (store / STORE_FILE).exists():
        if store.exists() and any(store.iterdir()):
            raise DatastoreError(f"{store} is not empty and is no datastore; choose another folder for --store")
        content: dict[str, Any] = {**settings, "builds": [build_entry], "shards": []}
        write_store_file(store, content)
        return content
    content = read_store_file(store)
    for key, value in settings.items():
        if content.get(key) != value:
            raise DatastoreError(
                f"{store} was built with {key} = {_show(content.get(key))}, not {_show(value)}; "
                "use the same setting, or build into another folder"
            )
    last = content["builds"][-1]
    same = [entry for entry in content["builds"] if _fingerprint(entry) == _fingerprint(inputs)]
    if not last["finished"]:
        if last not in same:
            raise DatastoreError(
                f"{store} holds an unfinished build of {_show(last['corpora'])}, not of what is given now (or it has "
                "changed since); finish it with its own corpus, or delete the folder"
            )
        return content
    # Documents that come as a stream have no checksum, so a second stream of one name may hold others.
    if same and (not append or inputs["files"]):
        return content
    if not append:
        built = ", then ".join(_show(entry["corpora"]) for entry in content["builds"])
        raise DatastoreError(
            f"{store} was built from {built}, not from what is given now (or it has changed since); "
            "add to it with --append, or build into another folder"
        )
    content["builds"].append(build_entry)
    write_store_file(store, content)
    return content


def _is_missing_a_shard(store: Path, content: Mapping[str, Any]) -> bool:
    """Whether a shard was deleted to have it made again, as `verify` advises for stores of a single build."""
    return len(content["builds"]) == 1 and not all(
        (store / SHARDS / name / SHARD_FILE).is_file() for name in content["shards"]
    )


def _fingerprint(build_entry: Mapping[str, Any]) -> str:
    """What must not change between two calls of one build; not the folders, so that a corpus may be moved."""
    if build_entry["files"]:
        return canonical_json([build_entry["files"], build_entry["made_from"]])
    # Stores of earlier versions hold whole paths.
    return canonical_json([[_label(corpus) for corpus in build_entry["corpora"]], build_entry["made_from"]])


def _show(value: Any) -> str:
    return value if isinstance(value, str) else canonical_json(value)


def _numbered(documents: Iterable[Document], start: Position) -> Iterator[tuple[Position, Document]]:
    for number, document in enumerate(documents, 1):
        if number > start.record:
            yield Position(0, number), document


class _Maker:
    """Fills shards one after the other; knows the position behind the last finished one."""

    def __init__(
        self,
        store: Path,
        content: dict[str, Any],
        embedder: Embedder | None,
        shard_passages: int,
        progress: Progress | None,
    ) -> None:
        self.store = store
        self.content = content
        self.position = Position(0, 0)
        self.n_documents = 0
        self.n_passages = 0
        self.n_new_shards = 0
        self._embedder = embedder
        self._shard_passages = shard_passages
        self._progress = progress
        self._build_number = len(content["builds"]) - 1
        self._finished: list[Shard] = []
        self._writer: ShardWriter | None = None
        rejects_bytes = int(content["builds"][-1]["rejects_start"])
        self._adopt_finished_shards()
        for shard in self._finished:
            if shard.facts["build"] == self._build_number:
                self.position = Position(*shard.facts["position"])
                rejects_bytes = shard.facts["rejects_bytes"]
                self.n_documents += shard.facts["n_documents"]
            self.n_passages += shard.n_passages
        if (store / REJECTS).exists():
            # What was rejected after the last finished shard is read, and rejected, again.
            os.truncate(store / REJECTS, rejects_bytes)
        self.rejects = Rejects(store / REJECTS)

    def _adopt_finished_shards(self) -> None:
        for number in range(1 << 30):
            folder = self.store / SHARDS / shard_name(number)
            if not (folder / SHARD_FILE).is_file():
                break
            self._finished.append(Shard(folder))
        self.content["shards"] = [shard_name(number) for number in range(len(self._finished))]

    def take(self, position: Position, document: Document, passages: list[Passage], drop: Drop | None) -> None:
        self.position = position
        if self._writer is None:
            self._writer = ShardWriter(self.store / SHARDS / shard_name(len(self._finished)), self._embedder)
        hashed = id_hash(document.id)
        if self._writer.has_document(document.id) or any(
            shard.rows_of(document.id, hashed) for shard in self._finished
        ):
            self.rejects.add(document.source, document.id, "duplicate_id")
            return
        if drop is not None:
            kept = []
            for passage in passages:
                reason = drop(passage)
                if reason is None:
                    kept.append(passage)
                else:
                    self.rejects.add(document.source, passage.id, reason)
            passages = kept
        self._writer.add_document(document.id, passages)
        self.n_documents += 1
        self.n_passages += len(passages)
        if self._progress is not None:
            self._progress(self.n_passages, None)
        if self._writer.n_passages >= self._shard_passages:
            self.finish_shard()

    def finish_shard(self) -> None:
        if self._writer is None:
            return
        if self._writer.n_passages == 0:
            # Only duplicates or dropped passages since the last shard: there is nothing to search in.
            self._writer.abandon()
            shutil.rmtree(self._writer.folder)
            self._writer = None
            return
        self._writer.finish(
            {
                "build": self._build_number,
                "position": [self.position.file, self.position.record],
                "rejects_bytes": self.rejects.flush(),
            }
        )
        logger.info("shard %s finished: %d passages", self._writer.folder.name, self._writer.n_passages)
        self._finished.append(Shard(self._writer.folder))
        self.n_new_shards += 1
        self.content["shards"].append(self._writer.folder.name)
        self._writer = None


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _check_unchanged(files: Sequence[CorpusFile], described: Sequence[Mapping[str, Any]]) -> None:
    for file, before in zip(files, described, strict=True):
        if _describe(file) != before:
            raise DatastoreError(
                f"{file.path} changed while it was read; let it rest, delete the store and build it again"
            )


def _count_reasons(store: Path) -> Counter[str]:
    import json

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


def _remove_empty(store: Path) -> None:
    """Leave no half-made store behind where the corpus held nothing."""
    shutil.rmtree(store / SHARDS, ignore_errors=True)
    for name in (REJECTS, STORE_FILE):
        (store / name).unlink(missing_ok=True)


def _report(store: Path, content: Mapping[str, Any], n_new_shards: int) -> BuildReport:
    shards = [Shard(store / SHARDS / name) for name in content["shards"]]
    return BuildReport(
        store=store,
        n_documents=sum(shard.facts["n_documents"] for shard in shards),
        n_passages=int(np.sum([shard.n_passages for shard in shards], dtype=np.int64)),
        n_shards=len(shards),
        n_new_shards=n_new_shards,
        rejects=content["builds"][-1]["rejects"],
        flops=sum(shard.embed_flops for shard in shards),
    )

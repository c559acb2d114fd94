"""A share of a store's documents as a store of its own: nothing is read, chunked or embedded again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from reread.corpus import Position
from reread.datastore.assembly import Assembly, Seen, Taken
from reread.datastore.cut import DocumentRows
from reread.datastore.entries import BuildReport, begin, finish, is_whole, remove_empty, report_of
from reread.datastore.inputs import label
from reread.datastore.layout import (
    SHARDS,
    TOMBSTONES,
    disk_errors,
    id_hash,
    is_signed_rightly,
    only_writer,
    read_store_file,
)
from reread.datastore.lexical import check_analyser
from reread.datastore.shard import Shard, shard_facts
from reread.datastore.workers import SerialIndexer
from reread.errors import DatastoreError, UsageError
from reread.protocols import Progress
from reread.runs import JsonLines, content_hash, write_text_atomically

SETTINGS = ("embedder", "chunking", "analyser", "shard_passages")


def subset(store: Path, out: Path, *, fraction: float, seed: int = 0, progress: Progress | None = None) -> BuildReport:
    """Write the store of a share of the documents of `store` into the folder `out`; say what it holds.

    Whether a document is drawn depends on its id and the seed alone, so that subsets of one seed nest (0.1 within
    0.2) and a store cut in other shards gives the same documents. Vectors are copied, statistics are the subset's own:
    it is what a build of the drawn documents would be. Hidden passages stay hidden. Resumable like a build; `store`
    is only read. progress: (passages drawn, about how many there will be).

    Raises UsageError for a fraction outside (0, 1], DatastoreError where `store` is none or unfinished, or `out` is
    something else; CorpusError's kind where no document is drawn.
    """
    if not 0 < fraction <= 1:
        raise UsageError(f"the fraction must be above 0 and at most 1, not {fraction}")
    store, out = Path(store), Path(out)
    facts = finished_store(store)
    check_apart(out, [store])
    drawn = {"fraction": fraction, "seed": seed, "of": identity(store, facts)}
    inputs: dict[str, Any] = {"corpora": [label(str(store.resolve()))], "files": [], "made_from": {"subset": drawn}}
    with disk_errors(out, "while writing a subset"), only_writer(out):
        content, number = begin(out, {key: facts[key] for key in SETTINGS}, inputs)
        if is_whole(out, content["builds"][number]):
            return report_of(out, content, n_new_shards=0)
        n_all = sum(shard_facts(store / SHARDS / name)["n_passages"] for name in facts["shards"])

        def told(n_passages: int) -> None:
            if progress is not None:
                progress(n_passages, max(n_passages, round(n_all * fraction)))

        def source(start: Position, seen: Seen) -> Iterator[Taken]:
            for shard_number in range(start.file, len(facts["shards"])):
                shard = Shard(store / SHARDS / facts["shards"][shard_number])
                first = start.record if shard_number == start.file else 0
                for record, rows in documents_of(shard, lambda doc_id: is_drawn(doc_id, fraction, seed), first):
                    yield Taken(Position(shard_number, record), rows, id_hash(rows.doc_id), n_documents=1)

        assembly = Assembly(out, content, number, facts["shard_passages"], SerialIndexer(), told)
        assembly.make(source)
        if assembly.n_documents == 0:
            remove_empty(out)
            raise DatastoreError(f"of {store} no document is drawn at {fraction}; use a larger fraction")
        if not content["builds"][number]["finished"]:
            write_tombstones(
                out, (line for line in tombstones(store) if is_drawn(doc_of(line["passage_id"]), fraction, seed))
            )
        finish(out, content, number, assembly)
        return report_of(out, content, assembly.n_new_shards)


def is_drawn(doc_id: str, fraction: float, seed: int) -> bool:
    """Whether a subset of this seed holds the document; larger fractions hold what smaller ones hold."""
    digest = hashlib.blake2b(f"{seed}\x1f{doc_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") < fraction * 2**64


def finished_store(store: Path) -> dict[str, Any]:
    """datastore.json's content. Raises DatastoreError where the store is not whole, or indexed in another way."""
    facts = read_store_file(store)
    if not is_signed_rightly(facts) or not all(entry["finished"] for entry in facts["builds"]):
        raise DatastoreError(f"{store} is unfinished or damaged; for what to do run: reread verify {store}")
    check_analyser(store, facts)
    return facts


def check_apart(out: Path, stores: Iterable[Path]) -> None:
    """Raises DatastoreError where `out` is one of the stores, or lies in one."""
    place = out.resolve()
    for store in stores:
        if place.is_relative_to(store.resolve()):
            raise DatastoreError(f"{out} lies in the store {store}, which must not change; choose another --out")


def identity(store: Path, facts: Mapping[str, Any]) -> str:
    """The checksum of what a store holds: its shards, which never change, and what is hidden of them."""
    shards = [content_hash(shard_facts(store / SHARDS / name)["files"]) for name in facts["shards"]]
    return content_hash([shards, [line["passage_id"] for line in tombstones(store)]])


def documents_of(shard: Shard, wanted: Callable[[str], bool], first: int = 0) -> Iterator[tuple[int, DocumentRows]]:
    """(number from 1, rows) of every document of a shard behind the `first`, in order, whose id is wanted."""
    import pyarrow as pa

    documents = shard.documents()
    table = pa.Table.from_batches([shard.batch(number) for number in range(shard.n_batches)])
    rows, counts = documents["row"].astype(np.int64), documents["count"].astype(np.int64)
    doc_ids = table.column("doc_id").take(pa.array(rows)).to_pylist()
    vectors = shard.vectors if shard.facts["dimension"] is not None else None
    flops_each = shard.embed_flops / shard.n_passages
    for number in range(first, len(doc_ids)):
        if not wanted(doc_ids[number]):
            continue
        row, count = int(rows[number]), int(counts[number])
        columns = table.slice(row, count).to_pydict()
        yield (
            number + 1,
            DocumentRows(
                doc_id=doc_ids[number],
                source=columns["source"][0],
                title=columns["title"][0],
                url=columns["url"][0],
                meta=columns["meta"][0],
                ids=columns["id"],
                starts=columns["start"],
                texts=columns["text"],
                n_words=columns["n_words"],
                vectors=np.array(vectors[row : row + count]) if vectors is not None else None,
                embed_flops=flops_each * count,
            ),
        )


def doc_of(passage_id: str) -> str:
    """A passage's id is its document's, a colon and its start."""
    return passage_id.rpartition(":")[0]


def tombstones(store: Path) -> Iterator[dict[str, Any]]:
    """The lines of tombstones.jsonl. Raises RunFolderError for a damaged one."""
    yield from JsonLines(store / TOMBSTONES).read("passage_id")


def write_tombstones(store: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    if text:
        write_text_atomically(store / TOMBSTONES, text)

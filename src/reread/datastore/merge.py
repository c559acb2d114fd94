"""Several stores as one: finished shards are taken as they are, and no document comes twice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from reread.corpus import Position
from reread.datastore.assembly import Assembly, Seen, Taken
from reread.datastore.entries import BuildReport, begin, finish, is_whole, report_of
from reread.datastore.inputs import label
from reread.datastore.layout import SHARDS, disk_errors, id_hash, only_writer, shard_folder
from reread.datastore.shard import Shard, shard_facts
from reread.datastore.subset import (
    SETTINGS,
    check_apart,
    doc_of,
    documents_of,
    finished_store,
    identity,
    tombstones,
    write_tombstones,
)
from reread.datastore.workers import SerialIndexer
from reread.errors import DatastoreError, UsageError
from reread.protocols import Progress

SAME = tuple(name for name in SETTINGS if name != "shard_passages")


def merge(stores: Sequence[Path], out: Path, *, progress: Progress | None = None) -> BuildReport:
    """Write the store that holds the documents of all `stores`, in their order, into the folder `out`.

    Of a document id that comes again the first document is kept, as in a build: the later one is rejected as
    "duplicate_id" and its shard is written anew without it, so that search, statistics included, is that of one build
    of all corpora. All other shards share their files with the stores they come from (hard links; copies across
    disks); nothing is embedded again and the stores are only read. Hidden passages stay hidden; rejects.jsonl lists
    what the merge left out. Resumable like a build. progress: (passages taken, of all).

    Raises DatastoreError where one is no finished store, where embedder, chunking or analyser differ (named), or
    `out` is something else.
    """
    stores, out = [Path(store) for store in stores], Path(out)
    if not stores:
        raise UsageError("no store was named; give the folders of the stores to merge")
    all_facts = [finished_store(store) for store in stores]
    check_apart(out, stores)
    _check_alike(stores, all_facts)
    merged = [identity(store, facts) for store, facts in zip(stores, all_facts, strict=True)]
    inputs: dict[str, Any] = {
        "corpora": [label(str(store.resolve())) for store in stores],
        "files": [],
        "made_from": {"merge": merged},
    }
    with disk_errors(out, "while merging"), only_writer(out):
        content, number = begin(out, {key: all_facts[0][key] for key in SETTINGS}, inputs)
        if is_whole(out, content["builds"][number]):
            return report_of(out, content, n_new_shards=0)
        shards = [
            [store / SHARDS / name for name in facts["shards"]] for store, facts in zip(stores, all_facts, strict=True)
        ]
        n_all = sum(shard_facts(folder)["n_passages"] for folders in shards for folder in folders)

        def told(n_passages: int) -> None:
            if progress is not None:
                progress(n_passages, n_all)

        def source(start: Position, seen: Seen) -> Iterator[Taken]:
            for store_number in range(start.file, len(shards)):
                first = start.record if store_number == start.file else 0
                for shard_number in range(first, len(shards[store_number])):
                    before, behind = Position(store_number, shard_number), Position(store_number, shard_number + 1)
                    yield from _taken(shards[store_number][shard_number], before, behind, seen)

        # Shards end where the stores' shards end.
        assembly = Assembly(out, content, number, n_all + 1, SerialIndexer(), told)
        assembly.make(source)
        if not content["builds"][number]["finished"]:
            write_tombstones(out, _hidden(stores, out, assembly.n_shards))
        finish(out, content, number, assembly)
        return report_of(out, content, assembly.n_new_shards)


def _check_alike(stores: Sequence[Path], all_facts: Sequence[Mapping[str, Any]]) -> None:
    for store, facts in zip(stores, all_facts, strict=True):
        for key in SAME:
            if facts[key] != all_facts[0][key]:
                raise DatastoreError(
                    f"{stores[0]} was built with {key} = {all_facts[0][key]}, {store} with {facts[key]}; "
                    "only stores of the same settings can be merged"
                )
    dimensions = {
        shard_facts(store / SHARDS / name)["dimension"]
        for store, facts in zip(stores, all_facts, strict=True)
        for name in facts["shards"]
    }
    if len(dimensions) > 1:
        raise DatastoreError(
            f"the stores hold vectors of dimensions {sorted(map(str, dimensions))}; only stores of one can be merged"
        )


def _taken(folder: Path, before: Position, behind: Position, seen: Seen) -> Iterator[Taken]:
    shard = Shard(folder)
    documents = shard.documents()
    hashes = np.ascontiguousarray(documents["hash"])
    ids = [shard.doc_id(row) for row in documents["row"].tolist()]
    known = {doc_id for doc_id, is_known in zip(ids, seen(ids, hashes), strict=True) if is_known}
    if not known:
        yield Taken(behind, None, whole=folder, n_documents=len(ids))
        return
    source = shard.folder.parent.parent.resolve().name
    for _, rows in documents_of(shard, lambda doc_id: doc_id not in known):
        yield Taken(before, rows, id_hash(rows.doc_id), n_documents=1)
    repeated = [(source, doc_id, "duplicate_id") for doc_id in ids if doc_id in known]
    yield Taken(behind, None, rejects=repeated, ends_shard=True)


def _hidden(stores: Sequence[Path], out: Path, n_shards: int) -> Iterator[dict[str, Any]]:
    """The tombstones of the documents that were taken: one of a document that was left out hides nothing here."""
    taken_from = [shard_facts(shard_folder(out, number))["position"][0] for number in range(n_shards)]
    for store_number, store in enumerate(stores):
        lines = list(tombstones(store))
        wanted = {doc_of(line["passage_id"]) for line in lines}
        taken = set()
        for number in (number for number, origin in enumerate(taken_from) if origin == store_number and wanted):
            shard = Shard(shard_folder(out, number))
            taken |= {doc_id for doc_id in wanted if shard.rows_of(doc_id)}
        yield from (line for line in lines if doc_of(line["passage_id"]) in taken)

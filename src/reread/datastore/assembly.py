"""The shards of one build, in order: those that are there are kept, those that are missing are cut and indexed.

Shards end where documents end, in the order of the input, by nothing but their size: so whatever stopped a build, what
is made afterwards is what would have been made. Used by all that makes stores: build, subset, merge.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reread.corpus import Position, Rejects
from reread.datastore.cut import CutWriter, DocumentRows
from reread.datastore.index import clear_work, cut_facts
from reread.datastore.known_ids import WORK_FOLDER, Hashes, KnownIds
from reread.datastore.layout import (
    CUT_FILE,
    REJECTS,
    SHARD_FILE,
    SHARDS,
    flush_to_disk,
    shard_folder,
    shard_name,
    signed,
)
from reread.datastore.shard import shard_facts
from reread.datastore.workers import Indexer
from reread.errors import DatastoreError
from reread.runs import write_json_atomically

Reject = tuple[str, str | int, str]
"""Source, record, reason."""

Seen = Callable[[list[str], Hashes], list[bool]]
"""Of ids with their hashes: whether the store, or what is being added to it, holds such a document already."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of the next document of an input."""

    position: Position
    rows: DocumentRows | None
    """None where no passage of it is kept."""
    hashed: int = 0
    """Its id_hash."""
    rejects: Sequence[Reject] = ()
    """What was rejected on the way to it, and of it."""
    n_documents: int = 0
    """1 for a document that is taken, with passages or without; 0 for one that is rejected."""
    whole: Path | None = None
    """Instead of a document: the folder of a finished shard of another store, to be taken as it is."""
    ends_shard: bool = False
    """Whether a shard ends behind it, of whatever size."""
    n_split: int = 0
    """Passages of it that were over the embedder's limit and became several."""


Source = Callable[[Position, Seen], Iterator[Taken]]
"""The documents of a build's input behind a position, in order, the same on every call."""


class Assembly:
    """Makes the shards of one entry of datastore.json's "builds"."""

    def __init__(
        self,
        store: Path,
        content: dict[str, Any],
        number: int,
        shard_passages: int,
        indexer: Indexer,
        on_cut: Callable[[int], None],
    ) -> None:
        self._store = store
        self._number = number
        self._entry = content["builds"][number]
        self._is_repair = bool(self._entry["finished"])
        self._shard_passages = shard_passages
        self._indexer = indexer
        self._on_cut = on_cut
        self.n_passages = 0
        """In all shards that are cut so far, those of earlier builds too."""
        self.n_new_shards = 0
        self.n_documents = 0
        """Taken by this build, those without passages too where they were taken in this call."""
        self._first = int(self._entry["first_shard"])
        self._writer: CutWriter | None = None
        self._n_split = 0
        self.rejects = Rejects(store / REJECTS)

    @property
    def n_shards(self) -> int:
        """Of the store, once `make` is through."""
        return self._first + int(self._entry["n_shards"]) if self._is_repair else self._next

    def make(self, source: Source) -> None:
        """Cut and index what is missing. Raises DatastoreError where a shard of an earlier build is missing."""
        present = self._present()
        self._begin_rejects(present)
        with KnownIds(self._store) as self._known, self._indexer, self.rejects:
            for number in range(self._first):
                self._known.add_shard(number)
            for number in sorted(present):
                self._known.add_shard(number)
                self.n_passages += present[number]["n_passages"]
                self.n_documents += present[number]["n_documents"]
                if not (shard_folder(self._store, number) / SHARD_FILE).is_file():
                    self._indexer.submit(shard_folder(self._store, number))
            for first, last in self._missing(present):
                before = present.get(first - 1)
                start = Position(*before["position"]) if before else Position(0, 0)
                self._cut(source, start, first, last)
            self._indexer.finish()
            self._check_all_indexed()

    def _present(self) -> dict[int, dict[str, Any]]:
        """The facts of the shards of this build that were cut, by number."""
        last = self._first + int(self._entry["n_shards"]) if self._is_repair else None
        folders = self._store / SHARDS
        names = [path.name for path in folders.iterdir()] if folders.exists() else []
        present = {}
        for number in sorted(int(name) for name in names if name.isdecimal()):
            folder = shard_folder(self._store, number)
            if number < self._first or (last is not None and number >= last):
                continue
            clear_work(folder)
            if (folder / SHARD_FILE).is_file():
                present[number] = shard_facts(folder)
            elif (folder / CUT_FILE).is_file():
                present[number] = cut_facts(folder)
        for number in range(self._first):
            if not (shard_folder(self._store, number) / SHARD_FILE).is_file():
                raise DatastoreError(
                    f"shard {shard_name(number)} of an earlier build is missing or unfinished; for what to do run: "
                    f"reread verify {self._store}"
                )
        return present

    def _missing(self, present: dict[int, dict[str, Any]]) -> Iterator[tuple[int, int | None]]:
        """(first, last) of each run of shards to be cut; last None where the input says how many."""
        end = self.n_shards if self._is_repair else max(present, default=self._first - 1) + 1
        first = None
        for number in range(self._first, end):
            if number not in present and first is None:
                first = number
            if number in present and first is not None:
                yield first, number - 1
                first = None
        if self._is_repair and first is not None:
            yield first, end - 1
        elif not self._is_repair:
            # Behind the last shard there was no gap, as that is where the cutting stopped.
            self._next = end
            yield end, None

    def _begin_rejects(self, present: dict[int, dict[str, Any]]) -> None:
        """What was rejected behind the last shard that was cut is read, and rejected, again."""
        if self._is_repair:
            return
        n_bytes = present[max(present)]["rejects_bytes"] if present else int(self._entry["rejects_start"])
        if (self._store / REJECTS).exists():
            os.truncate(self._store / REJECTS, n_bytes)

    def _cut(self, source: Source, start: Position, first: int, last: int | None) -> None:
        """Cut the shards from `first` on, up to `last` or to the end of the input."""
        rejects, n_bytes_before = self.rejects, 0
        if last is not None:
            # What is rejected while shards are cut once more is in the list already: only its length is wanted.
            rejects, n_bytes_before = Rejects(self._store / WORK_FOLDER / REJECTS), self._rejects_bytes_before(first)
            (self._store / WORK_FOLDER / REJECTS).unlink(missing_ok=True)
        number, position = first, start

        def seen(ids: list[str], hashes: Hashes) -> list[bool]:
            # Where a missing shard is cut once more, there are shards behind it, and what they hold came later.
            found = self._known.holds(ids, hashes, before=number)
            return [
                is_known or (self._writer is not None and self._writer.has_document(doc_id))
                for doc_id, is_known in zip(ids, found, strict=True)
            ]

        for taken in source(start, seen):
            position = taken.position
            self.n_documents += taken.n_documents
            for reject in taken.rejects:
                rejects.add(*reject)
            if taken.rows is not None:
                if self._writer is None:
                    self._writer = CutWriter(shard_folder(self._store, number))
                self._writer.add(taken.rows, taken.hashed)
                self._n_split += taken.n_split
                self.n_passages += len(taken.rows.ids)
                self._on_cut(self.n_passages)
            is_full = self._writer is not None and (taken.ends_shard or self._writer.n_passages >= self._shard_passages)
            if is_full:
                self._finish_cut(number, position, n_bytes_before + rejects.flush())
            elif taken.whole is not None:
                self._take_whole(number, taken.whole, position, n_bytes_before + rejects.flush())
            else:
                continue
            number += 1
            if last is not None and number > last:
                return
        if self._writer is not None:
            self._finish_cut(number, position, n_bytes_before + rejects.flush())
            number += 1
        if last is None:
            self._next = number
            rejects.flush()
        elif number <= last:
            raise DatastoreError(
                f"the corpus ends before shard {shard_name(number)}, so it is not the one that {self._store} was built "
                f"from; delete the folder {self._store}, then build it again"
            )

    def _finish_cut(self, number: int, position: Position, rejects_bytes: int) -> None:
        assert self._writer is not None
        split = {"n_split": self._n_split} if self._n_split else {}
        self._writer.finish(
            {
                "build": self._number,
                "position": [position.file, position.record],
                "rejects_bytes": rejects_bytes,
                **split,
            }
        )
        folder, self._writer, self._n_split = self._writer.folder, None, 0
        self.n_new_shards += 1
        self._known.add_shard(number)
        self._indexer.submit(folder)

    def _take_whole(self, number: int, theirs: Path, position: Position, rejects_bytes: int) -> None:
        """Another store's shard as a shard of this one: its files are shared where the disk allows, else copied."""
        folder, facts = shard_folder(self._store, number), shard_facts(theirs)
        if folder.exists():
            shutil.rmtree(folder)
        for name in facts["files"]:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            try:
                (folder / name).hardlink_to(theirs / name)
            except OSError:
                shutil.copyfile(theirs / name, folder / name)
                flush_to_disk(folder / name)
        ours = {"build": self._number, "position": [position.file, position.record], "rejects_bytes": rejects_bytes}
        write_json_atomically(folder / SHARD_FILE, signed({**facts, **ours}))
        self.n_passages += facts["n_passages"]
        self.n_new_shards += 1
        self._known.add_shard(number)
        self._on_cut(self.n_passages)

    def _rejects_bytes_before(self, number: int) -> int:
        """How long the list of rejects was when the shard before this one was cut."""
        if number == self._first:
            return int(self._entry["rejects_start"])
        folder = shard_folder(self._store, number - 1)
        facts = shard_facts(folder) if (folder / SHARD_FILE).is_file() else cut_facts(folder)
        return int(facts["rejects_bytes"])

    def _check_all_indexed(self) -> None:
        for number in range(self._first, self.n_shards):
            folder = shard_folder(self._store, number)
            clear_work(folder)
            if not (folder / SHARD_FILE).is_file():
                raise DatastoreError(f"shard {folder.name} was not finished; run the same command again")

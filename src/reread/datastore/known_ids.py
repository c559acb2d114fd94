"""Which documents the store holds already: 12 bytes each on disk, looked up in a few sorted files.

A log-structured merge: every shard's sorted hashes are a run; eight runs of one level are merged into one of the next,
so that a look-up is a binary search in at most seven runs a level, however many shards there are. A hash that is
found is only a candidate: the id itself is read in the shard it points to.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from reread.datastore.layout import DOCUMENTS, load_array, shard_folder
from reread.datastore.shard import ShardPassages

FAN_OUT = 8
MERGED_AT_ONCE = 1 << 21
"""Hashes in memory while runs are merged: 24 MB with their shard numbers, and as much again for the order."""
OPEN_SHARDS = 16
WORK_FOLDER = ".ids"

Hashes = npt.NDArray[np.uint64]
Numbers = npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class _Run:
    """Ascending hashes, and the shard of each."""

    hashes: Hashes
    shards: Numbers
    files: tuple[Path, ...] = ()


class KnownIds:
    """Use as a context manager: the working files in the store's folder go when it is left."""

    def __init__(self, store: Path) -> None:
        self._store = store
        self._folder = store / WORK_FOLDER
        self._levels: list[list[_Run]] = []
        self._n_files = 0
        self._open = lru_cache(maxsize=OPEN_SHARDS)(lambda number: ShardPassages(shard_folder(store, number)))

    def __enter__(self) -> KnownIds:
        shutil.rmtree(self._folder, ignore_errors=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._levels = []
        self._open.cache_clear()
        shutil.rmtree(self._folder, ignore_errors=True)

    def add_shard(self, number: int) -> None:
        """Take in the documents of a shard that has been cut."""
        hashes = np.ascontiguousarray(load_array(shard_folder(self._store, number) / DOCUMENTS)["hash"])
        self._add(0, _Run(hashes, np.full(len(hashes), number, dtype=np.uint32)))

    def _add(self, level: int, run: _Run) -> None:
        if level == len(self._levels):
            self._levels.append([])
        self._levels[level].append(run)
        if len(self._levels[level]) == FAN_OUT:
            merging, self._levels[level] = self._levels[level], []
            self._add(level + 1, self._merge(merging))
            for path in (path for old in merging for path in old.files):
                path.unlink()

    def _merge(self, runs: list[_Run]) -> _Run:
        """One run of several, on disk, made in pieces of like size: hashes are spread evenly."""
        self._folder.mkdir(exist_ok=True)
        n = sum(len(run.hashes) for run in runs)
        files = tuple(self._folder / f"{self._n_files}.{kind}.npy" for kind in ("hashes", "shards"))
        self._n_files += 1
        # Not through memory maps: a full disk would be a SIGBUS there.
        with files[0].open("wb") as of_hashes, files[1].open("wb") as of_shards:
            for file, kind in ((of_hashes, "<u8"), (of_shards, "<u4")):
                np.lib.format.write_array_header_1_0(file, {"descr": kind, "fortran_order": False, "shape": (n,)})
            for hashes, shards in _pieces(runs, n):
                order = np.argsort(hashes, kind="stable")
                of_hashes.write(hashes[order].astype("<u8", copy=False).data)
                of_shards.write(shards[order].astype("<u4", copy=False).data)
        return _Run(load_array(files[0]), load_array(files[1]), files)

    def holds(self, ids: list[str], hashes: Hashes, before: int) -> list[bool]:
        """Of each id, with its id_hash, whether a shard of a number below `before` holds a document of that id."""
        found = [False] * len(ids)
        for run in (run for level in self._levels for run in level):
            places = np.searchsorted(run.hashes, hashes)
            places_there = np.minimum(places, max(len(run.hashes) - 1, 0))
            matches = run.hashes[places_there] == hashes if len(run.hashes) else np.zeros(len(hashes), dtype=np.bool_)
            for i in np.flatnonzero(matches).tolist():
                found[i] = found[i] or self._is_there(run, int(places[i]), ids[i], hashes[i], before)
        return found

    def _is_there(self, run: _Run, place: int, doc_id: str, hashed: np.uint64, before: int) -> bool:
        while place < len(run.hashes) and run.hashes[place] == hashed:
            shard = int(run.shards[place])
            if shard < before and self._open(shard).rows_of(doc_id, int(hashed)):
                return True
            place += 1
        return False


def _pieces(runs: list[_Run], n: int) -> Iterator[tuple[npt.NDArray[Any], npt.NDArray[Any]]]:
    n_pieces = -(-n // MERGED_AT_ONCE)
    bounds = [np.zeros(len(runs), dtype=np.int64)]
    for piece in range(1, n_pieces):
        edge = np.uint64((piece << 64) // n_pieces)
        bounds.append(np.array([np.searchsorted(run.hashes, edge) for run in runs]))
    bounds.append(np.array([len(run.hashes) for run in runs]))
    for low, high in itertools.pairwise(bounds):
        parts = [slice(a, b) for a, b in zip(low.tolist(), high.tolist(), strict=True)]
        yield (
            np.concatenate([run.hashes[part] for run, part in zip(runs, parts, strict=True)]),
            np.concatenate([run.shards[part] for run, part in zip(runs, parts, strict=True)]),
        )

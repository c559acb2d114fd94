"""Search by the shards' approximate indexes, candidates scored exactly."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from reread.datastore.ann_shard import ANN_FILE, ann_facts, damaged_index, import_faiss, open_index, read_facts
from reread.datastore.exact import Best, ExactIndex, best_of
from reread.datastore.shard import Shard
from reread.errors import DatastoreError
from reread.flops import ann_search_flops
from reread.protocols import Vectors

logger = logging.getLogger(__name__)
Array = npt.NDArray[Any]

READ_BYTES = 1 << 20
"""Candidates' vectors held in memory at once."""


@dataclass(frozen=True, slots=True)
class AnnSetting:
    """What search for up to `k` hits does: the share of every shard's lists that is visited, the candidates scored."""

    k: int
    probed_share: float
    depth: int
    recall: float
    """Of the true k best found, on the tuning queries."""


class AnnIndex:
    """Searches the shards' indexes as one list of rows, numbered as ExactIndex numbers them.

    Shards without an index (small, or added later) are searched exactly; `unindexed` names those added later.
    """

    def __init__(self, shards: Sequence[Shard], exact: ExactIndex, settings: Sequence[AnnSetting]) -> None:
        self.exact = exact
        self.settings = sorted(settings, key=lambda setting: setting.k)
        self._shards = shards
        self._opened: dict[int, Any] = {}
        self._facts: dict[int, dict[str, Any]] = {}
        self.unindexed = []
        for number, shard in enumerate(shards):
            entry = ann_facts(shard.folder)
            if entry is None:
                self.unindexed.append(shard.folder.name)
            elif entry["index"]:
                self._facts[number] = entry
        self._scanned = [number for number in range(len(shards)) if number not in self._facts]
        self._scan = ExactIndex(
            [shards[number].n_passages for number in self._scanned],
            lambda place: shards[self._scanned[place]].vectors,
            exact.dimension,
        )

    def setting(self, k: int) -> AnnSetting | None:
        """The one tuned for at least k hits; beyond the largest, that with a depth in proportion."""
        for setting in self.settings:
            if setting.k >= k:
                return setting
        if not self.settings:
            return None
        last = self.settings[-1]
        return AnnSetting(k, last.probed_share, -(-last.depth * k // last.k), last.recall)

    def flops(self, k: int) -> float:
        """Of one query, by expectation: the lists visited hold their share of the passages."""
        total = ann_search_flops(self.exact.dimension, n_lists=0, n_codes=0, n_subquantisers=0, depth=len(self._scan))
        setting = self.setting(k)
        if setting is None or not self._facts:
            return total
        for number, entry in self._facts.items():
            total += ann_search_flops(
                self.exact.dimension,
                n_lists=entry["n_lists"],
                n_codes=setting.probed_share * self._shards[number].n_passages,
                n_subquantisers=entry["n_subquantisers"],
                depth=0,
            )
        return total + ann_search_flops(
            self.exact.dimension, n_lists=0, n_codes=0, n_subquantisers=0, depth=setting.depth
        )

    def search(self, queries: Vectors, k: int, hidden: Mapping[int, Array] | None = None) -> list[Best]:
        """As ExactIndex.search, nearly. A query that the lists visited give too few hits for is searched exactly."""
        hidden = hidden or {}
        setting = self.setting(k)
        if setting is None or not self._facts:
            return self.exact.search(queries, k, hidden)
        depth = max(setting.depth, k)
        at_once = max(READ_BYTES // (depth * self.exact.dimension * 2), 1)
        chosen = self.candidates(queries, setting.probed_share, depth, hidden)
        found: list[Best] = []
        for first in range(0, len(queries), at_once):
            some = slice(first, first + at_once)
            found += self.exact.score(queries[some], [line[line >= 0] for line in chosen[some]], k, in_memory=False)
        if self._scanned:
            part = {place: hidden[number] for place, number in enumerate(self._scanned) if number in hidden}
            found = [
                best_of(np.concatenate([rows, more]), np.concatenate([scores, of_more]), k)
                for (rows, scores), (more, of_more) in zip(
                    found, map(self._global, self._scan.search(queries, k, part)), strict=True
                )
            ]
        wanted = min(k, len(self.exact) - sum(int(mask.sum()) for mask in hidden.values()))
        short = [i for i, (best, _) in enumerate(found) if len(best) < wanted]
        if short:
            for i, best in zip(short, self.exact.search(queries[short], k, hidden), strict=True):
                found[i] = best
        return found

    def candidates(self, queries: Vectors, share: float, depth: int, hidden: Mapping[int, Array]) -> Array:
        """int64 (q, depth): for each query the rows that look best, best first, −1 where there are fewer."""
        faiss = import_faiss()
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        best_rows = np.full((len(queries), depth), -1, np.int64)
        best_scores = np.full((len(queries), depth), -np.inf, np.float32)
        for number in self._facts:
            index = self._index(number)
            mask = hidden.get(number)
            ask = _ask(depth, self._shards[number].n_passages, int(mask.sum()) if mask is not None else 0)
            parameters = faiss.SearchParametersIVF(nprobe=max(1, round(share * index.nlist)))
            scores, rows = index.search(queries, ask, params=parameters)
            if (rows >= self._shards[number].n_passages).any():
                raise damaged_index(self._shards[number].folder)
            scores[rows < 0] = -np.inf
            if mask is not None:
                gone = mask[rows] & (rows >= 0)
                scores[gone], rows[gone] = -np.inf, -1
            rows = np.where(rows >= 0, rows + self.exact.starts[number], -1)
            both_scores, both_rows = np.hstack([best_scores, scores]), np.hstack([best_rows, rows])
            order = np.argsort(-both_scores, axis=1, kind="stable")[:, :depth]
            best_scores = np.take_along_axis(both_scores, order, axis=1)
            best_rows = np.take_along_axis(both_rows, order, axis=1)
        return best_rows

    def _index(self, number: int) -> Any:
        index = self._opened.get(number)
        if index is None:
            shard = self._shards[number]
            index = open_index(shard.folder, self._facts[number], self.exact.dimension, shard.n_passages)
            self._opened[number] = index
        return index

    def _global(self, best: Best) -> Best:
        rows, scores = best
        places = np.searchsorted(self._scan.starts, rows, side="right") - 1
        numbers = np.array(self._scanned, dtype=np.int64)[places]
        return rows - self._scan.starts[places] + self.exact.starts[numbers], scores


def _ask(depth: int, n: int, n_hidden: int) -> int:
    """Candidates to ask a shard for, so that `depth` are left when the hidden are taken out: half more than their
    even spread would need, where that is fewer than all of them more."""
    spread = 1.5 * depth * n / max(n - n_hidden, 1)
    return int(min(depth + n_hidden, np.ceil(spread), n)) if n_hidden else min(depth, n)


def open_ann(store: Path, shards: Sequence[Shard], exact: ExactIndex) -> AnnIndex:
    """The approximate index of an opened store. Raises DatastoreError where it has none, or a damaged one."""
    path = store / ANN_FILE
    if not path.exists():
        raise DatastoreError(
            f"{store} has no approximate index; add one by running its reread build command again with --ann, "
            "or search it exactly (dense)"
        )
    content = read_facts(path, {"settings": list})
    try:
        settings = [AnnSetting(**setting) for setting in content["settings"]]
    except TypeError as error:
        raise DatastoreError(
            f"{path} is damaged; delete it, then run the reread build command with --ann again"
        ) from error
    index = AnnIndex(shards, exact, settings)
    if index.unindexed:
        logger.warning(
            "%d shards of %s were added after its approximate index and are searched exactly; "
            "run reread build with --ann again to index them",
            len(index.unindexed),
            store,
        )
    return index

"""An opened datastore: search in all of its shards, and access to its passages."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from reread.datastore.ann import AnnIndex, open_ann
from reread.datastore.bm25 import best_rows, weigh_queries
from reread.datastore.exact import ExactIndex
from reread.datastore.layout import SHARDS, TOMBSTONES, read_store_file
from reread.datastore.lexical import ANALYSER
from reread.datastore.shard import Shard
from reread.errors import DatastoreError, RunFolderError, UsageError
from reread.flops import bm25_search_flops, exact_search_flops
from reread.protocols import Embedder, Vectors
from reread.runs import JsonLines
from reread.types import Hit, Passage

logger = logging.getLogger(__name__)

SearchKind = Literal["bm25", "exact", "ann", "hybrid", "hybrid-ann"]
FUSION_K = 60
"""Reciprocal rank fusion's constant (Cormack, Clarke and Büttcher 2009)."""
FUSION_DEPTH = 100
"""Hits of each part that hybrid search fuses, at least."""

Located = tuple[int, int]
"""A passage's place: shard number, row."""


@dataclass(frozen=True, slots=True)
class Found:
    """The hits of one query and the FLOPs that finding them took (query embedding included where it is counted)."""

    hits: list[Hit]
    flops: float


class Datastore:
    """Made by `Datastore.open`. Passages are numbered 0 to len − 1 in store order, hidden ones left out."""

    def __init__(self, path: Path, facts: dict[str, Any], shards: list[Shard], embedder: Embedder | None) -> None:
        self.path = path
        self.facts = facts
        self.embedder = embedder
        self._shards = shards
        # Statistics count hidden passages too, as a posting of theirs is still there.
        self.n_stored = sum(shard.n_passages for shard in shards)
        n_tokens = sum(shard.n_tokens for shard in shards)
        self._average_length = max(n_tokens / self.n_stored, 1e-9) if self.n_stored else 1.0
        self._hidden: dict[int, npt.NDArray[np.bool_]] = {}
        self._hide_rows(_tombstones(path))

    @classmethod
    def open(cls, path: Path | str, embedder: Embedder | None = None) -> Datastore:
        """The finished datastore in the folder `path`.

        embedder: needed for `exact` and `hybrid` search; must be the one the store was built with. Raises
        DatastoreError where there is no store, its format is another version's, no build of it is finished, or the
        embedder differs.
        """
        path = Path(path)
        facts = read_store_file(path)
        if not facts["builds"][0]["finished"]:
            raise DatastoreError(f"the build of {path} is not finished; run the same reread build command again")
        if not facts["builds"][-1]["finished"]:
            logger.warning("an --append to %s is not finished; its passages are left out until it is", path)
        if facts["analyser"] != ANALYSER:
            raise DatastoreError(
                f"{path} was indexed with the analyser '{facts['analyser']}', this reread has '{ANALYSER}'; "
                "build the store again"
            )
        shards = [Shard(path / SHARDS / name) for name in facts["shards"]]
        if embedder is not None and facts["embedder"] != embedder.spec:
            built = facts["embedder"] or "no embedder"
            raise DatastoreError(
                f"{path} was built with {built} and is opened with {embedder.spec}; "
                f"use {facts['embedder'] or 'bm25 search'}, or build another store"
            )
        dimensions = {shard.facts["dimension"] for shard in shards}
        if len(dimensions) > 1:
            raise DatastoreError(f"{path} mixes vectors of dimensions {sorted(map(str, dimensions))}; build it again")
        return cls(path, facts, shards, embedder)

    @property
    def embedder_spec(self) -> str | None:
        """The embedder the store was built with, None for a lexical store."""
        spec: str | None = self.facts["embedder"]
        return spec

    @property
    def dimension(self) -> int | None:
        """Of the stored vectors, None where there are none."""
        return self._shards[0].facts["dimension"] if self._shards else None

    @property
    def index_flops(self) -> float:
        """FLOPs that embedding its passages took, over all of its builds; 0 where the embedder does not count them."""
        return sum(shard.embed_flops for shard in self._shards)

    def __len__(self) -> int:
        return self.n_stored - sum(int(hidden.sum()) for hidden in self._hidden.values())

    # Search

    def search(self, queries: Sequence[str], k: int, kind: SearchKind = "bm25") -> list[list[Hit]]:
        """For each query its k best passages, best first, fewer where fewer match (bm25) or exist.

        Equal scores are ordered by passage id. `exact` and `hybrid` need the store's embedder (see open).
        """
        return [found.hits for found in self.find(queries, k, kind)]

    def find(self, queries: Sequence[str], k: int, kind: SearchKind = "bm25") -> list[Found]:
        """As `search`, with the FLOPs of each query."""
        if k < 1:
            raise UsageError(f"the number of hits must be at least 1, not {k}")
        if kind not in get_args(SearchKind):
            raise UsageError(f"unknown search kind {kind}; use one of {', '.join(get_args(SearchKind))}")
        if kind == "bm25":
            return self._bm25(queries, k)
        if kind in ("exact", "ann"):
            return self._dense(queries, k, kind)
        depth = max(k, FUSION_DEPTH)
        dense = self._dense(queries, depth, "exact" if kind == "hybrid" else "ann")
        return [
            Found(fuse([a.hits, b.hits])[:k], a.flops + b.flops)
            for a, b in zip(self._bm25(queries, depth), dense, strict=True)
        ]

    def _bm25(self, queries: Sequence[str], k: int) -> list[Found]:
        lexical = [shard.lexical for shard in self._shards]
        weighted = weigh_queries(queries, lexical, self.n_stored)
        found = []
        for terms, best in zip(
            weighted, best_rows(lexical, weighted, self._average_length, k, self._hidden), strict=True
        ):
            places = list(zip(best.shards.tolist(), best.rows.tolist(), strict=True))
            hits = self._hits(list(zip(places, best.scores.tolist(), strict=True)), k, "bm25")
            found.append(Found(hits, bm25_search_flops(sum(term.df for term in terms))))
        return found

    def _dense(self, queries: Sequence[str], k: int, kind: Literal["exact", "ann"]) -> list[Found]:
        if self.dimension is None:
            raise DatastoreError(f"{self.path} holds no vectors; search it with bm25, or build it with --embedder")
        if self.embedder is None:
            raise DatastoreError(
                f"vector search in {self.path} needs the embedder {self.embedder_spec}: give it to open"
            )
        if not queries:
            return []
        flops_before = getattr(self.embedder, "flops", 0.0)
        vectors = self.embedder.encode_queries(list(queries))
        if vectors.shape != (len(queries), self.dimension):
            raise DatastoreError(
                f"the embedder {self.embedder.spec} gave vectors of shape {vectors.shape} for {len(queries)} queries; "
                f"{self.path} holds {self.dimension} dimensions: use the model it was built with"
            )
        if not np.isfinite(vectors).all() or not vectors.any(axis=1).all():
            wrong = int(np.flatnonzero(~(np.isfinite(vectors).all(axis=1) & vectors.any(axis=1)))[0])
            raise DatastoreError(
                f"the embedder {self.embedder.spec} gave a vector of NaN, infinity or zeros for query {wrong + 1} "
                f"({queries[wrong][:60]!r}); leave that query out, or check the model"
            )
        flops = (getattr(self.embedder, "flops", 0.0) - flops_before) / len(queries)
        return [replace(found, flops=found.flops + flops) for found in self.find_vectors(vectors, k, kind)]

    def find_vectors(self, vectors: Vectors, k: int, kind: Literal["exact", "ann"] = "exact") -> list[Found]:
        """As `find` with query vectors, float32 (q, d), that an embedder made already; FLOPs of the search alone."""
        if kind == "ann":
            flops, bests = self._ann_index.flops(k), self._ann_index.search(vectors, k, self._hidden)
        else:
            flops = exact_search_flops(self.n_stored, self._vector_index.dimension)
            bests = self._vector_index.search(vectors, k, self._hidden)
        return [
            Found(self._hits(list(zip(self._located(rows), scores.tolist(), strict=True)), k, kind), flops)
            for rows, scores in bests
        ]

    @cached_property
    def _vector_index(self) -> ExactIndex:
        lengths = [shard.n_passages for shard in self._shards]
        return ExactIndex(lengths, lambda number: self._shards[number].vectors, self.dimension or 0)

    @cached_property
    def _ann_index(self) -> AnnIndex:
        return open_ann(self.path, self._shards, self._vector_index)

    def _located(self, rows: npt.NDArray[np.int64]) -> list[Located]:
        """The places of passages numbered through the whole store, hidden ones counted."""
        starts = self._vector_index.starts
        numbers = np.searchsorted(starts, rows, side="right") - 1
        return list(zip(numbers.tolist(), (rows - starts[numbers]).tolist(), strict=True))

    def _hits(self, places: Sequence[tuple[Located, float]], k: int, stage: str) -> list[Hit]:
        """The k best as hits; passage ids are read for the kept ones alone."""
        ids = self._ids([place for place, _ in places])
        order = sorted(range(len(places)), key=lambda i: (-places[i][1], ids[i]))[:k]
        passages = self._passages([places[i][0] for i in order])
        return [
            Hit(passage, rank, places[i][1], {stage: places[i][1]})
            for rank, (i, passage) in enumerate(zip(order, passages, strict=True), 1)
        ]

    # Passages

    def _ids(self, places: Sequence[Located]) -> list[str]:
        return _by_shard(places, lambda number, rows: self._shards[number].ids(rows))

    def _passages(self, places: Sequence[Located]) -> list[Passage]:
        return _by_shard(places, lambda number, rows: self._shards[number].passages(rows))

    def passage(self, i: int) -> Passage:
        """Passage i of 0 … len − 1, in store order."""
        return self._passages([self._locate(i)])[0]

    def _locate(self, i: int) -> Located:
        if not 0 <= i < len(self):
            raise IndexError(f"passage {i} of {len(self)}")
        for number, shard in enumerate(self._shards):
            hidden = self._hidden.get(number)
            n_visible = shard.n_passages - (int(hidden.sum()) if hidden is not None else 0)
            if i < n_visible:
                return number, i if hidden is None else int(np.flatnonzero(~hidden)[i])
            i -= n_visible
        raise IndexError(i)

    def sample_passages(self, rng: np.random.Generator, n: int) -> list[Passage]:
        """n different passages drawn evenly (all of them where the store holds fewer), in the order drawn."""
        drawn = rng.choice(len(self), size=min(n, len(self)), replace=False)
        return self._passages([self._locate(int(i)) for i in drawn])

    def passages_of(self, doc_ids: Iterable[str]) -> list[Passage]:
        """Every visible passage of these documents, in the order of the ids; unknown ids give none."""
        return self._passages([place for doc_id in doc_ids for place in self._rows_of(doc_id)])

    def _rows_of(self, doc_id: str) -> list[Located]:
        for number, shard in enumerate(self._shards):
            if rows := shard.rows_of(doc_id):
                hidden = self._hidden.get(number)
                return [(number, row) for row in rows if hidden is None or not hidden[row]]
        return []

    def vectors(self, passages: Sequence[Passage]) -> Vectors:
        """float32 (n, d), the stored vectors of these passages. Raises DatastoreError where there are none."""
        if self.dimension is None:
            raise DatastoreError(f"{self.path} holds no vectors; build it with --embedder")
        places = [self._place(passage.id) for passage in passages]
        vectors = np.empty((len(places), self.dimension), dtype=np.float32)
        for i, place in enumerate(places):
            if place is None:
                raise DatastoreError(f"passage {passages[i].id} is not in {self.path}")
            vectors[i] = self._shards[place[0]].vectors[place[1]]
        return vectors

    def _place(self, passage_id: str) -> Located | None:
        """Where a passage lies, hidden or not; its id is that of its document, a colon and its start."""
        doc_id = passage_id.rpartition(":")[0]
        for number, shard in enumerate(self._shards):
            rows = shard.rows_of(doc_id)
            for row, found in zip(rows, shard.ids(rows), strict=True):
                if found == passage_id:
                    return number, row
        return None

    def __contains__(self, passage_id: str) -> bool:
        """Whether the store holds this passage, hidden or not."""
        return self._place(passage_id) is not None

    # Hiding

    def hide(self, passage_ids: Iterable[str], reason: str) -> int:
        """Hide passages from every search, now and after reopening; returns how many were visible before.

        Each is a line of tombstones.jsonl with its reason. Raises DatastoreError for an id that the store lacks.
        """
        ids = list(dict.fromkeys(passage_ids))
        places = {passage_id: self._place(passage_id) for passage_id in ids}
        if unknown := [passage_id for passage_id, place in places.items() if place is None]:
            raise DatastoreError(f"passage {unknown[0]} is not in {self.path} ({len(unknown)} such); hid nothing")
        n_before = len(self)
        with JsonLines(self.path / TOMBSTONES) as tombstones:
            for passage_id in ids:
                tombstones.append({"passage_id": passage_id, "reason": reason})
        self._hide_rows(ids)
        return n_before - len(self)

    def _hide_rows(self, passage_ids: Iterable[str]) -> None:
        for passage_id in passage_ids:
            place = self._place(passage_id)
            if place is not None:
                number, row = place
                if number not in self._hidden:
                    self._hidden[number] = np.zeros(self._shards[number].n_passages, dtype=np.bool_)
                self._hidden[number][row] = True


def _tombstones(store: Path) -> Iterator[str]:
    """The ids of the hidden passages. Raises DatastoreError for a damaged line: hidden passages must stay hidden."""
    refusal = f"{store / TOMBSTONES} is damaged; for what to do run: reread verify {store}"
    try:
        for record in JsonLines(store / TOMBSTONES).read():
            if not isinstance(record.get("passage_id"), str):
                raise DatastoreError(refusal)
            yield record["passage_id"]
    except RunFolderError as error:
        raise DatastoreError(refusal) from error


def _by_shard(places: Sequence[Located], read: Any) -> list[Any]:
    rows_of: dict[int, list[int]] = {}
    for i, (number, _) in enumerate(places):
        rows_of.setdefault(number, []).append(i)
    found: list[Any] = [None] * len(places)
    for number, indexes in rows_of.items():
        for i, value in zip(indexes, read(number, [places[i][1] for i in indexes]), strict=True):
            found[i] = value
    return found


def fuse(rankings: Sequence[Sequence[Hit]], k: int = FUSION_K) -> list[Hit]:
    """Reciprocal rank fusion: every passage scores Σ 1 / (k + rank) over the rankings that hold it; ties by id.

    Stages of all rankings are kept, with "rrf" behind them (Cormack, Clarke and Büttcher 2009).
    """
    scores: dict[str, float] = {}
    hits: dict[str, Hit] = {}
    stages: dict[str, dict[str, float]] = {}
    for ranking in rankings:
        for hit in ranking:
            passage_id = hit.passage.id
            scores[passage_id] = scores.get(passage_id, 0.0) + 1.0 / (k + hit.rank)
            hits.setdefault(passage_id, hit)
            known = stages.setdefault(passage_id, {})
            for stage, score in hit.stages.items():
                known[stage] = max(score, known.get(stage, score))
    order = sorted(scores, key=lambda passage_id: (-scores[passage_id], passage_id))
    return [Hit(hits[i].passage, rank, scores[i], {**stages[i], "rrf": scores[i]}) for rank, i in enumerate(order, 1)]

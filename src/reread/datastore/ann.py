"""Approximate vector search: FAISS inverted lists of product-quantised vectors, candidates scored exactly.

Each shard has an index of its own (ann.faiss) beside its vectors, trained on a sample of them: about 1.6·√n lists and
two bits a dimension (Jégou, Douze and Schmid 2011; the four-bit layout of André, Kermarrec and Le Scouarnec 2017, that
FAISS calls fast scan). Its scores only choose candidates; those are read from vectors.npy and scored as exact search
scores them. How many lists are visited and how many candidates are read is tuned once for the whole store, on queries
whose true nearest passages exact search tells. Shards of few passages get no index and are searched exactly.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from reread.datastore.exact import Best, ExactIndex, best_of
from reread.datastore.layout import SHARDS, VECTORS, is_signed_rightly, read_store_file, signed
from reread.datastore.shard import Shard
from reread.errors import DatastoreError, MissingExtra, UsageError
from reread.flops import ann_search_flops
from reread.protocols import Progress, Vectors
from reread.runs import content_seed, file_sha256, write_json_atomically

if TYPE_CHECKING:
    import faiss

logger = logging.getLogger(__name__)
Array = npt.NDArray[Any]

ANN_INDEX = "ann.faiss"
ANN_FILE = "ann.json"
FORMAT = 1

MIN_PASSAGES = 10_000
"""Below this, scanning everything takes under a millisecond."""
TRAIN_PER_LIST = 40
"""Vectors that k-means sees for each list (FAISS warns below 39)."""
TRAIN_ROUNDS = 10
ADD_ROWS = 1 << 16
TUNING_QUERIES = 256
TUNING_SHARDS = 8
TUNED_KS = (10, 100)
NOISE = 0.5
"""Length of the noise on every other held-out passage: its cosine to the passage is then about 0.9."""
QUESTION_LISTS, QUESTION_DEPTH = 6, 3
"""Real questions need more than held-out passages, above all those that the store has no passage for: their nearest
ones lie scattered over the lists. With twice the lists and candidates that passages need, MiniLM's recall@10 was 0.96
on 667 questions like the 36,000 texts, but 0.77 to 0.94 on general ones. These factors were chosen on the questions of
four benchmarks, six cuts of the texts, and checked on those of four others."""
READ_BYTES = 1 << 20
"""Candidates' vectors held in memory at once."""
DEPTH_FACTORS = (1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32)
READING_COST = 25_000
"""Reading and scoring one candidate takes about as long as this many additions of the scan (measured)."""


@dataclass(frozen=True, slots=True)
class AnnSetting:
    """What search for up to `k` hits does: the share of every shard's lists that is visited, the candidates scored."""

    k: int
    probed_share: float
    depth: int
    recall: float
    """Of the true k best found, on the tuning queries."""


@dataclass(frozen=True, slots=True)
class AnnReport:
    """n_indexed shards have an index now (n_kept of them had it before), n_exact are too small for one."""

    n_indexed: int
    n_kept: int
    n_exact: int
    n_bytes: int
    settings: tuple[AnnSetting, ...]


def add_ann(
    store: Path, *, recall: float = 0.95, progress: Progress | None = None, queries: Vectors | None = None
) -> AnnReport:
    """Adds approximate indexes to a finished store, then tunes them to this recall@10 and recall@100.

    Shards that have theirs already are left as they are, so an interrupted call goes on where it stopped; the same
    machine, threads and FAISS write the same bytes. queries: float32 (q, d), real ones to tune on; else passages are
    held out as queries, every other one with noise. progress: (shards done, all). Raises DatastoreError for a store
    without vectors, UsageError for an impossible recall, MissingExtra without FAISS.
    """
    _faiss()
    if not 0 < recall < 1:
        raise UsageError(f"the recall must lie between 0 and 1, such as 0.95, not {recall:g}")
    facts = read_store_file(Path(store))
    shards = [Shard(Path(store) / SHARDS / name) for name in facts["shards"]]
    if not shards or shards[0].facts["dimension"] is None:
        raise DatastoreError(f"{store} holds no vectors to index; build it with --embedder, or search it with bm25")
    n_kept = n_indexed = n_bytes = 0
    for done, shard in enumerate(shards, 1):
        known = _sound_facts(shard)
        entry = known or _index_shard(shard)
        if entry["index"]:
            n_indexed += 1
            n_kept += known is not None
            n_bytes += entry["files"][ANN_INDEX]["bytes"]
        if progress is not None:
            progress(done, len(shards))
    settings = _tune(shards, recall, queries)
    content = {
        "format": FORMAT,
        "recall_asked": recall,
        "tuned_on": "queries" if queries is not None else "passages held out",
        "settings": [asdict(setting) for setting in settings],
    }
    write_json_atomically(Path(store) / ANN_FILE, signed(content))
    return AnnReport(n_indexed, n_kept, len(shards) - n_indexed, n_bytes, tuple(settings))


# Indexing a shard


def _sound_facts(shard: Shard) -> dict[str, Any] | None:
    """The shard's ann.json where it and its index are whole and of these vectors."""
    try:
        entry = _shard_facts(shard.folder)
    except DatastoreError:
        return None
    if entry is None or entry.get("vectors_sha256") != shard.facts["files"][VECTORS]["sha256"]:
        return None
    if entry["index"]:
        path = shard.folder / ANN_INDEX
        if not path.is_file() or path.stat().st_size != entry["files"][ANN_INDEX]["bytes"]:
            return None
    return entry


def _shard_facts(folder: Path) -> dict[str, Any] | None:
    """ann.json's content, None where there is none. Raises DatastoreError where it is damaged."""
    path = folder / ANN_FILE
    if not path.exists():
        return None
    return _read_facts(path, {"index": str | None, "vectors_sha256": str, "files": dict})


def _read_facts(path: Path, kinds: Mapping[str, Any]) -> dict[str, Any]:
    import json

    try:
        content = json.loads(path.read_bytes())
        if all(isinstance(content[name], kind) for name, kind in kinds.items()) and is_signed_rightly(content):
            return dict(content)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        pass
    raise DatastoreError(f"{path} is damaged; delete it, then run the reread build command with --ann again")


def n_lists_for(n: int) -> int:
    """The power of two nearest to 1.6·√n."""
    return int(2 ** round(np.log2(1.6 * np.sqrt(n))))


def n_subquantisers_for(dimension: int) -> int:
    """As many as divide the dimensions, up to half: of 4 bits each, two bits a dimension."""
    return next(m for m in range(max(dimension // 2, 1), 0, -1) if dimension % m == 0)


def _index_shard(shard: Shard) -> dict[str, Any]:
    """Writes ann.faiss, then ann.json; returns the latter's content."""
    faiss = _faiss()
    vectors_sha256 = shard.facts["files"][VECTORS]["sha256"]
    content: dict[str, Any] = {"format": FORMAT, "vectors_sha256": vectors_sha256, "index": None, "files": {}}
    if shard.n_passages < MIN_PASSAGES:
        content["reason"] = f"fewer than {MIN_PASSAGES} passages: searched exactly"
    else:
        index = train_index(shard.vectors, content_seed("ann", vectors_sha256))
        partial = shard.folder / f"{ANN_INDEX}.{os.getpid()}.part"
        try:
            faiss.write_index(index, str(partial))
            with partial.open("rb") as file:
                os.fsync(file.fileno())
            partial.replace(shard.folder / ANN_INDEX)
        finally:
            partial.unlink(missing_ok=True)
        path = shard.folder / ANN_INDEX
        content |= {
            "index": ANN_INDEX,
            "n_lists": index.nlist,
            "n_subquantisers": index.pq.M,
            "faiss": faiss.__version__,
            "files": {ANN_INDEX: {"bytes": path.stat().st_size, "sha256": file_sha256(path)}},
        }
    write_json_atomically(shard.folder / ANN_FILE, signed(content))
    return content


def train_index(vectors: Array, seed: int) -> faiss.IndexIVFPQFastScan:
    """An index of the vectors, float16 (n, d), trained on a sample of them; memory is bounded by the sample."""
    faiss = _faiss()
    n, dimension = vectors.shape
    n_lists, m = n_lists_for(n), n_subquantisers_for(dimension)
    index = faiss.index_factory(dimension, f"IVF{n_lists},PQ{m}x4fs", faiss.METRIC_INNER_PRODUCT)
    index.cp.niter, index.cp.seed = TRAIN_ROUNDS, seed % (1 << 31)
    rng = np.random.default_rng(seed)
    sample = np.sort(rng.choice(n, size=min(n, TRAIN_PER_LIST * n_lists), replace=False))
    index.train(vectors[sample].astype(np.float32))
    for first in range(0, n, ADD_ROWS):
        index.add(np.asarray(vectors[first : first + ADD_ROWS], dtype=np.float32))
    return index


def _faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise MissingExtra("faiss", "ann", "approximate search") from error
    return faiss


# Searching


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
            entry = _shard_facts(shard.folder)
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
        faiss = _faiss()
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        best_rows = np.full((len(queries), depth), -1, np.int64)
        best_scores = np.full((len(queries), depth), -np.inf, np.float32)
        for number in self._facts:
            index = self._index(number)
            mask = hidden.get(number)
            ask = _ask(depth, self._shards[number].n_passages, int(mask.sum()) if mask is not None else 0)
            parameters = faiss.SearchParametersIVF(nprobe=max(1, round(share * index.nlist)))
            scores, rows = index.search(queries, ask, params=parameters)
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
            faiss = _faiss()
            folder = self._shards[number].folder
            path = folder / ANN_INDEX
            expected = self._facts[number]["files"][ANN_INDEX]["bytes"]
            try:
                # FAISS trusts its files; a cut or swapped one must not reach it.
                if path.stat().st_size != expected:
                    raise RuntimeError(f"{path.stat().st_size} bytes instead of {expected}")
                # Not memory-mapped: FAISS copies fast-scan lists out of the map, and its pages would count twice.
                index = faiss.read_index(str(path))
                if index.d != self.exact.dimension or index.ntotal != self._shards[number].n_passages:
                    raise RuntimeError(f"{index.ntotal} vectors of {index.d} dimensions")
            except (OSError, RuntimeError) as error:
                raise DatastoreError(
                    f"{path} is missing or damaged; delete it and {folder / ANN_FILE}, then run the reread build "
                    "command with --ann again"
                ) from error
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
    content = _read_facts(path, {"settings": list})
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


# Tuning


def _tune(shards: Sequence[Shard], recall: float, queries: Vectors | None) -> list[AnnSetting]:
    """The cheapest setting that reaches the recall, for each of TUNED_KS; none where no shard has an index."""
    indexed = [shard for shard in shards if (_shard_facts(shard.folder) or {}).get("index")]
    if not indexed:
        return []
    rng = np.random.default_rng(
        content_seed("ann-tuning", *(shard.facts["files"][VECTORS]["sha256"] for shard in indexed))
    )
    if len(indexed) > TUNING_SHARDS:
        indexed = [indexed[i] for i in sorted(rng.choice(len(indexed), size=TUNING_SHARDS, replace=False))]
    exact = ExactIndex(
        [shard.n_passages for shard in indexed],
        lambda number: indexed[number].vectors,
        int(indexed[0].facts["dimension"]),
    )
    index = AnnIndex(indexed, exact, [])
    if queries is not None:
        own = np.full(len(queries), -1)
    else:
        own = np.sort(rng.choice(len(exact), size=min(TUNING_QUERIES, len(exact)), replace=False))
        queries = _held_out(exact, own, rng)
    settings = [_tuned(index, queries, own, k, recall) for k in TUNED_KS]
    if (own < 0).all():
        return settings
    return [
        replace(
            setting,
            probed_share=min(QUESTION_LISTS * setting.probed_share, 1.0),
            depth=QUESTION_DEPTH * setting.depth,
        )
        for setting in settings
    ]


def _held_out(exact: ExactIndex, own: Array, rng: np.random.Generator) -> Vectors:
    """The vectors of these rows, every other one with noise: a question is farther from its passages than they are
    from each other."""
    vectors = exact.vectors(own).astype(np.float32)
    noise = rng.standard_normal(vectors.shape, dtype=np.float32)
    vectors[::2] += NOISE * noise[::2] / np.linalg.norm(noise[::2], axis=1, keepdims=True)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-12), dtype=np.float32)


def _tuned(index: AnnIndex, queries: Vectors, own: Array, k: int, recall: float) -> AnnSetting:
    k = min(k, len(index.exact) - 1)
    truth = []
    for (rows, scores), mine in zip(index.exact.search(queries, k + 1), own, strict=True):
        order = np.lexsort((rows, -scores))
        truth.append(rows[order][rows[order] != mine][:k])
    # The figure to reach lies above the recall asked for, as other queries than these will be asked.
    wanted = recall + 0.3 * (1 - recall)
    depths = [round(k * factor) for factor in DEPTH_FACTORS]
    n_lists = max(entry["n_lists"] for entry in index._facts.values())
    m = next(iter(index._facts.values()))["n_subquantisers"]
    good: list[tuple[float, AnnSetting]] = []
    others: list[tuple[float, AnnSetting]] = []
    n_probed = 1
    while n_probed <= n_lists:
        share = n_probed / n_lists
        scan_cost = share * len(index.exact) * m
        if good and scan_cost >= min(cost for cost, _ in good):
            break
        found = index.candidates(queries, share, depths[-1] + 1, {})
        places = np.concatenate(
            [_places(line[line != mine], wish) for line, wish, mine in zip(found, truth, own, strict=True)]
        )
        for depth in depths:
            reached = float((places < depth).mean())
            setting = AnnSetting(k, share, depth, round(reached, 4))
            (good if reached >= wanted else others).append((scan_cost + READING_COST * depth, setting))
        n_probed *= 2
    if good:
        return min(good, key=lambda item: item[0])[1]
    best = max(others, key=lambda item: (item[1].recall, -item[0]))[1]
    if best.recall < recall:
        logger.warning("approximate search reaches recall@%d %.3f, less than %.3f", k, best.recall, recall)
    return best


def _places(found: Array, wanted: Array) -> Array:
    """Where each wanted row stands among those found; a large number where it does not."""
    order = np.argsort(found, kind="stable")
    at = np.searchsorted(found[order], wanted)
    at = np.minimum(at, len(found) - 1)
    hit = found[order][at] == wanted
    return np.where(hit, order[at], np.iinfo(np.int64).max)

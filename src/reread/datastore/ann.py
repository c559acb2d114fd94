"""Approximate vector search: FAISS inverted lists of product-quantised vectors, candidates scored exactly.

Each shard has an index of its own (see ann_shard) beside its vectors, trained on a sample of them: about 1.6·√n lists
and two bits a dimension (Jégou, Douze and Schmid 2011; the four-bit layout of André, Kermarrec and Le Scouarnec 2017,
that FAISS calls fast scan). It is memory-mapped. Its scores only choose candidates; those are read from vectors.npy
and scored as exact search scores them (see ann_search). How many lists are visited and how many candidates are read is
tuned once for the whole store, here, on queries whose true nearest passages exact search tells. Shards of few passages
get no index and are searched exactly.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from reread.datastore.ann_search import AnnIndex, AnnSetting
from reread.datastore.ann_shard import ANN_FILE, FORMAT, ann_facts, import_faiss, index_shard, sound_ann_facts
from reread.datastore.exact import ExactIndex
from reread.datastore.layout import SHARDS, VECTORS, read_store_file, signed
from reread.datastore.shard import Shard
from reread.errors import DatastoreError, UsageError
from reread.protocols import Progress, Vectors
from reread.runs import content_seed, write_json_atomically

logger = logging.getLogger(__name__)
Array = npt.NDArray[Any]

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
DEPTH_FACTORS = (1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32)
READING_COST = 25_000
"""Reading and scoring one candidate takes about as long as this many additions of the scan (measured)."""


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
    import_faiss()
    if not 0 < recall < 1:
        raise UsageError(f"the recall must lie between 0 and 1, such as 0.95, not {recall:g}")
    facts = read_store_file(Path(store))
    shards = [Shard(Path(store) / SHARDS / name) for name in facts["shards"]]
    if not shards or shards[0].facts["dimension"] is None:
        raise DatastoreError(f"{store} holds no vectors to index; build it with --embedder, or search it with bm25")
    n_kept = n_indexed = n_bytes = 0
    for done, shard in enumerate(shards, 1):
        known = sound_ann_facts(shard)
        entry = known or index_shard(shard)
        if entry["index"]:
            n_indexed += 1
            n_kept += known is not None
            n_bytes += sum(facts["bytes"] for facts in entry["files"].values())
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


# Tuning


def _tune(shards: Sequence[Shard], recall: float, queries: Vectors | None) -> list[AnnSetting]:
    """The cheapest setting that reaches the recall, for each of TUNED_KS; none where no shard has an index."""
    indexed = [shard for shard in shards if (ann_facts(shard.folder) or {}).get("index")]
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
    if not found.size:
        return np.full(len(wanted), np.iinfo(np.int64).max)
    order = np.argsort(found, kind="stable")
    at = np.searchsorted(found[order], wanted)
    at = np.minimum(at, len(found) - 1)
    hit = found[order][at] == wanted
    return np.where(hit, order[at], np.iinfo(np.int64).max)

"""Measures of a ranking of documents against relevance judgements."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence


def ndcg(ranked: Sequence[str], gains: Mapping[str, float], k: int) -> float:
    """Normalised discounted cumulative gain of the first k documents, 0 to 1.

    Linear gain over log2(rank + 1), divided by that of the ideal order (Järvelin and Kekäläinen 2002; trec_eval's
    ndcg_cut). gains: of the judged documents; unjudged ones count 0. Raises ValueError where nothing is relevant.
    """
    ideal = sum(
        gain / math.log2(rank + 1) for rank, gain in enumerate(sorted(gains.values(), reverse=True)[:k], 1) if gain > 0
    )
    if ideal == 0:
        raise ValueError("no document is relevant, so nothing can be found; leave the query out")
    return sum(max(gains.get(doc, 0.0), 0.0) / math.log2(rank + 1) for rank, doc in enumerate(ranked[:k], 1)) / ideal


def recall(ranked: Sequence[str], gains: Mapping[str, float], k: int) -> float:
    """The share of the relevant documents that are among the first k. Raises ValueError where nothing is relevant."""
    relevant = {doc for doc, gain in gains.items() if gain > 0}
    if not relevant:
        raise ValueError("no document is relevant, so nothing can be found; leave the query out")
    return len(relevant.intersection(ranked[:k])) / len(relevant)


def documents_of(doc_ids: Iterable[str]) -> list[str]:
    """Each document once, at its best passage's place."""
    return list(dict.fromkeys(doc_ids))

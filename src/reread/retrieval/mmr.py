"""Maximal marginal relevance: passages that are relevant and unlike those chosen before them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from reread.datastore import Datastore, indexed_text
from reread.datastore.lexical import stems_of
from reread.errors import UsageError
from reread.types import Hit, Passage

Similarity = npt.NDArray[Any]


def mmr(hits: Sequence[Hit], similarity: Similarity, *, k: int, lambda_: float = 0.5) -> list[Hit]:
    """k hits in the order in which λ·relevance − (1 − λ)·(greatest similarity to a chosen one) picks them.

    similarity: (n, n), that of hits i and j, in [−1, 1]. Relevance is the hits' score scaled to [0, 1] over the hits,
    as stages score on different scales. λ = 1 keeps the order. Stages gain "mmr"; equal values go to the better rank.
    Source: Carbonell and Goldstein 1998.
    """
    if not 0 <= lambda_ <= 1:
        raise UsageError(f"MMR's lambda must be from 0 to 1, not {lambda_}")
    if similarity.shape != (len(hits), len(hits)):
        raise UsageError(f"{len(hits)} hits need a similarity of shape {(len(hits),) * 2}, not {similarity.shape}")
    if not hits:
        return []
    scores = np.array([hit.score for hit in hits], dtype=np.float64)
    spread = scores.max() - scores.min()
    relevance = (scores - scores.min()) / spread if spread > 0 else np.ones(len(hits))
    nearest = np.zeros(len(hits))
    left = list(range(len(hits)))
    chosen: list[Hit] = []
    while left and len(chosen) < k:
        values = lambda_ * relevance[left] - (1 - lambda_) * nearest[left]
        best = left.pop(int(np.argmax(values)))
        value = float(values.max())
        stages = {**hits[best].stages, "mmr": value}
        chosen.append(replace(hits[best], rank=len(chosen) + 1, score=value, stages=stages))
        nearest = similarity[best] if len(chosen) == 1 else np.maximum(nearest, similarity[best])
    return chosen


def passage_similarity(datastore: Datastore, passages: Sequence[Passage]) -> Similarity:
    """(n, n) cosines: of the store's vectors where it has them, else of the passages' tf-idf terms."""
    if datastore.dimension is not None:
        vectors = datastore.vectors(passages)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors = vectors / np.maximum(lengths, 1e-12)
        return np.asarray(vectors @ vectors.T)
    return term_similarity(passages)


def term_similarity(passages: Sequence[Passage]) -> Similarity:
    """(n, n) tf-idf cosines, log-scaled tf, idf over these passages: what they all share says nothing apart."""
    terms = [Counter(stems_of(indexed_text(passage))) for passage in passages]
    df = Counter(term for counts in terms for term in counts)
    numbers = {term: number for number, term in enumerate(df)}
    matrix = np.zeros((len(passages), len(numbers)), dtype=np.float64)
    for row, counts in enumerate(terms):
        for term, tf in counts.items():
            matrix[row, numbers[term]] = (1 + math.log(tf)) * math.log(1 + len(passages) / df[term])
    lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
    matrix /= np.maximum(lengths, 1e-12)
    return matrix @ matrix.T

"""Second-stage scoring of the hits, and the rerankers that specs name."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from reread.errors import RereadError, UsageError
from reread.http import JsonClient, split_endpoint
from reread.protocols import Reranker
from reread.retrieval.crossencoder import make_cross_encoder
from reread.types import Hit, Passage


def make_reranker(spec: str, *, batch_size: int = 16, device: str | None = None) -> Reranker:
    """The reranker that the spec names: `ce:NAME_OR_PATH` (a cross-encoder) or `openai:MODEL@URL` (URL/rerank).

    Raises UsageError for another spec or a model that cannot rerank, MissingExtra where its package is missing.
    """
    kind, _, name = spec.partition(":")
    if kind == "ce" and name:
        return make_cross_encoder(name, batch_size=batch_size, device=device)
    if kind == "openai" and name:
        return EndpointReranker(name)
    raise UsageError(f"unknown reranker {spec!r}; use ce:NAME_OR_PATH or openai:MODEL@URL")


def rerank(query: str, hits: Sequence[Hit], reranker: Reranker) -> list[Hit]:
    """The hits in the order of the reranker's scores, best first; equal scores keep their order.

    Stages gain the reranker's kind ("ce", "openai"). Raises RereadError for a missing or non-finite score.
    """
    if not hits:
        return []
    scores = reranker.score(query, [hit.passage for hit in hits])
    if len(scores) != len(hits) or not all(math.isfinite(score) for score in scores):
        raise RereadError(f"{reranker.spec} gave {len(scores)} scores for {len(hits)} passages, or NaN among them")
    stage = reranker.spec.partition(":")[0]
    order = sorted(range(len(hits)), key=lambda i: -scores[i])
    return [
        replace(hits[i], rank=rank, score=float(scores[i]), stages={**hits[i].stages, stage: float(scores[i])})
        for rank, i in enumerate(order, 1)
    ]


class EndpointReranker:
    """`openai:MODEL@URL`: posts to URL/rerank, the shape that vLLM, llama.cpp, TEI-likes and Jina serve."""

    def __init__(self, name: str) -> None:
        self.spec = f"openai:{name}"
        self.flops = 0.0
        self._model, url = split_endpoint(self.spec)
        self._client = JsonClient(url)

    def score(self, query: str, passages: Sequence[Passage]) -> list[float]:
        """relevance_score of every passage, in the order given."""
        if not passages:
            return []
        documents = [f"{passage.title}\n{passage.text}" if passage.title else passage.text for passage in passages]
        answer = self._client.post(
            "/rerank", {"model": self._model, "query": query, "documents": documents, "top_n": len(documents)}
        )
        try:
            scores = {int(item["index"]): float(item["relevance_score"]) for item in answer["results"]}
            return [scores[i] for i in range(len(passages))]
        except (KeyError, TypeError, ValueError) as error:
            raise RereadError(
                f"{self.spec} did not score all of {len(passages)} passages in the shape of /rerank ({error!r})"
            ) from error

"""Second-stage scoring of the hits, and the rerankers that specs name."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from reread.errors import RereadError, UsageError
from reread.protocols import Reranker
from reread.retrieval.crossencoder import make_cross_encoder
from reread.retrieval.rerank_endpoint import EndpointReranker
from reread.runs import content_hash
from reread.types import Hit, Passage


def make_reranker(
    spec: str,
    *,
    batch_size: int | None = None,
    device: str | None = None,
    instruction: str | None = None,
    precision: str | None = None,
) -> Reranker:
    """The reranker that the spec names: `ce:NAME_OR_PATH` (a cross-encoder) or `openai:MODEL@URL` (URL/rerank).

    batch_size: pairs at once at most (by default by their tokens; 32 for an endpoint). instruction: what counts as
    relevant, for Qwen3-Reranker; None takes its own. device, precision: of a cross-encoder.

    Raises UsageError for another spec, a model that cannot rerank or a setting that it does not have, MissingExtra
    where its package is missing.
    """
    kind, _, name = spec.partition(":")
    if kind == "ce" and name:
        return make_cross_encoder(
            name, batch_size=batch_size, device=device, instruction=instruction, precision=precision
        )
    if kind == "openai" and name:
        if instruction is not None or device is not None or precision is not None:
            raise UsageError(f"{spec} runs elsewhere: instruction, device and precision are its server's settings")
        return EndpointReranker(name, batch_size=batch_size)
    if spec == "consistency":
        raise UsageError("the reranker consistency needs a reader; give it to an arm (ask, probe), not to a search")
    raise UsageError(
        f"unknown reranker {spec!r}; use ce:NAME_OR_PATH, openai:MODEL@URL, or consistency in an arm, with a reader"
    )


class RememberingReranker:
    """A reranker that scores the same candidates of a query once, and charges for them every time."""

    def __init__(self, reranker: Reranker) -> None:
        self.spec = reranker.spec
        self.flops = 0.0
        self._reranker = reranker
        self._known: dict[str, tuple[list[float], float]] = {}

    def score(self, query: str, passages: Sequence[Passage]) -> list[float]:
        """The reranker's scores. Passages are told apart by id."""
        key = content_hash([query, *(passage.id for passage in passages)])
        if key not in self._known:
            before = getattr(self._reranker, "flops", 0.0)
            scores = self._reranker.score(query, passages)
            self._known[key] = scores, getattr(self._reranker, "flops", 0.0) - before
        scores, flops = self._known[key]
        self.flops += flops
        return scores


def rerank(query: str, hits: Sequence[Hit], reranker: Reranker) -> list[Hit]:
    """The hits in the order of the reranker's scores, best first; equal scores keep their order.

    Stages gain the reranker's kind ("ce", "openai"). Raises RereadError for a missing or non-finite score.
    """
    if not hits:
        return []
    scores = reranker.score(query, [hit.passage for hit in hits])
    if len(scores) != len(hits):
        raise RereadError(f"{reranker.spec} gave {len(scores)} scores for {len(hits)} passages; it must give one each")
    if not all(math.isfinite(score) for score in scores):
        n_bad = sum(not math.isfinite(score) for score in scores)
        raise RereadError(
            f"{reranker.spec} gave NaN or infinity for {n_bad} of {len(hits)} passages; its weights are damaged or "
            "overflow: try precision float32 or another model"
        )
    stage = reranker.spec.partition(":")[0]
    order = sorted(range(len(hits)), key=lambda i: -scores[i])
    return [
        replace(hits[i], rank=rank, score=float(scores[i]), stages={**hits[i].stages, stage: float(scores[i])})
        for rank, i in enumerate(order, 1)
    ]

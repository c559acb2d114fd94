"""Which passages an arm shows: retrieved, random, another question's, or the one known to hold the answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from reread.answering.arms import Arm
from reread.answering.settings import Settings
from reread.datastore import Datastore, SearchKind
from reread.protocols import Reranker
from reread.questions import accepted_texts, gold_doc_ids
from reread.retrieval import QueryMaking, Retriever, mmr, passage_similarity
from reread.runs import content_seed
from reread.types import Hit, Passage, Question

RANDOM_CANDIDATES = 8
"""Random passages drawn for each one shown; the one nearest in length to the retrieved passage is taken."""


@dataclass(frozen=True, slots=True)
class Found:
    """Passages for one question, best first, and what finding them cost."""

    hits: tuple[Hit, ...] = ()
    search_flops: float = 0.0
    rerank_flops: float = 0.0


class PassageFinder:
    """Finds every arm's passages, and remembers them: rungs and arms that ask alike share one search."""

    def __init__(
        self,
        datastore: Datastore | None,
        settings: Settings,
        *,
        retriever: SearchKind = "bm25",
        reranker: Reranker | None = None,
    ) -> None:
        self.datastore = datastore
        self.settings = settings
        self.reranker = reranker
        self._kind: SearchKind = retriever
        self._found: dict[tuple[Any, ...], Found] = {}

    def can_show(self, question: Question, arm: Arm) -> bool:
        """Whether the arm has passages to show: `oracle` only where the question names what holds its answer."""
        return arm.passages != "oracle" or bool(self._gold(question))

    def find(self, questions: Sequence[Question], arm: Arm, others: Sequence[Question] = ()) -> list[Found]:
        """For each question, the passages of this arm, best first.

        others: the whole benchmark in order; `shuffled` shows the passages of another question of it.
        """
        if arm.passages == "none":
            return [Found() for _ in questions]
        if arm.passages == "retrieved":
            return self._retrieved(questions, arm)
        if arm.passages == "shuffled":
            return [self._of_another(question, others, arm) for question in questions]
        if arm.passages == "oracle":
            return [Found(_as_hits(self._gold(question)[: arm.k or 1], "oracle")) for question in questions]
        alike = self._retrieved(questions, replace(arm, passages="retrieved"))
        return [Found(self._random(question, found.hits)) for question, found in zip(questions, alike, strict=True)]

    def _of_another(self, question: Question, others: Sequence[Question], arm: Arm) -> Found:
        partner = _partner(question, others, self.settings.seed)
        if partner is None:
            return Found()
        found = self._retrieved([partner], arm)[0]
        # Not the partner's scores: they say how well the passages fit another question.
        shown = _as_hits([hit.passage for hit in found.hits], "shuffled")
        return Found(shown, found.search_flops, found.rerank_flops)

    def _retrieved(self, questions: Sequence[Question], arm: Arm) -> list[Found]:
        k = arm.k or self.settings.k
        making = arm.query or self.settings.query
        key = (making, arm.rerank, arm.mmr, k)
        missing = [question for question in questions if (key, question.id) not in self._found]
        for question, found in zip(missing, self._search(missing, making, arm, k), strict=True):
            self._found[key, question.id] = found
        return [self._found[key, question.id] for question in questions]

    def _search(self, questions: Sequence[Question], making: QueryMaking, arm: Arm, k: int) -> Iterable[Found]:
        if not questions:
            return []
        assert self.datastore is not None, "arms with passages are refused earlier where there is no datastore"
        choosing = arm.rerank or arm.mmr or making == "options"
        retriever = Retriever(
            self.datastore,
            kind=self._kind,
            making=making,
            reranker=self.reranker if arm.rerank else None,
            fetch_k=max(k, self.settings.fetch_k) if choosing else k,
        )
        retrievals = retriever.retrieve(questions, max(k, self.settings.fetch_k) if arm.mmr else k)
        return [
            Found(
                tuple(self._diverse(found.hits, k) if arm.mmr else found.hits),
                search_flops=found.search_flops,
                rerank_flops=found.rerank_flops,
            )
            for found in retrievals
        ]

    def _diverse(self, hits: Sequence[Hit], k: int) -> list[Hit]:
        assert self.datastore is not None
        similarity = passage_similarity(self.datastore, [hit.passage for hit in hits])
        return mmr(hits, similarity, k=k, lambda_=self.settings.mmr_lambda)

    def _random(self, question: Question, alike: Sequence[Hit]) -> tuple[Hit, ...]:
        """As many random passages as were retrieved, none of them retrieved, each of about its counterpart's length."""
        assert self.datastore is not None
        rng = np.random.default_rng(content_seed(self.settings.seed, "random passages", question.id, question.text))
        # Never more than half of a small store: the nearest in length of everything would be no random draw.
        n_candidates = min(RANDOM_CANDIDATES * len(alike), len(self.datastore) // 2)
        retrieved = {hit.passage.id for hit in alike}
        drawn = self.datastore.sample_passages(rng, n_candidates + len(alike))
        pool = [passage for passage in drawn if passage.id not in retrieved]
        chosen = []
        for hit in alike[: len(pool)]:
            wanted = len(hit.passage.text)
            nearest = min(pool, key=lambda passage: (abs(len(passage.text) - wanted), passage.id))
            pool.remove(nearest)
            chosen.append(nearest)
        return _as_hits(chosen, "random")

    def _gold(self, question: Question) -> list[Passage]:
        """Passages known to hold the answer, those that spell an accepted answer out first."""
        meta = question.meta
        if meta.get("gold_text"):
            name = f"gold:{question.id}"
            return [Passage(name, name, 0, str(meta["gold_text"]), title=str(meta.get("gold_title") or ""))]
        doc_ids = gold_doc_ids(question)
        if not doc_ids or self.datastore is None:
            return []
        key = ("gold", question.id)
        if key not in self._found:
            passages = self.datastore.passages_of(doc_ids)
            holding = [p for p in passages if any(a.lower() in p.text.lower() for a in accepted_texts(question))]
            self._found[key] = Found(_as_hits(holding or passages, "oracle"))
        return [hit.passage for hit in self._found[key].hits]


def _partner(question: Question, others: Sequence[Question], seed: int) -> Question | None:
    """Another question of the benchmark, the same for every arm and rung; None where there is no other."""
    candidates = [other for other in others if other.id != question.id and other.text != question.text]
    if not candidates:
        return None
    return candidates[content_seed(seed, "shuffled", question.id, question.text) % len(candidates)]


def _as_hits(passages: Sequence[Passage], stage: str) -> tuple[Hit, ...]:
    return tuple(Hit(passage, rank, 0.0, {stage: 0.0}) for rank, passage in enumerate(passages, 1))

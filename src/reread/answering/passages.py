"""Which passages an arm shows: retrieved, random, another question's, or the one known to hold the answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import numpy as np

from reread.answering.arms import Arm
from reread.answering.settings import Settings
from reread.datastore import Datastore, SearchKind
from reread.errors import UsageError
from reread.protocols import Reader, Reranker, Solver
from reread.questions import accepted_texts, gold_doc_ids
from reread.retrieval import QueryMaking, Retrieval, Retriever, mmr, passage_similarity
from reread.retrieval.written import WRITINGS, check_writer
from reread.runs import content_seed
from reread.types import Hit, Passage, Question

CONSISTENCY: Literal["consistency"] = "consistency"
"""The reranker that is made of the reader (reranker.py)."""
RANDOM_CANDIDATES = 8
"""Random passages drawn for each one shown; the one nearest in length to the retrieved passage is taken."""


@dataclass(frozen=True, slots=True)
class Found:
    """Passages for one question, best first, and what finding them cost."""

    hits: tuple[Hit, ...] = ()
    search_flops: float = 0.0
    rerank_flops: float = 0.0
    query_flops: float = 0.0
    queries: tuple[str, ...] = ()
    """What was searched with."""
    query_fallback: bool = False
    """The reader was to write the queries and wrote none that can be used."""


class Ranker(Protocol):
    """Orders candidates with the help of a reader."""

    @property
    def key(self) -> tuple[str, str]: ...
    def rank(self, questions: Sequence[Question], hits: Sequence[Sequence[Hit]]) -> list[tuple[list[Hit], float]]: ...


class PassageFinder:
    """Finds every arm's passages, and remembers them: rungs and arms that ask alike share one search.

    What a reader took part in (queries that it wrote, the reranker `consistency`) is shared by its own arms alone.
    """

    def __init__(
        self,
        datastore: Datastore | None,
        settings: Settings,
        *,
        retriever: SearchKind = "bm25",
        reranker: Reranker | Literal["consistency"] | None = None,
    ) -> None:
        self.datastore = datastore
        self.settings = settings
        self.reranker = reranker
        self._kind: SearchKind = retriever
        self._found: dict[tuple[Any, ...], Found] = {}

    def can_show(self, question: Question, arm: Arm) -> bool:
        """Whether the arm has passages to show: `oracle` only where the question names what holds its answer."""
        return arm.passages != "oracle" or bool(self._gold(question))

    def find(
        self,
        questions: Sequence[Question],
        arm: Arm,
        others: Sequence[Question] = (),
        reader: Reader | Solver | None = None,
        ranker: Ranker | None = None,
    ) -> list[Found]:
        """For each question, the passages of this arm, best first.

        others: the whole benchmark in order; `shuffled` shows the passages of another question of it. reader: writes
        the queries of rewrite, hyde and decompose. ranker: what orders by `consistency`. Raises UsageError where the
        arm needs one of them and it is missing, or cannot write.
        """
        if arm.passages == "none":
            return [Found() for _ in questions]
        if arm.passages == "retrieved":
            return self._retrieved(questions, arm, reader, ranker)
        if arm.passages == "shuffled":
            return self._of_others(questions, others, arm, reader)
        if arm.passages == "oracle":
            return [Found(_as_hits(self._gold(question)[: arm.k or 1], "oracle")) for question in questions]
        alike = self._retrieved(questions, replace(arm, passages="retrieved"), reader)
        return [Found(self._random(question, found.hits)) for question, found in zip(questions, alike, strict=True)]

    def _of_others(
        self, questions: Sequence[Question], others: Sequence[Question], arm: Arm, reader: Reader | Solver | None
    ) -> list[Found]:
        partners = [_partner(question, others, self.settings.seed) for question in questions]
        asked = [partner for partner in partners if partner is not None]
        of_partner = iter(self._retrieved(asked, arm, reader))
        return [Found() if partner is None else _shuffled(next(of_partner)) for partner in partners]

    def _retrieved(
        self,
        questions: Sequence[Question],
        arm: Arm,
        reader: Reader | Solver | None = None,
        ranker: Ranker | None = None,
    ) -> list[Found]:
        k = arm.k or self.settings.k
        making = arm.query or self.settings.query
        writer, ranking = _writer(making, reader), None
        if arm.rerank and self.reranker == CONSISTENCY:
            ranking = ranker
            if ranker is None:
                who = "none was given" if reader is None else f"{reader.spec} is none"
                raise UsageError(f"the reranker {CONSISTENCY} is the work of a language model, and {who}; name one")
        key = (making, arm.rerank, arm.mmr, k, writer and writer.spec, ranking and ranking.key)
        missing = list({q.id: q for q in questions if (key, q.id) not in self._found}.values())
        if missing:
            for question, found in zip(missing, self._search(missing, making, arm, k, writer, ranking), strict=True):
                self._found[key, question.id] = found
        return [self._found[key, question.id] for question in questions]

    def _search(
        self,
        questions: Sequence[Question],
        making: QueryMaking,
        arm: Arm,
        k: int,
        writer: Reader | None,
        ranker: Ranker | None,
    ) -> Iterable[Found]:
        assert self.datastore is not None, "arms with passages are refused earlier where there is no datastore"
        settings = self.settings
        reranker = self.reranker if arm.rerank and self.reranker != CONSISTENCY else None
        choosing = arm.rerank or arm.mmr or making not in ("question", "joined")
        retriever = Retriever(
            self.datastore,
            kind=self._kind,
            making=making,
            reranker=reranker,
            fetch_k=max(k, settings.fetch_k) if choosing else k,
            reader=writer,
        )
        n_candidates = max(k, settings.fetch_k if arm.mmr else 0, settings.consistency_k if ranker else 0)
        retrievals = retriever.retrieve(questions, n_candidates)
        ranked = self._ranked(questions, retrievals, ranker)
        return [
            Found(
                tuple(self._diverse(hits, k) if arm.mmr else hits[:k]),
                search_flops=found.search_flops,
                rerank_flops=rerank_flops,
                query_flops=found.query_flops,
                queries=found.queries,
                query_fallback=found.query_fallback,
            )
            for found, (hits, rerank_flops) in zip(retrievals, ranked, strict=True)
        ]

    @staticmethod
    def _ranked(
        questions: Sequence[Question], retrievals: Sequence[Retrieval], ranker: Ranker | None
    ) -> list[tuple[list[Hit], float]]:
        if ranker is None:
            return [(found.hits, found.rerank_flops) for found in retrievals]
        return ranker.rank(questions, [found.hits for found in retrievals])

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


def _writer(making: QueryMaking, reader: Reader | Solver | None) -> Reader | None:
    """The reader where it writes the queries."""
    if making not in WRITINGS:
        return None
    check_writer(making, reader)
    assert reader is not None and not isinstance(reader, Solver)
    return reader


def _shuffled(found: Found) -> Found:
    """Another question's passages without their scores, which say how well they fit that question."""
    return replace(found, hits=_as_hits([hit.passage for hit in found.hits], "shuffled"))


def _partner(question: Question, others: Sequence[Question], seed: int) -> Question | None:
    """Another question of the benchmark, the same for every arm and rung; None where there is no other."""
    candidates = [other for other in others if other.id != question.id and other.text != question.text]
    if not candidates:
        return None
    return candidates[content_seed(seed, "shuffled", question.id, question.text) % len(candidates)]


def _as_hits(passages: Sequence[Passage], stage: str) -> tuple[Hit, ...]:
    return tuple(Hit(passage, rank, 0.0, {stage: 0.0}) for rank, passage in enumerate(passages, 1))

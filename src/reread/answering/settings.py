"""What every arm of a run shares."""

from __future__ import annotations

from dataclasses import dataclass, field

from reread.reading.prompts import Layout
from reread.retrieval import QueryMaking


@dataclass(frozen=True, slots=True)
class Settings:
    """The dials of the stack; defaults are those of a recipe."""

    form: str
    """Prompt form: cloze, letters, short or chat (reading/prompts.py)."""
    k: int = 5
    """Passages before the question."""
    fetch_k: int = 100
    """Hits that reranking and MMR choose from."""
    n_samples: int = 8
    """Samples, or seeded views, of an arm that votes."""
    temperature: float = 0.7
    """Of sampled generations; a single sample is greedy."""
    max_tokens: int = 512
    """Most tokens of one generation; a form that needs fewer takes fewer."""
    budget_tokens: int | None = None
    """Most tokens of a prompt; the reader's own context by default."""
    bag_frac: float = 0.5
    """Share of the passages that each bagged sample sees."""
    consistency_k: int = 10
    """Candidates that the reranker `consistency` reads, each alone."""
    mmr_lambda: float = 0.7
    """Weight of relevance against novelty."""
    query: QueryMaking = "question"
    """What is retrieved with (retrieval/queries.py)."""
    layout: Layout = field(default_factory=Layout)
    """How passages stand in the prompt."""
    adaptive: float | None = None
    """Draw samples until the vote is settled: 1.0 stops once no further sample can change the winner, a number below
    it once the winner stands with that confidence. None draws all of them."""
    judge: bool = False
    """Whether the reader itself judges if two short answers that differ in their words are one vote."""
    seed: int = 0

"""What every arm of a run shares."""

from __future__ import annotations

from dataclasses import dataclass

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
    mmr_lambda: float = 0.7
    """Weight of relevance against novelty."""
    query: QueryMaking = "question"
    """What is retrieved with: question or options."""
    seed: int = 0

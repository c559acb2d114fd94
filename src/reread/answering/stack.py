"""The parts that an arm puts together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from reread.answering.passages import PassageFinder
from reread.answering.settings import Settings
from reread.protocols import Reader, Scorer, Solver
from reread.types import Question


@dataclass(frozen=True, slots=True)
class Stack:
    """A reader with everything that it answers through."""

    reader: Reader | Solver
    finder: PassageFinder
    settings: Settings
    scorer: Scorer
    exemplars: Mapping[str, Sequence[Question]]
    """Solved questions to show first, by subject ("" for a benchmark whose exemplars serve every subject)."""
    verdicts: dict[str, tuple[bool, float]] = field(default_factory=dict)
    """What the reader judged already (judge.py): prompt → whether two answers are one, and the FLOPs it took."""
    consistencies: dict[tuple[str, str, tuple[str, ...]], tuple[list[float], float]] = field(default_factory=dict)
    """Candidates ranked already (reranker.py): question (id, text) and passage ids → scores, and the FLOPs it took."""

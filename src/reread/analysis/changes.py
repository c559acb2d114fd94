"""Answers that one arm changed: which questions it mended and which it broke."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Outcome:
    """An arm's answer to one question and its score."""

    answer: str | None
    score: float


@dataclass(frozen=True, slots=True)
class Changes:
    """Arm b against arm a over the questions that both answered."""

    n: int
    changed: int
    """Questions whose answer differs, an unparsed one included."""
    mended: tuple[str, ...]
    """Ids of questions on which b scores higher, in a's order."""
    broken: tuple[str, ...]

    @property
    def changed_frac(self) -> float | None:
        return self.changed / self.n if self.n else None

    @property
    def mended_frac(self) -> float | None:
        return len(self.mended) / self.n if self.n else None

    @property
    def broken_frac(self) -> float | None:
        return len(self.broken) / self.n if self.n else None


def changes(a: Mapping[str, Outcome], b: Mapping[str, Outcome]) -> Changes:
    """What changed from a to b, paired by question id; questions that only one arm has are left out."""
    shared = [question for question in a if question in b]
    return Changes(
        n=len(shared),
        changed=sum(a[q].answer != b[q].answer for q in shared),
        mended=tuple(q for q in shared if b[q].score > a[q].score),
        broken=tuple(q for q in shared if b[q].score < a[q].score),
    )

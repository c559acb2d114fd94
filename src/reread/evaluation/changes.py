"""Answers that one arm changed, against another arm or another reader: which it mended, which it broke, which it only
changed from one wrong answer to another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


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
    alike: int = 0
    """Questions whose answer changed and whose score did not: from one wrong answer to another, as a rule."""

    @property
    def changed_frac(self) -> float | None:
        return self.changed / self.n if self.n else None

    @property
    def mended_frac(self) -> float | None:
        return len(self.mended) / self.n if self.n else None

    @property
    def broken_frac(self) -> float | None:
        return len(self.broken) / self.n if self.n else None

    def as_dict(self) -> dict[str, Any]:
        """Counts, as scores.json holds them."""
        return {
            "n": self.n,
            "changed": self.changed,
            "mended": len(self.mended),
            "broken": len(self.broken),
            "changed_alike": self.alike,
        }


def changes(
    a: Mapping[str, Outcome], b: Mapping[str, Outcome], same: Callable[[str, str], bool] | None = None
) -> Changes:
    """What changed from a to b, paired by question id; questions that only one arm has are left out.

    same: whether two answers are one ("Paris." and "paris"); equal strings by default. A score that changed means that
    the answer did, whatever `same` says.
    """
    shared = [question for question in a if question in b]
    changed = {q for q in shared if a[q].score != b[q].score or _differ(a[q].answer, b[q].answer, same)}
    return Changes(
        n=len(shared),
        changed=len(changed),
        mended=tuple(q for q in shared if b[q].score > a[q].score),
        broken=tuple(q for q in shared if b[q].score < a[q].score),
        alike=sum(a[q].score == b[q].score for q in changed),
    )


def outcomes(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, Outcome]:
    """Rows of answers.jsonl by question id as outcomes; those without a score are left out."""
    return {
        q: Outcome(row.get("answer"), float(row["score"])) for q, row in rows.items() if row.get("score") is not None
    }


def _differ(a: str | None, b: str | None, same: Callable[[str, str], bool] | None) -> bool:
    if a is None or b is None:
        return a is not b
    return a != b and not (same is not None and same(a, b))

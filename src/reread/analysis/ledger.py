"""The bill: every FLOP by stage, and after how many questions training more would have been cheaper."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from reread.errors import UsageError

STAGES = ("train", "index", "query", "search", "rerank", "prompt", "samples")
"""In the order in which they are spent. train: the rung itself; index: embedding and building, once for all
rungs and arms; the others are spent again for every question (query: what a reader wrote to search with)."""


@dataclass(frozen=True, slots=True)
class Charge:
    """FLOPs of one stage. Without a rung it is shared by all rungs, without an arm by all arms."""

    stage: str
    flops: float
    rung: str | None = None
    arm: str | None = None

    def __post_init__(self) -> None:
        if self.stage not in STAGES:
            raise UsageError(f"unknown ledger stage {self.stage!r}; the stages are {', '.join(STAGES)}")
        if not (math.isfinite(self.flops) and self.flops >= 0):
            raise UsageError(f"FLOPs of stage {self.stage} must be a number ≥ 0; got {self.flops}")


@dataclass(frozen=True, slots=True)
class BillRow:
    """What one arm on one rung cost in all."""

    rung: str
    arm: str
    by_stage: Mapping[str, float]
    """FLOPs by stage; a stage that was not charged is absent."""
    total_flops: float


@dataclass(frozen=True, slots=True)
class BreakEven:
    """When an arm stops being the cheaper way to its accuracy."""

    rung: str
    arm: str
    extra_training_flops: float | None
    """Equivalent minus spent training FLOPs."""
    index_flops: float
    extra_flops_per_question: float
    """The arm's inference FLOPs a question minus the baseline's."""
    n_questions: float | None
    """Below this many questions the arm was cheaper than training more; 0 where it never was, None where
    there is no such number, with the reason."""
    reason: str | None = None


def bill(charges: Iterable[Charge]) -> tuple[BillRow, ...]:
    """One row for every (rung, arm) that has a charge of its own; shared charges are put on each, in full.

    An index without an arm is charged only to arms that searched: a baseline needs none.
    """
    charges = tuple(charges)
    pairs = dict.fromkeys((c.rung, c.arm) for c in charges if c.rung is not None and c.arm is not None)
    searched = {(c.rung, c.arm) for c in charges if c.stage == "search" and c.flops > 0}
    rows = []
    for rung, arm in pairs:
        assert rung is not None and arm is not None
        by_stage: dict[str, float] = {}
        for charge in charges:
            if charge.rung not in (None, rung) or charge.arm not in (None, arm):
                continue
            if charge.stage == "index" and charge.arm is None and (rung, arm) not in searched:
                continue
            by_stage[charge.stage] = by_stage.get(charge.stage, 0.0) + charge.flops
        ordered = {stage: by_stage[stage] for stage in STAGES if stage in by_stage}
        rows.append(BillRow(rung, arm, ordered, math.fsum(ordered.values())))
    return tuple(rows)


def break_even(
    rung: str,
    arm: str,
    *,
    train_flops: float,
    equivalent_flops: float | None,
    index_flops: float,
    flops_per_question: float,
    baseline_flops_per_question: float,
) -> BreakEven:
    """After how many questions training to the arm's accuracy would have cost less than the arm.

        n = (extra training FLOPs − index FLOPs) / extra inference FLOPs a question

    The reader trained further is taken to cost as much a question as the one at hand (more tokens, not more
    parameters); a larger one would cost more, and n would be larger.
    """
    extra_per_question = flops_per_question - baseline_flops_per_question
    if equivalent_flops is None:
        reason = "the arm's accuracy has no equivalent training compute on this curve"
        return BreakEven(rung, arm, None, index_flops, extra_per_question, None, reason)
    extra_training = equivalent_flops - train_flops
    n_questions: float | None
    reason_or_none: str | None = None
    if extra_training <= 0:
        n_questions, reason_or_none = 0.0, "the arm is worth no extra training"
    elif extra_training <= index_flops:
        n_questions, reason_or_none = 0.0, "indexing alone costs more than training to the same accuracy"
    elif extra_per_question <= 0:
        n_questions, reason_or_none = (
            None,
            "a question costs no more than the baseline's, so there is no end to it",
        )
    else:
        n_questions = (extra_training - index_flops) / extra_per_question
    return BreakEven(rung, arm, extra_training, index_flops, extra_per_question, n_questions, reason_or_none)

"""The paper's published figures (arXiv 2511.04234): the golden example, and a column beside our own
measurements.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from reread.analysis.multiplier import BASELINE, Measurement, Points

READER = "Llama 3.1 8B Instruct"


@dataclass(frozen=True, slots=True)
class PublishedMultiplier:
    """A multiplier as printed in the paper; train_flops None for its outside reader."""

    arm: str
    train_flops: float | None
    value: float


def published_accuracy(benchmark: str, arm: str) -> float | None:
    """Accuracy in [0, 1] of Llama 3.1 8B Instruct in the paper; None for what the paper does not report."""
    percent = _figures()["llama31_8b_instruct_percent"].get(benchmark, {}).get(arm)
    return None if percent is None else round(percent / 100, 6)


def published_contamination(benchmark: str) -> float | None:
    """Share of a benchmark's questions that the paper found in public corpora, in [0, 1]."""
    share = _figures()["contamination_frac"].get(benchmark)
    return share if isinstance(share, float) else None


def published_multipliers() -> tuple[PublishedMultiplier, ...]:
    """MMLU: the ladder's five, then the outside reader's arms."""
    figures = _figures()
    ladder = [
        PublishedMultiplier("retrieval", rung["train_flops"], rung["multiplier"]) for rung in figures["mmlu_ladder"]
    ]
    arms = figures["llama31_8b_instruct_mmlu_multipliers"].items()
    return (*ladder, *(PublishedMultiplier(arm, None, value) for arm, value in arms))


def paper_points() -> Points:
    """The paper's MMLU ladder and the arms of its outside reader, as measurements.

    n is the size of MMLU's test split: the paper gives none of its own, so intervals say what that many
    questions can resolve, if all of them were asked.
    """
    figures = _figures()
    n = figures["mmlu_questions"]
    rows = [
        Measurement(arm, rung["train_flops"], rung[key], n)
        for arm, key in ((BASELINE, "base"), ("retrieval", "retrieval"))
        for rung in figures["mmlu_ladder"]
    ]
    for arm, percent in figures["llama31_8b_instruct_percent"]["mmlu"].items():
        rows.append(Measurement(arm, None, round(percent / 100, 6), n, READER))
    return Points.of(rows, "mmlu")


@cache
def _figures() -> dict[str, Any]:
    text = resources.files("reread.analysis").joinpath("paper.json").read_text(encoding="utf-8")
    figures: dict[str, Any] = json.loads(text)
    return figures

"""From answers.jsonl to scores: accuracies with intervals, paired comparisons, subjects. No model is needed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from reread.answering.arms import parse_arm
from reread.evaluation.statistics import compare, holm, wilson

STAGES = ("query", "search", "rerank", "prompt", "samples")
"""What a question costs, in the order in which it is spent."""

BASELINE, RANDOM = "baseline", "random"
MAX_SUBJECTS = 100
"""A benchmark with more subjects than this gets no per-subject table."""


@dataclass(frozen=True, slots=True)
class Cell:
    """The scores of one arm of one reader on one benchmark, by question id."""

    rows: Mapping[str, Mapping[str, Any]]

    def scores(self, question_ids: Sequence[str]) -> list[float]:
        return [float(self.rows[question_id]["score"]) for question_id in question_ids]


def cells(rows: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, dict[str, Cell]]]:
    """Rows of answers.jsonl by benchmark, then reader, then arm; a question answered twice counts once (the first)."""
    grouped: dict[str, dict[str, dict[str, dict[str, Mapping[str, Any]]]]] = {}
    for row in rows:
        arm = grouped.setdefault(row["benchmark"], {}).setdefault(row["rung"], {}).setdefault(row["arm"], {})
        arm.setdefault(row["question_id"], row)
    return {
        benchmark: {rung: {arm: Cell(found) for arm, found in arms.items()} for rung, arms in rungs.items()}
        for benchmark, rungs in grouped.items()
    }


def arm_score(cell: Cell) -> dict[str, Any]:
    """n, accuracy with Wilson's 95 % interval, answers unparsed, answers with passages dropped, mean cost, F1.

    Where a reader was to write the queries: `query_fallbacks`, the questions searched with as they are, since it wrote
    none that can be used.
    """
    rows = list(cell.rows.values())
    n = len(rows)
    correct = math.fsum(float(row["score"]) for row in rows)
    interval = wilson(correct, n)
    score: dict[str, Any] = {
        "n": n,
        "accuracy": correct / n if n else None,
        "low": interval.low if interval else None,
        "high": interval.high if interval else None,
        "unparsed": sum(row["answer"] is None for row in rows),
        "passages_dropped": sum(row.get("n_dropped", 0) > 0 for row in rows),
        "flops_per_question": math.fsum(sum(row["flops"].values()) for row in rows) / n if n else None,
        "flops_by_stage": {stage: math.fsum(row["flops"].get(stage, 0.0) for row in rows) / n for stage in STAGES if n},
        "tokens_per_question": sum(row["n_prompt_tokens"] + row["n_tokens"] for row in rows) / n if n else None,
    }
    counts = [len(row["samples"]) for row in rows if "samples" in row]
    if counts:
        score["samples_per_question"] = sum(counts) / len(counts)
    fallbacks = [row["query_fallback"] for row in rows if "query_fallback" in row]
    if fallbacks:
        score["query_fallbacks"] = sum(fallbacks)
    with_f1 = [row["f1"] for row in rows if row.get("f1") is not None]
    if with_f1:
        score["f1"] = math.fsum(with_f1) / len(with_f1)
    bits = [row["bits_per_byte"] for row in rows if row.get("bits_per_byte") is not None]
    if bits:
        score["gold_bits_per_byte"] = math.fsum(bits) / len(bits)
    grades = [row["grade"] for row in rows if row.get("grade") is not None]
    if grades:
        score["grades"] = {grade: grades.count(grade) for grade in sorted(set(grades))}
    return score


def comparisons(arms: Mapping[str, Cell], seed: int = 0) -> list[dict[str, Any]]:
    """Every arm against `baseline`, and every arm with chosen passages against `random`.

    Where there is no baseline, against `random`; where there is neither, against the first arm. Always over the
    questions that both answered. p is McNemar's mid-p; p_holm is corrected for the comparisons in this list.
    """
    reference = next((arm for arm in (BASELINE, RANDOM) if arm in arms), next(iter(arms), None))
    pairs = [(reference, arm) for arm in arms if reference is not None and arm != reference]
    if reference == BASELINE and RANDOM in arms:
        pairs += [(RANDOM, arm) for arm in arms if parse_arm(arm).passages in ("retrieved", "oracle")]
    compared: list[dict[str, Any]] = []
    for a, b in pairs:
        shared = [question_id for question_id in arms[a].rows if question_id in arms[b].rows]
        result = compare(arms[a].scores(shared), arms[b].scores(shared), seed=seed)
        if result is None:
            continue
        compared.append(
            {
                "a": a,
                "b": b,
                "n": result.n,
                "difference": result.difference,
                "low": result.low,
                "high": result.high,
                "p": result.p,
                "mended": result.mended,
                "broken": result.broken,
            }
        )
    for comparison, adjusted in zip(compared, holm([c["p"] for c in compared]), strict=True):
        comparison["p_holm"] = adjusted
    return compared


def subject_scores(arms: Mapping[str, Cell], subject_of: Mapping[str, str]) -> dict[str, Any]:
    """Accuracy by subject and arm; empty where the benchmark has one subject, or too many to read."""
    subjects = sorted({subject_of.get(question_id, "") for cell in arms.values() for question_id in cell.rows})
    if not 2 <= len(subjects) <= MAX_SUBJECTS:
        return {}
    table: dict[str, Any] = {}
    for subject in subjects:
        table[subject] = {}
        for arm, cell in arms.items():
            rows = {q: row for q, row in cell.rows.items() if subject_of.get(q, "") == subject}
            if rows:
                score = arm_score(Cell(rows))
                table[subject][arm] = {key: score[key] for key in ("n", "accuracy", "low", "high")}
    return table


def score_matrix(
    readers: Mapping[str, Mapping[str, Cell]], points: Sequence[tuple[str, str]]
) -> tuple[list[str], npt.NDArray[np.float64]]:
    """(question ids, scores_QxP) for the points (reader, arm); NaN where a point lacks a question."""
    question_ids = list(dict.fromkeys(q for reader, arm in points for q in readers[reader][arm].rows))
    matrix = np.full((len(question_ids), len(points)), np.nan)
    for column, (reader, arm) in enumerate(points):
        rows = readers[reader][arm].rows
        for line, question_id in enumerate(question_ids):
            if question_id in rows:
                matrix[line, column] = float(rows[question_id]["score"])
    return question_ids, matrix


def benchmark_scores(
    readers: Mapping[str, Mapping[str, Cell]],
    train_flops: Mapping[str, float | None],
    subject_of: Mapping[str, str],
    *,
    kind: str,
    chance: float,
    seed: int = 0,
) -> dict[str, Any]:
    """One benchmark's part of scores.json, rungs ordered by training FLOPs (outside readers last)."""
    rungs = []
    for name in sorted(readers, key=lambda name: (train_flops.get(name) or math.inf, name)):
        arms = readers[name]
        rungs.append(
            {
                "name": name,
                "train_flops": train_flops.get(name),
                "arms": {arm: arm_score(cell) for arm, cell in arms.items()},
                "comparisons": comparisons(arms, seed),
                "multipliers": {},
                "subjects": subject_scores(arms, subject_of),
            }
        )
    return {"kind": kind, "chance": chance, "rungs": rungs, "curve": None}

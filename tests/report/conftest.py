"""A run folder with made-up answers, scored by the project's own code, so that all its files agree."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reread.analysis.ledger import Charge, bill, break_even
from reread.analysis.measure import curve_json, measure, multiplier_json, sensitivity_json
from reread.errors import FitError
from reread.evaluation.scores import benchmark_scores, cells

ARMS = {
    "baseline": 0.0,
    "sc": 0.01,
    "retrieval": 0.14,
    "rerank": 0.17,
    "docs": 0.16,
    "random": -0.02,
    "oracle": 0.30,
}
FLOPS = (9e11, 5e12, 1.2e13, 3.1e13, 9.4e13)
BASE = (0.31, 0.48, 0.62, 0.66, 0.68)


@pytest.fixture(scope="session")
def write_run() -> Callable[..., Path]:
    return written_run


def written_run(
    folder: Path,
    *,
    n: int = 120,
    n_rungs: int = 3,
    ladder: bool = True,
    question: str = "Who wrote “The Glass Meridian”?",
    passage: str = "The Glass Meridian is a novel by Oona Vass, printed in Tarn in 1903.",
    title: str = "The Glass Meridian",
    choices: tuple[str, ...] = ("Oona Vass", "Per Lind", "Ada Quill", "Ivo Marr"),
    subjects: tuple[str, ...] = ("people", "works", "compounds"),
    arms: dict[str, float] | None = None,
    name: str = "demo",
    benchmark: str = "world",
) -> Path:
    """A finished run of `n` questions; without `ladder` the readers have no training FLOPs."""
    folder.mkdir(parents=True, exist_ok=True)
    arms = ARMS if arms is None else arms
    rng = np.random.default_rng(7)
    ease = rng.random(n)
    questions: list[dict[str, Any]] = [
        {
            "benchmark": benchmark, "question_id": f"q{i}", "subject": subjects[i % len(subjects)],
            "text": f"{question} ({i})", "choices": list(choices), "answers": ["A"],
        }
        for i in range(n)
    ]  # fmt: skip
    passages = [
        {"passage_id": f"p{i}", "doc_id": f"d{i}", "source": "corpus.jsonl", "title": title,
         "text": passage if i % 3 == 0 else f"Passage {i}: nothing about it."}
        for i in range(30)
    ]  # fmt: skip
    rows: list[dict[str, Any]] = []
    for rung in range(n_rungs):
        for arm, gain in arms.items():
            noise = 0.6 * ease + 0.4 * rng.random(n)
            # The share of the noise below `cut` is the accuracy wanted, so the rungs rise as they should.
            cut = np.quantile(noise, min(0.99, BASE[rung] + gain))
            for i in range(n):
                right = bool(noise[i] < cut)
                with_hits = arm not in ("baseline", "sc")
                rows.append(_answer(benchmark, f"rung-{rung}", arm, i, right, with_hits, FLOPS[rung]))
    flops = {f"rung-{i}": FLOPS[i] if ladder else None for i in range(n_rungs)}
    subject_of = {row["question_id"]: row["subject"] for row in questions}
    entry = benchmark_scores(cells(rows)[benchmark], flops, subject_of, kind="letter", chance=0.25)
    entry["retrieval"] = {
        "answer": {k: {"n": n, "recall": r, "low": r - 0.03, "high": r + 0.03} for k, r in (("1", 0.6), ("5", 0.8))},
        "gold": {k: {"n": n, "recall": r, "low": r - 0.03, "high": r + 0.03} for k, r in (("1", 0.5), ("5", 0.7))},
    }
    decontamination = {
        "benchmarks": {benchmark: {"n_questions": n, "n_contaminated": 9, "contaminated_frac": 9 / n,
                                   "coverage": {"ngram": n - 4, "short": 0, "unchecked": 4}}},
        "n_documents": 1000,
    }  # fmt: skip
    scores: dict[str, Any] = {
        "name": name, "headline": benchmark, "published": None, "benchmarks": {benchmark: entry},
        "rungs": entry["rungs"], "curve": None, "ledger": {}, "decontamination": decontamination,
    }  # fmt: skip
    _lines(folder / "answers.jsonl", rows)
    _lines(folder / "questions.jsonl", questions)
    _lines(folder / "passages.jsonl", passages)
    (folder / "scores.json").write_text(json.dumps(scores))
    if ladder and "baseline" in arms:
        _add_analysis(folder, scores, entry)
        (folder / "scores.json").write_text(json.dumps(scores))
    (folder / "recipe.yaml").write_text(f"name: {name}\nseed: 0\narms: [{', '.join(arms)}]\n")
    manifest = {"reread": "0.1.0", "python": "3.11.7", "packages": {"numpy": "2.4.0"}, "seed": 0}
    manifest["readers"] = [{"name": rung, "spec": f"hf:{rung}", "train_flops": x} for rung, x in flops.items()]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def _answer(
    benchmark: str, rung: str, arm: str, i: int, right: bool, with_hits: bool, train_flops: float
) -> dict[str, Any]:
    hits = [
        {"rank": rank + 1, "score": 9.0 - rank, "passage_id": f"p{(i + rank) % 30}", "doc_id": f"d{(i + rank) % 30}",
         "stages": {"bm25": 9.0 - rank}}
        for rank in range(3)
    ]  # fmt: skip
    per_token = (train_flops / 1e5) ** 0.5
    flops = {"prompt": per_token * (300 if with_hits else 60), "samples": 0.0}
    if with_hits:
        flops["search"] = 4000.0
    answer = "A" if right else None if i % 53 == 0 else "BCD"[i % 3]
    return {
        "benchmark": benchmark, "rung": rung, "arm": arm, "question_id": f"q{i}", "answer": answer,
        "score": float(right), "confidence": 0.8, "votes": {answer: 1.0} if answer else {},
        "samples": [{"text": f"Answer: {answer}", "vote": answer, "n_prompt_tokens": 60, "n_tokens": 4,
                     "logprob": -0.3}],
        "hits": hits if with_hits else [], "bits_per_byte": 0.4 + i / 1000,
        "n_prompt_tokens": 60, "n_tokens": 4, "flops": flops,
    }  # fmt: skip


def _add_analysis(folder: Path, scores: dict[str, Any], entry: dict[str, Any]) -> None:
    try:
        analysis = measure([folder], ceiling=0.98)
    except FitError as error:
        entry["curve_error"] = str(error)
        return
    entry["curve"] = curve_json(analysis.measured.curve)
    entry["sensitivity"] = sensitivity_json(analysis.points, analysis.choice)
    rungs = {rung["train_flops"]: rung for rung in entry["rungs"]}
    for point in analysis.measured.multipliers:
        rungs[point.train_flops]["multipliers"][point.arm] = multiplier_json(point)
    charges = [Charge("index", 3e9)]
    even = []
    for rung in entry["rungs"]:
        charges.append(Charge("train", rung["train_flops"], rung["name"]))
        for arm, score in rung["arms"].items():
            for stage, flops in score["flops_by_stage"].items():
                charges.append(Charge(stage, flops * score["n"], rung["name"], arm))
            if arm in rung["multipliers"]:
                found = break_even(
                    rung["name"], arm, train_flops=rung["train_flops"],
                    equivalent_flops=rung["multipliers"][arm]["equivalent_flops"], index_flops=3e9,
                    flops_per_question=score["flops_per_question"],
                    baseline_flops_per_question=rung["arms"]["baseline"]["flops_per_question"],
                )  # fmt: skip
                even.append(asdict(found))
    scores["curve"] = entry["curve"]
    scores["ledger"] = {
        "stages": [asdict(charge) for charge in charges],
        "bill": [asdict(row) for row in bill(charges)],
        "break_even": even,
    }


def _lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))

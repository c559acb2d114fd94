"""`reread demo`, killed half-way and run again, shows the paper's effect with its controls."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from reread.world import stored_rungs

N_QUESTIONS = 500
HALF_WAY = 20_000
"""Answers, of 47,500."""


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demo") / "run"
    command = [sys.executable, "-m", "reread", "demo", "--out", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    answers = out / "answers.jsonl"
    while not answers.exists() or count_lines(answers) < HALF_WAY:
        assert process.poll() is None, "the demo ended before it could be killed"
        time.sleep(0.5)
    process.send_signal(signal.SIGKILL)
    process.wait()
    first = answers.read_bytes()
    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    (out / "shown.txt").write_text(finished.stdout, encoding="utf-8")
    kept = first[: first.rfind(b"\n") + 1]
    assert answers.read_bytes().startswith(kept), "what was answered before the kill was kept"
    return out


def count_lines(path: Path) -> int:
    return path.read_bytes().count(b"\n")


@pytest.fixture(scope="module")
def scores(demo: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((demo / "scores.json").read_text(encoding="utf-8"))
    return found


def comparison(rung: dict[str, Any], a: str, b: str) -> dict[str, Any]:
    (found,) = (c for c in rung["comparisons"] if (c["a"], c["b"]) == (a, b))
    return dict(found)


def test_every_rung_and_arm_is_complete(scores: dict[str, Any]) -> None:
    assert len(scores["rungs"]) == len(stored_rungs()) >= 4
    flops = [rung["train_flops"] for rung in scores["rungs"]]
    assert flops == sorted(flops)
    assert flops[-1] / flops[0] >= 30
    for rung in scores["rungs"]:
        assert {"baseline", "sc", "retrieval", "retrieval+mmr", "docs", "random", "shuffled", "oracle"} == set(
            rung["arms"]
        )
        for score in rung["arms"].values():
            assert score["n"] == N_QUESTIONS
            assert score["low"] <= score["accuracy"] <= score["high"]
        for multiplier in rung["multipliers"].values():
            assert {"value", "low", "high", "extrapolated"} <= set(multiplier)
        assert "retrieval" in rung["multipliers"]


def test_the_baseline_rises_with_compute(scores: dict[str, Any]) -> None:
    baseline = [rung["arms"]["baseline"]["accuracy"] for rung in scores["rungs"]]
    assert baseline == sorted(baseline)
    assert baseline[-1] - baseline[0] > 0.3


def test_the_upper_rungs_really_read(scores: dict[str, Any]) -> None:
    for rung in scores["rungs"][-2:]:
        retrieval = comparison(rung, "baseline", "retrieval")
        assert retrieval["difference"] > 0.1
        assert retrieval["p"] < 0.01
        assert comparison(rung, "random", "oracle")["difference"] >= 0.2
        assert rung["multipliers"]["retrieval"]["value"] > 2


def test_random_passages_help_nobody(scores: dict[str, Any]) -> None:
    for rung in scores["rungs"]:
        random = comparison(rung, "baseline", "random")
        assert random["difference"] <= 0 or random["p"] > 0.05


def test_retrieval_does_not_help_where_it_cannot(scores: dict[str, Any]) -> None:
    for rung in scores["benchmarks"]["world-control"]["rungs"]:
        assert comparison(rung, "baseline", "retrieval")["p"] > 0.01
        assert abs(rung["arms"]["retrieval"]["accuracy"] - 0.25) < 0.08
    assert scores["benchmarks"]["world-control"]["curve"] is None


def test_decontamination_found_the_planted_share(scores: dict[str, Any]) -> None:
    found = scores["decontamination"]["benchmarks"]
    assert 0.03 < found["world"]["contaminated_frac"] < 0.1
    assert found["world-control"]["n_contaminated"] == 0


def test_the_bill_names_training_search_and_reading(scores: dict[str, Any]) -> None:
    top = scores["rungs"][-1]["name"]
    (row,) = (r for r in scores["ledger"]["bill"] if r["rung"] == top and r["arm"] == "retrieval")
    assert all(row["by_stage"][stage] > 0 for stage in ("train", "search", "prompt"))
    (even,) = (r for r in scores["ledger"]["break_even"] if r["rung"] == top and r["arm"] == "retrieval")
    assert even["n_questions"] > 0


def test_the_terminal_and_the_page_tell_the_story(demo: Path) -> None:
    shown = (demo / "shown.txt").read_text(encoding="utf-8")
    for part in (
        "baseline",
        "oracle",
        "is worth",
        "Decontamination",
        "The bill",
        "mended",
        "broke",
        "reread ask FOLDER",
    ):
        assert part in shown
    html = (demo / "report.html").read_text(encoding="utf-8")
    assert "<svg" in html
    assert "the training compute of" in html

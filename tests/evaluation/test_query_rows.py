"""What a run keeps of the queries that a reader wrote, and what the tables say of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reread.evaluation.scores import STAGES, Cell, arm_score
from reread.recipe import eval_recipe
from reread.report import load_run, score_table
from reread.report.tables import score_rows
from reread.world import stored_rungs, write_world


def row(score: float = 1.0, n_samples: int = 1, **more: Any) -> dict[str, Any]:
    flops = dict.fromkeys(STAGES, 2.0)
    samples = [{"text": "a", "vote": "A"}] * n_samples
    return {
        "score": score,
        "answer": "A",
        "flops": flops,
        "n_prompt_tokens": 1,
        "n_tokens": 1,
        "samples": samples,
    } | more


def test_fallbacks_are_counted_and_are_no_number_where_nothing_was_written() -> None:
    wrote = {"a": row(query_fallback=True), "b": row(query_fallback=False), "c": row(query_fallback=True)}
    assert arm_score(Cell(wrote))["query_fallbacks"] == 2
    assert "query_fallbacks" not in arm_score(Cell({"a": row()}))


def test_samples_a_question_are_the_mean_over_what_was_drawn() -> None:
    assert arm_score(Cell({"a": row(n_samples=2), "b": row(n_samples=5)}))["samples_per_question"] == 3.5
    assert "samples_per_question" not in arm_score(Cell({"a": {k: v for k, v in row().items() if k != "samples"}}))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten of a small world's questions, put to the demo's upper rung through the whole of `reread eval`."""
    pytest.importorskip("torch")
    from reread.datastore import build
    from reread.probe import run_probe

    folder = tmp_path_factory.mktemp("queries")
    files = write_world(folder / "world", 0, 200, n_questions=30)
    build([str(files["corpus"])], folder / "store", chunk_words=50)
    recipe = eval_recipe(
        [f"world-short:{files['world-short']}"],
        reader=f"hf:{stored_rungs()[-1]}",
        store=folder / "store",
        arms="retrieval,retrieval+hyde,retrieval+rewrite,retrieval+sc",
        retrieval={},
        embedder=None,
        reading={"k": 2, "n_samples": 4, "max_tokens": 6, "adaptive": 1.0},
        benchmark={"form": "short", "limit": 10, "shots": 0},
        grader=None,
        seed=0,
    )
    run_probe(recipe, folder / "run")
    return folder / "run"


def test_a_row_keeps_what_the_reader_wrote_and_charges_it(run: Path) -> None:
    rows = [json.loads(line) for line in (run / "answers.jsonl").read_text(encoding="utf-8").splitlines()]
    questions = {
        r["question_id"]: r["text"] for r in map(json.loads, (run / "questions.jsonl").read_text().splitlines())
    }
    assert {r["arm"] for r in rows} == {"retrieval", "retrieval+hyde", "retrieval+rewrite", "retrieval+sc"}
    for found in rows:
        wrote = found["arm"] in ("retrieval+hyde", "retrieval+rewrite")
        assert ("queries" in found) is ("query_fallback" in found) is wrote
        assert (found["flops"]["query"] > 0) is wrote
        if wrote:
            text = questions[found["question_id"]]
            assert 1 <= len(found["queries"]) <= 3 and all(0 < len(query) <= 200 for query in found["queries"])
            if found["arm"] == "retrieval+hyde":
                assert found["queries"][0] == text
            if found["query_fallback"]:
                assert found["queries"] == [text]


def test_the_tables_and_the_ledger_show_the_new_stage_and_the_samples(run: Path) -> None:
    scores = json.loads((run / "scores.json").read_text())
    arms = scores["benchmarks"]["world-short"]["rungs"][0]["arms"]
    assert arms["retrieval+hyde"]["flops_by_stage"]["query"] > 0 == arms["retrieval"]["flops_by_stage"]["query"]
    assert {c["arm"] for c in scores["ledger"]["stages"] if c["stage"] == "query" and c["flops"]} == {
        "retrieval+hyde",
        "retrieval+rewrite",
    }
    assert 1 <= arms["retrieval+sc"]["samples_per_question"] <= 4
    loaded = load_run(run)
    head = score_rows(loaded, loaded.benchmarks[0]).head
    assert "no query written" in head and "samples a question" in head
    said = Path(run / "report.html").read_text(encoding="utf-8")
    assert "no query written" in said


def test_the_terminal_says_what_was_drawn_and_what_was_not_written(run: Path, tmp_path: Path) -> None:
    from rich.console import Console

    scores = json.loads((run / "scores.json").read_text())
    hyde = scores["benchmarks"]["world-short"]["rungs"][0]["arms"]["retrieval+hyde"]
    hyde |= {"query_fallbacks": 7, "samples_per_question": 2.25}
    (tmp_path / "scores.json").write_text(json.dumps(scores))
    loaded = load_run(tmp_path)
    console = Console(width=160, record=True)
    console.print(score_table(loaded, "world-short"))
    text = console.export_text()
    assert "no query written: retrieval+hyde 7" in text
    assert "samples a question: retrieval+hyde 2.2" in text

"""`reread report` as a person calls it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from reread.cli import run

WriteRun = Callable[..., Path]


def test_a_run_gets_its_page_and_a_table(
    tmp_path: Path, write_run: WriteRun, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_run(tmp_path / "run", n=60)
    assert run(["report", str(folder)]) == 0
    assert (folder / "report.html").read_text().startswith("<!doctype html>")
    assert "retrieval" in capsys.readouterr().out


def test_a_folder_that_is_no_run_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["report", str(tmp_path), "--out", str(tmp_path / "page.html")]) == 2
    assert "no finished run folder" in capsys.readouterr().err
    assert not (tmp_path / "page.html").exists()


RECIPE = """
name: demo
benchmarks: [{benchmark: world}]
readers: [{spec: "hf:rung-0"}, {spec: "hf:rung-1"}, {spec: "hf:rung-2"}]
datastore: {path: store}
arms: [baseline, retrieval, random]
curve: {ceiling: 0.98}
"""


@pytest.fixture
def whole_run(tmp_path: Path, write_run: WriteRun) -> Path:
    """A run folder whose recipe and manifest say enough to score its answers."""
    folder = write_run(tmp_path / "run", n=60, arms={"baseline": 0.0, "retrieval": 0.14, "random": -0.02})
    (folder / "recipe.yaml").write_text(RECIPE)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["benchmarks"] = {"world": {"kind": "letter", "chance": 0.25, "split": "test", "n_questions": 60}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def arms_of(folder: Path) -> list[dict[str, float]]:
    """Accuracy by arm, one dictionary a rung."""
    rungs = json.loads((folder / "scores.json").read_text())["benchmarks"]["world"]["rungs"]
    return [{arm: score["accuracy"] for arm, score in rung["arms"].items()} for rung in rungs]


def test_a_run_without_scores_is_scored_from_its_answers(whole_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    measured = arms_of(whole_run)
    (whole_run / "scores.json").unlink()
    assert run(["report", str(whole_run)]) == 0
    assert arms_of(whole_run) == measured
    assert "retrieval" in capsys.readouterr().out


def test_answers_newer_than_the_scores_are_counted(whole_run: Path) -> None:
    answers = whole_run / "answers.jsonl"
    rows = [json.loads(line) for line in answers.read_text().splitlines()]
    rows = [row | {"score": 1.0} if row["arm"] == "retrieval" else row for row in rows]
    answers.write_text("".join(json.dumps(row) + "\n" for row in rows))
    written = (whole_run / "scores.json").stat().st_mtime
    os.utime(answers, (written - 10, written - 10))
    before = arms_of(whole_run)
    assert run(["report", str(whole_run)]) == 0
    assert arms_of(whole_run) == before
    os.utime(answers, (written + 10, written + 10))
    assert run(["report", str(whole_run)]) == 0
    assert [rung["retrieval"] for rung in arms_of(whole_run)] == [1.0] * 3


def test_scores_alone_are_enough_for_a_page(whole_run: Path, tmp_path: Path) -> None:
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone" / "scores.json").write_text((whole_run / "scores.json").read_text())
    assert run(["report", str(tmp_path / "alone")]) == 0
    assert (tmp_path / "alone" / "report.html").is_file()


def test_warnings_are_printed_above_the_table(whole_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scores = json.loads((whole_run / "scores.json").read_text())
    (whole_run / "scores.json").write_text(
        json.dumps(scores | {"warnings": ["Some\u001b[2J [bold]answers[/bold] are missing."]})
    )
    assert run(["report", str(whole_run)]) == 0
    out = capsys.readouterr().out
    assert "\u001b" not in out
    assert -1 < out.index("[bold]answers[/bold] are missing.") < out.index("accuracy in %")


def test_decontamination_and_the_bill_are_a_sentence_each(tiny_run: Path) -> None:
    from reread.report import load_run, summary_lines

    lines = summary_lines(load_run(tiny_run))
    assert any(line.startswith("Decontamination: ") and "world questions" in line for line in lines)
    assert any(line.startswith("The bill of retrieval on small-64x1") and "train " in line for line in lines)

"""Which questions are shown, and the terminal's table."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from reread.errors import UsageError
from reread.report import load_run, numbers, score_table
from reread.report.examples import examples, marked

WriteRun = Callable[..., Path]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, write_run: WriteRun) -> Path:
    return write_run(tmp_path_factory.mktemp("run"), n=150)


def printed(table: object, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_mended_questions_were_wrong_and_became_right(folder: Path) -> None:
    run = load_run(folder)
    found = examples(run, run.benchmarks[0])
    assert found is not None
    assert (found.rung, found.arm) == ("rung-2", "retrieval")
    assert len(found.mended) == len(found.broken) == 3
    assert all(example.before != "A" and example.after == "A" for example in found.mended)
    assert all(example.before == "A" and example.after != "A" for example in found.broken)
    rows = [json.loads(line) for line in (folder / "answers.jsonl").read_text().splitlines()]
    score = {(r["arm"], r["question_id"]): r["score"] for r in rows if r["rung"] == "rung-2"}
    mended = sum(score["retrieval", f"q{i}"] > score["baseline", f"q{i}"] for i in range(150))
    assert len(found.found.mended) == mended


def test_the_answer_is_marked_in_the_passage_that_holds_it(folder: Path) -> None:
    run = load_run(folder)
    found = examples(run, run.benchmarks[0])
    assert found is not None
    passages = [passage for example in found.mended for passage in example.passages]
    holding = [passage for passage in passages if passage.holds_answer]
    assert holding and len(holding) < len(passages)
    assert all(("Oona Vass", True) in passage.parts for passage in holding)


def test_a_long_passage_is_shown_around_its_answer(tmp_path: Path, write_run: WriteRun) -> None:
    passage = "before " * 300 + "by Oona Vass in Tarn " + "after " * 300
    run = load_run(write_run(tmp_path, n=90, n_rungs=2, passage=passage))
    found = examples(run, run.benchmarks[0])
    assert found is not None
    holding = [p for example in found.mended for p in example.passages if p.holds_answer]
    assert holding
    for shown in holding:
        text = "".join(piece for piece, _ in shown.parts)
        assert ("Oona Vass", True) in shown.parts
        assert len(text) < 600 and text.startswith("… before") and text.endswith("after …")


def test_rows_that_carry_their_question_and_passages_are_read(tmp_path: Path, write_run: WriteRun) -> None:
    folder = write_run(tmp_path, n=60, n_rungs=2)
    passages = {r["passage_id"]: r for r in map(json.loads, (folder / "passages.jsonl").read_text().splitlines())}
    rows = [json.loads(line) for line in (folder / "answers.jsonl").read_text().splitlines()]
    for row in rows:
        row.update(question="Inline question?", choices=["Oona Vass", "b"], gold="A")
        row["hits"] = [{**hit, **passages[hit["passage_id"]]} for hit in row["hits"]]
    (folder / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "questions.jsonl").unlink()
    (folder / "passages.jsonl").unlink()
    run = load_run(folder)
    found = examples(run, run.benchmarks[0])
    assert found is not None and found.mended
    assert found.mended[0].question == "Inline question?"
    assert found.mended[0].options[0].is_gold and found.mended[0].passages


def test_a_run_without_answers_shows_no_examples(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "scores.json").write_text((folder / "scores.json").read_text())
    run = load_run(tmp_path)
    assert examples(run, run.benchmarks[0]) is None


@given(st.text(max_size=60), st.lists(st.text(max_size=8), max_size=4))
def test_marking_never_changes_the_text(text: str, answers: list[str]) -> None:
    assert "".join(piece for piece, _ in marked(text, answers)) == text


def test_only_whole_words_are_marked() -> None:
    assert marked("Tarn, tarns and TARN", ["tarn"]) == (
        ("Tarn", True), (", tarns and ", False), ("TARN", True)
    )  # fmt: skip
    assert marked("C++ (1998)", ["C++"])[0] == ("C++", True)


def test_the_table_fits_a_narrow_terminal(folder: Path) -> None:
    text = printed(score_table(load_run(folder)), width=80)
    assert "…" not in text
    for word in ("baseline", "retrieval", "oracle", "is worth", "150"):
        assert word in text


def test_an_eval_of_one_reader_is_a_table_of_arms(tmp_path: Path, write_run: WriteRun) -> None:
    run = load_run(write_run(tmp_path, n=60, n_rungs=1, ladder=False))
    text = printed(score_table(run), width=120)
    assert "unparsed" in text and "mended" in text


def test_names_in_the_table_are_not_markup(tmp_path: Path, write_run: WriteRun) -> None:
    folder = write_run(
        tmp_path, n=60, n_rungs=2, arms={"baseline": 0.0, "[bold]retrieval[/nope]": 0.1}, benchmark="[red]w"
    )
    text = printed(score_table(load_run(folder)), width=120)
    assert "[bold]retrieval[/nope]" in text and "[red]w" in text


def test_an_unknown_benchmark_is_named(folder: Path) -> None:
    with pytest.raises(UsageError, match="no benchmark 'mmlu'; it has world"):
        score_table(load_run(folder), "mmlu")


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0, "0"), (5.64e21, "5.64·10²¹"), (9.999e9, "1.00·10¹⁰"), (-4.1e11, "−4.10·10¹¹"), (42, "42"),
     (1234, "1,234"), (0.004, "4.00·10⁻³")],
)  # fmt: skip
def test_large_numbers_are_written_in_powers_of_ten(value: float | None, text: str) -> None:
    assert numbers.power_of_ten(value) == text


def test_a_difference_that_rounds_to_zero_has_no_sign() -> None:
    assert numbers.points(-0.0001) == "0.0"
    assert numbers.points(-0.051) == "−5.1"
    assert numbers.points(0.051) == "+5.1"
    assert numbers.percent(None) == "–"
    assert numbers.p_value(0.00001) == "< 0.001"

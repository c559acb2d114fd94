from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reread.protocols import Solver
from reread.reading import make_reader
from reread.reading.lexical import LexicalSolver
from reread.types import Hit, Passage, Question

SOLVER = LexicalSolver()
LIFE_SCIENCES = ("Biology", "Anatomy", "Microbiology")


def question(text: str = "Which organelle makes most of a cell's energy currency?") -> Question:
    return Question("q", "b", "", text, ("the golgi apparatus", "the mitochondrion", "the nucleus"), ("B",))


def hit(text: str, rank: int = 1, score: float = 0.0, **stages: float) -> Hit:
    named = {name.replace("_", ":"): value for name, value in stages.items()}
    return Hit(Passage(f"p{rank}", "d", 0, text), rank, score, named)


def best(support: list[float]) -> int:
    return support.index(max(support))


def test_lexical_is_a_solver() -> None:
    assert isinstance(make_reader("lexical"), Solver)


def test_the_option_whose_own_search_scores_best_is_chosen() -> None:
    hits = [hit("x", 1, option_0=7.0, option_1=9.0), hit("y", 2, option_1=8.0), hit("z", 3, option_2=10.0)]
    assert best(SOLVER.choose(question(), hits)) == 1


def test_a_question_for_the_exception_is_turned_round() -> None:
    hits = [hit("x", 1, option_0=7.0, option_1=9.0, option_2=8.0)]
    asked = question("Which of the following is NOT part of a cell?")
    assert best(SOLVER.choose(asked, hits)) == 0


def test_words_decide_where_no_option_was_searched_for() -> None:
    hits = [
        hit("Most of the cell's energy currency is made by the organelle called mitochondrion.", 1, 5.0),
        hit("The golgi apparatus packs proteins.", 2, 1.0),
        hit("Weather is made of clouds.", 3, 0.5),
    ]
    assert best(SOLVER.choose(question(), hits)) == 1


def test_passages_about_other_things_give_no_opinion() -> None:
    hits = [hit("The mitochondrion is a word in this passage about gardens.", 1), hit("the the the of a", 2)]
    support = SOLVER.choose(question(), hits)
    assert len(set(support)) == 1


def test_no_hits_and_no_options_give_no_opinion() -> None:
    assert len(set(SOLVER.choose(question(), []))) == 1
    assert SOLVER.choose(Question("q", "b", "", "who?", None, ("x",)), [hit("x")]) == []


def test_a_passage_that_no_search_vouches_for_speaks_when_it_is_about_the_question() -> None:
    oracle = hit("The organelle that makes most of the energy currency of a cell is the mitochondrion.")
    assert best(SOLVER.choose(question(), [oracle])) == 1


@pytest.mark.slow
@pytest.mark.realdata
def test_textbooks_answer_biology_questions_and_random_passages_do_not(realdata: Path, tmp_path: Path) -> None:
    from reread.datastore import Datastore, build
    from reread.retrieval import Retriever

    biology = [
        record
        for record in _lines(realdata / "corpora" / "openstax_science.jsonl.gz")
        if any(name in str(record.get("book")) for name in LIFE_SCIENCES)
    ]
    corpus = tmp_path / "biology.jsonl"
    corpus.write_text("".join(json.dumps(record) + "\n" for record in biology))
    build([str(corpus)], tmp_path / "store", chunk_words=100)
    store = Datastore.open(tmp_path / "store")
    questions = [
        Question(row["id"], "mmlu", row["subject"], row["question"], tuple(row["choices"]), (row["answer"],))
        for row in _lines(realdata / "benchmarks" / "mmlu_test_a.jsonl.gz")
        if row["subject"] == "high_school_biology"
    ]
    found = Retriever(store, making="options").retrieve(questions, 20)
    rng = np.random.default_rng(0)
    unrelated = [
        [Hit(passage, n, 0.0) for n, passage in enumerate(store.sample_passages(rng, 20), 1)] for _ in questions
    ]
    n = len(questions)
    assert n == 155
    accuracy = sum(_share(q, f.hits) for q, f in zip(questions, found, strict=True)) / n
    assert accuracy - 1.96 * (accuracy * (1 - accuracy) / n) ** 0.5 > 0.25 + 0.05
    assert abs(sum(_share(q, hits) for q, hits in zip(questions, unrelated, strict=True)) / n - 0.25) < 0.02


def _share(question: Question, hits: list[Hit]) -> float:
    """The chance that a draw among the best-supported options is right."""
    support = SOLVER.choose(question, hits)
    tied = [i for i, value in enumerate(support) if value == max(support)]
    return float("ABCD".index(question.answers[0]) in tied) / len(tied)


def _lines(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]

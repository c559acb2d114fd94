from __future__ import annotations

from reread.protocols import Solver
from reread.reading import make_reader
from reread.reading.lexical import LexicalSolver
from reread.types import Hit, Passage, Question

SOLVER = LexicalSolver()


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

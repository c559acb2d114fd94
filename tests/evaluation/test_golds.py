"""Is the accepted answer in a passage: whole words, values and formulas, and answers too cheap to tell."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reread.evaluation.golds import PassageText, gold_of
from reread.scoring.number import NumberScorer
from reread.scoring.short import normalise

WORDS = st.text(st.sampled_from("abcdeé -.'A"), min_size=1, max_size=12)


def holds(text: str, answers: list[str], kind: str = "short", **question: Any) -> bool | None:
    """None: cannot tell."""
    gold = gold_of({"answers": answers, **question}, kind)
    return None if gold is None else PassageText("", text).holds(gold)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("It was painted by Frida Kahlo, in 1939.", "frida kahlo"),
        ("The Barcelona-based firm", "Barcelona"),
        ("troops of the U.S.A. landed", "USA"),
        ("Beyoncé sang", "Beyonce"),
        ("by The Beatles", "Beatles"),
        ("in the year 1998,", "1998"),
        ("at a cost of $1,234.50 each", "1234.5"),
    ],
)
def test_an_answer_is_found_in_other_spellings(text: str, answer: str) -> None:
    assert holds(text, [answer]) is True


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("the ironing board", "iron"),
        ("room 19985", "1998"),
        ("Kahlo. Frida", "Frida Kahlo"),
        ("in 12345 or 234", "1234"),
        ("", "iron"),
    ],
)
def test_a_part_of_a_word_or_number_is_no_hit(text: str, answer: str) -> None:
    assert holds(text, [answer]) is False


@pytest.mark.parametrize(
    "answer",
    ["2", "a", "yes", "No.", "True", "100", "2,000", "0.05", "pH", "B", "None of the above", "both A and B", "I and II",
     "$10", "50%", "", "…"],
)  # fmt: skip
def test_answers_that_stand_anywhere_cannot_tell(answer: str) -> None:
    assert holds("Yes, 2 of 100 and none of the above: pH. A b", [answer]) is None


def test_one_telling_answer_among_cheap_ones_is_looked_for() -> None:
    assert holds("the United States", ["US", "United States"]) is True
    assert holds("the US", ["US", "United States"]) is False


def test_the_accepted_options_text_is_looked_for_and_no_other() -> None:
    choices = ["copper", "iron", "7", "none of these"]
    assert holds("an iron rod", ["B"], "letter", choices=choices) is True
    assert holds("a copper rod", ["B"], "letter", choices=choices) is False
    assert holds("7 none of these", ["C"], "letter", choices=choices) is None
    assert holds("7 none of these", ["D"], "letter", choices=choices) is None
    assert holds("anything", ["Z"], "letter", choices=choices) is None, "a letter that names no option"


def test_numbers_are_compared_by_value() -> None:
    assert holds("it holds 1,234 litres", ["1234"], "number") is True
    assert holds("it holds 1234.50 litres", ["1234.5"], "number") is True
    assert holds("it holds 12 345 litres", ["12345"], "number") is False


def test_formulas_are_compared_in_one_spelling_within_formulas() -> None:
    assert holds(r"so $x = \dfrac{3}{7}$ here", [r"\frac{3}{7}"], "latex") is True
    assert holds(r"so \(x = \frac{3}{71}\)", [r"\frac{3}{7}"], "latex") is False
    assert holds(r"frac 3 7 in prose", [r"\frac{3}{7}"], "latex") is False
    assert holds("anything", ["x"], "latex") is None


def test_a_program_is_not_looked_for() -> None:
    assert holds("def f(): return 1234", ["def f(): return 1234"], "code") is None


def test_an_answer_does_not_begin_in_the_title_and_end_in_the_text() -> None:
    gold = gold_of({"answers": ["Frida Kahlo"]}, "short")
    assert gold is not None
    assert not PassageText("Frida", "Kahlo painted").holds(gold)
    assert PassageText("Frida Kahlo", "painted").holds(gold)


@given(WORDS, WORDS, WORDS)
def test_what_the_scorer_takes_for_the_answer_is_found(before: str, answer: str, after: str) -> None:
    found = holds(f"{before} {normalise(answer)} {after}", [answer])
    assert found in (True, None)


@given(st.integers(0, 10**7), st.integers(0, 10**7))
def test_a_number_is_found_where_the_scorer_calls_it_the_same(answer: int, said: int) -> None:
    found = holds(f"there are {said:,} of them", [str(answer)], "number")
    if found is not None:
        assert found == NumberScorer().same(str(answer), str(said))


@pytest.mark.parametrize("text", ["\\(" * 20_000, "$$x" * 20_000, "\\[" * 20_000, "1," * 20_000, "$" * 20_000])
def test_a_passage_that_opens_thousands_of_formulas_is_looked_through_at_once(text: str) -> None:
    began = time.monotonic()
    assert holds(text, [r"\frac{3}{7}"], "latex") is False
    assert holds(text, ["123456"], "number") is False
    assert time.monotonic() - began < 2

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reread.errors import UsageError
from reread.scoring import kind_of, scorer_for
from reread.scoring.short import normalise
from reread.scoring.text import last_boxed
from reread.types import Question

CHOICE = Question("1", "b", "", "?", ("Paris", "London", "A dog", "Berlin"), ("B",))
NUMBER = Question("2", "b", "", "?", None, ("1234",), meta={"kind": "number"})
SHORT = Question("3", "b", "", "?", None, ("The Beatles", "Fab Four"), meta={"kind": "short"})


@pytest.mark.parametrize(
    "reply",
    [
        "Answer: B",
        "**Answer:** B",
        "**Answer: B**",
        "Answer: **B**",
        "Answer: (B)",
        "Answer: B.",
        "Answer: b",
        "Answer: $B$",
        "Answer: \\(B\\)",
        "Answer: B) London",
        "Answer: B because A is wrong",
        "Answer: Option B",
        "Answer: London",
        "Answer: **(B) London**",
        "Answer:\nB",
        "answer: B",
        "Final Answer: B",
        "ANSWER: B",
        "The answer is B.",
        "The correct answer is (B) London.",
        "The answer is: B",
        "so the best option is B",
        "\\boxed{B}",
        "$\\boxed{\\text{B}}$",
        "\\boxed{(B)}",
        "B",
        "B.",
        "(B)",
        "**B**",
        "B) London",
        "B. London is right.",
        "London",
        "First I thought of A.\nAnswer: A\nNo, wait.\nAnswer: B",
        "<think>Answer: A</think>\nAnswer: B",
        "I reason.\n\nB",
        "Antwort unklar. Answer：B",
    ],
)
def test_letter_is_read_in_the_formats_that_models_produce(reply: str) -> None:
    assert scorer_for(CHOICE).extract(reply, CHOICE) == "B"


@pytest.mark.parametrize(
    "reply", ["", "no idea", "Answer: E", "Answer: I think so", "A or B", "x" * 200_000, "<think>Answer: B", "Answer:"]
)
def test_what_names_no_option_is_unparsed_and_wrong(reply: str) -> None:
    scorer = scorer_for(CHOICE)
    assert scorer.extract(reply, CHOICE) is None
    assert scorer.score(None, CHOICE) == 0.0


def test_the_article_a_is_not_the_letter_a() -> None:
    assert scorer_for(CHOICE).extract("Answer: A dog", CHOICE) == "C"


def test_choice_text_reads_the_option_named_in_the_first_line() -> None:
    scorer = scorer_for("choice-text")
    assert scorer.extract("It must be London, I think", CHOICE) == "B"
    assert scorer.extract("London or Paris", CHOICE) is None
    iron = Question("4", "b", "", "?", ("iron", "iron oxide"), ("B",))
    assert scorer.extract("rust is iron oxide", iron) == "B"


@given(st.sampled_from("ABCD"), st.sampled_from(["Answer: {}", "I say\n\nAnswer: ({})", "\\boxed{{{}}}", "{}"]))
def test_the_letter_written_is_the_letter_read(letter: str, form: str) -> None:
    assert scorer_for(CHOICE).extract(form.format(letter), CHOICE) == letter


@given(st.text(max_size=300))
def test_no_reply_breaks_a_scorer(reply: str) -> None:
    for question in (CHOICE, NUMBER, SHORT):
        scorer = scorer_for(question)
        answer = scorer.extract(reply, question)
        assert scorer.score(answer, question) in (0.0, 1.0)
    assert scorer_for("latex").extract(reply, NUMBER) is None or reply


@pytest.mark.parametrize(
    ("reply", "number"),
    [
        ("so that\n#### 1,234", "1234"),
        ("Answer: $1,234.00", "1234.00"),
        ("5+3=8, which makes 1234 apples.", "1234"),
        ("\\boxed{1234}", "1234"),
        ("Answer: 1 + 1233 = 1234", "1234"),
        ("The answer is 1234.", "1234"),
        ("#### 1234\n\nQuestion: 7", "1234"),
        ("Answer: −1234", "-1234"),
        ("about 3/4", "3/4"),
        ("none", None),
        ("v2x", None),
    ],
)
def test_number_is_read(reply: str, number: str | None) -> None:
    assert scorer_for(NUMBER).extract(reply, NUMBER) == number


@given(st.integers(-(10**9), 10**9))
def test_numbers_are_compared_by_value(value: int) -> None:
    scorer = scorer_for("number")
    assert scorer.same(f"{value:,}", str(value))
    assert scorer.same(f"{value}.0", str(value))
    assert not scorer.same(str(value + 1), str(value))


def test_equal_fractions_and_decimals_are_the_same_number() -> None:
    assert scorer_for("number").same("1/2", "0.5")


@pytest.mark.parametrize(
    "reply", ["Beatles", " the beatles.\nQuestion: next", "Well.\nAnswer: **The Beatles**", "fab four!"]
)
def test_short_answers_match_after_normalisation(reply: str) -> None:
    scorer = scorer_for(SHORT)
    assert scorer.score(scorer.extract(reply, SHORT), SHORT) == 1.0


def test_short_answer_of_punctuation_alone_is_unparsed() -> None:
    assert scorer_for(SHORT).extract(" ... ", SHORT) is None


def test_f1_is_the_best_over_the_accepted_answers() -> None:
    from reread.scoring.short import ShortScorer

    assert ShortScorer().f1("the fab beatles", SHORT) == pytest.approx(2 / 3)
    assert ShortScorer().f1(None, SHORT) == 0.0


def test_squad_normalisation_on_its_published_steps() -> None:
    assert normalise("The  U.S.A.,  an   Example!") == "usa example"


@given(st.text(), st.text())
def test_short_equality_is_symmetric(a: str, b: str) -> None:
    scorer = scorer_for("short")
    assert scorer.same(a, b) == scorer.same(b, a)


@pytest.mark.parametrize(
    ("text", "content"),
    [
        (r"so \boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{1} then \boxed{2}", "2"),
        (r"\boxed{1} then \boxed{2", "1"),
        (r"\boxed {x}", "x"),
        (r"\fbox{7}", "7"),
        (r"\boxed{\{1,2\}}", r"\{1,2\}"),
        (r"\boxed{}", ""),
        (r"\boxed 5 apples", "5"),
        (r"\boxed $5$", "5"),
        (r"\boxed $", None),
        (r"\boxed{3} or \boxed $$", "3"),
        ("none", None),
    ],
)
def test_boxed_content_has_balanced_braces(text: str, content: str | None) -> None:
    assert last_boxed(text) == content


@given(st.lists(st.sampled_from(["\\boxed", "\\fbox", "{", "}", "\\{", "\\}", "\\", " ", "a", "$", "5"]), max_size=14))
def test_whatever_stands_in_a_reply_a_box_is_read_or_not(parts: list[str]) -> None:
    """Reference: a box's content ends where as many braces were closed as opened."""
    text = "".join(parts)
    content = last_boxed(text)
    assert content is None or content in text
    bare = text.replace("\\{", "  ").replace("\\}", "  ")
    begun = bare.rfind("\\boxed{")
    if begun >= 0 and bare.rfind("\\boxed") == begun and "\\fbox" not in bare[begun:]:
        ends = [
            i
            for i in range(begun + 7, len(bare))
            if bare[begun + 6 : i + 1].count("{") == bare[begun + 6 : i + 1].count("}")
        ]
        if ends:
            assert content == text[begun + 7 : ends[0]].strip()


def test_the_kind_comes_from_the_options_or_the_loader() -> None:
    assert [kind_of(q) for q in (CHOICE, NUMBER, SHORT)] == ["letter", "number", "short"]


def test_an_unknown_kind_is_named() -> None:
    with pytest.raises(UsageError, match="poem"):
        scorer_for("poem")

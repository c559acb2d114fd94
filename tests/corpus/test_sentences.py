"""Where sentences end, case by case, and that nothing of the text is lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reread.corpus.sentences import sentence_spans

texts = st.text(alphabet=st.sampled_from('aB1 .!?…。”")\n|#-é'), max_size=120)


def sentences(text: str) -> list[str]:
    return [text[start:end] for start, end in sentence_spans(text)]


@given(texts)
def test_sentences_hold_all_text_but_white_space_in_order(text: str) -> None:
    spans = list(sentence_spans(text))
    assert "".join("".join(text[start:end].split()) for start, end in spans) == "".join(text.split())
    assert all(text[start:end] == text[start:end].strip() != "" for start, end in spans)
    assert [place for span in spans for place in span] == sorted(place for span in spans for place in span)


@pytest.mark.parametrize(
    "whole",
    [
        "Dr. Smith met Mrs. Jones at St. Mary's.",
        "J. R. R. Tolkien wrote it.",
        "It cost 3.14 dollars, i.e. more than v. 2.0 did.",
        "See Fig. 3 and No. 5 (cf. Eq. 7).",
        "The U.S. Senate met.",
        '"What?" he asked.',
        "Wait . . . what",
        "It grew... slowly.",
        "Escherichia, or E. coli, lives there.",
        "A line that a mail program has broken by its width, as it\nbreaks them all.",
        "1. First of all",
        "Smith et al. (2020) say so.",
        "| a cell. | another cell. |",
    ],
)
def test_one_sentence_stays_whole(whole: str) -> None:
    assert sentences(whole) == [whole]


@pytest.mark.parametrize(
    "parts",
    [
        ["It rained.", "We left."],
        ["Is it so?", "It is!", "Good."],
        ["He said “no.”", "She left."],
        ["(It was late.)", "We left."],
        ["They live in the U.S.", "The house is old."],
        ["It was 1999.", "We left."],
        ["It ended...", "Then it began."],
        ["今天下雨。", "我们回家！", "好吗？"],
        ["Smith et al. said so.", "It is wrong."],
        ["She has a Ph.D.", "He has none."],
        ["*It matters.*", "Really."],
    ],
)
def test_sentences_are_told_apart(parts: list[str]) -> None:
    assert sentences("".join(parts) if "。" in parts[0] else " ".join(parts)) == parts


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("# Heading\nText follows here", ["# Heading", "Text follows here"]),
        ("Heading\n\ntext below", ["Heading", "text below"]),
        ("Three things:\n- one\n- two\n1. three", ["Three things:", "- one", "- two", "1. three"]),
        ("| a | b |\n| c | d |", ["| a | b |", "| c | d |"]),
        ("Short title\nThe text", ["Short title", "The text"]),
    ],
)
def test_lines_that_are_no_hard_wraps_end_sentences(text: str, parts: list[str]) -> None:
    assert sentences(text) == parts


def test_a_megabyte_of_marks_is_read_once() -> None:
    # Quadratic work would take hours here.
    for text in ("." * 1_000_000, '."' * 500_000, "\n" * 1_000_000 + "x", "5. A " * 200_000):
        assert sum(end - start for start, end in sentence_spans(text)) > 0

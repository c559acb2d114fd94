"""Chunks are exact slices, bounded, complete, and never lose a word."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reread.corpus import chunk
from reread.corpus.chunk import MAX_SPACE_CHARS, MAX_TITLE_CHARS, MAX_URL_CHARS, MAX_WORD_CHARS, ChunkUnit, count_words
from reread.errors import UsageError
from reread.types import Document

texts = st.text(alphabet=st.sampled_from("ab é\n\t 　—字"), max_size=300)


def document(text: str) -> Document:
    return Document(id="doc", text=text, source="file.txt", title="Title", url="http://x", meta={"licence": "CC0"})


@given(texts, st.integers(1, 9), st.integers(0, 8))
def test_a_passage_is_an_exact_slice_of_its_document(text: str, words: int, overlap: int) -> None:
    for passage in chunk(document(text), words, min(overlap, words - 1)):
        assert passage.text == text[passage.start : passage.start + len(passage.text)]
        assert passage.id == f"doc:{passage.start}"


@given(texts, st.integers(1, 9))
def test_without_overlap_the_passages_hold_every_word_once(text: str, words: int) -> None:
    passages = list(chunk(document(text), words))
    assert "".join("".join(p.text.split()) for p in passages) == "".join(text.split())
    assert all(len(p.text.split()) <= words for p in passages)


@given(st.lists(st.sampled_from(["one", "two", "three"]), max_size=60), st.integers(2, 9), st.data())
def test_overlapping_passages_repeat_exactly_the_words_asked_for(
    words: list[str], size: int, data: st.DataObject
) -> None:
    overlap = data.draw(st.integers(1, size - 1))
    passages = [p.text.split() for p in chunk(document(" ".join(words)), size, overlap)]
    for before, after in pairwise(passages):
        assert before[-overlap:] == after[:overlap]
    rebuilt = passages[0] + [word for p in passages[1:] for word in p[overlap:]] if passages else []
    assert rebuilt == words


def test_a_text_without_spaces_does_not_become_one_endless_passage() -> None:
    passages = list(chunk(document("字" * 10_000), 10))
    assert max(len(p.text) for p in passages) == 10 * MAX_WORD_CHARS
    assert "".join(p.text for p in passages) == "字" * 10_000


@pytest.mark.parametrize(("unit", "overlap"), [("words", 0), ("words", 3), ("sentences", 0), ("sentences", 3)])
def test_a_megabyte_of_white_space_lies_in_no_passage(unit: ChunkUnit, overlap: int) -> None:
    text = "one two." + " \n" * 500_000 + "three" + " " * MAX_SPACE_CHARS + "four five six."
    passages = list(chunk(document(text), 10, overlap, unit))
    assert [p.text.split() for p in passages] == [["one", "two."], ["three", "four", "five", "six."]]
    assert all(text[p.start :].startswith(p.text) for p in passages)


def test_what_every_passage_repeats_is_short_however_long_the_document_s_is() -> None:
    long = Document(id="doc", text="some words", source="s", title="t" * 10**6, url="http://x/" + "u" * 10**6)
    (passage,) = chunk(long)
    assert passage.title == "t" * MAX_TITLE_CHARS and passage.url == ""
    at_most = Document(id="doc", text="some words", source="s", url="u" * MAX_URL_CHARS)
    assert next(chunk(at_most)).url == at_most.url


def test_title_source_url_and_meta_are_carried() -> None:
    (passage,) = chunk(document("some words"))
    assert (passage.title, passage.source, passage.url, passage.meta) == (
        "Title",
        "file.txt",
        "http://x",
        {"licence": "CC0"},
    )


prose = st.text(alphabet=st.sampled_from("abC. \n!?字。-"), max_size=300)


@given(prose, st.integers(1, 9), st.integers(0, 8))
def test_sentence_passages_are_bounded_exact_slices_in_order_that_hold_all_text(
    text: str, words: int, overlap: int
) -> None:
    passages = list(chunk(document(text), words, min(overlap, words - 1), "sentences"))
    covered: set[int] = set()
    for passage in passages:
        assert passage.text == text[passage.start : passage.start + len(passage.text)] == passage.text.strip()
        assert passage.id == f"doc:{passage.start}"
        assert count_words(passage.text) <= words
        covered |= set(range(passage.start, passage.start + len(passage.text)))
    assert all(place in covered for place, character in enumerate(text) if not character.isspace())
    ends = [passage.start + len(passage.text) for passage in passages]
    assert ends == sorted(set(ends)) and [p.start for p in passages] == sorted({p.start for p in passages})
    if overlap == 0:
        assert "".join("".join(p.text.split()) for p in passages) == "".join(text.split())


@given(st.lists(st.integers(1, 6), min_size=1, max_size=30), st.integers(6, 20), st.data())
def test_sentence_passages_repeat_whole_sentences_up_to_the_overlap(
    lengths: list[int], size: int, data: st.DataObject
) -> None:
    overlap = data.draw(st.integers(0, size - 1))
    text = " ".join(" ".join([f"S{number}", *["w"] * (n - 1)]) + "." for number, n in enumerate(lengths))
    passages = [p.text for p in chunk(document(text), size, overlap, "sentences")]
    assert all(p.startswith("S") and p.endswith(".") for p in passages)
    for before, after in pairwise(passages):
        first = after.split()[0]
        repeated = before[before.index(first) :] if first in before.split() else ""
        assert after.startswith(repeated)
        assert len(repeated.split()) <= overlap


def test_a_sentence_longer_than_a_passage_is_cut_between_words() -> None:
    text = "Short one. " + " ".join(["Word"] * 25) + ". Last one."
    passages = [p.text for p in chunk(document(text), 10, 0, "sentences")]
    assert [len(p.split()) for p in passages] == [2, 10, 10, 7]
    assert passages[-1] == "Word Word Word Word Word. Last one."


def test_chunking_by_an_unknown_unit_is_refused_with_its_name() -> None:
    with pytest.raises(UsageError, match="pages"):
        list(chunk(document("a b"), 10, 0, "pages"))  # type: ignore[arg-type]


@pytest.mark.parametrize(("words", "overlap"), [(0, 0), (-1, 0), (5, 5), (5, -1)])
def test_impossible_chunking_is_refused_with_the_value(words: int, overlap: int) -> None:
    with pytest.raises(UsageError, match=str(words if words < 1 else overlap)):
        list(chunk(document("a b c"), words, overlap))

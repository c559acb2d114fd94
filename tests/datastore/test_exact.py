"""Exact vector search: what a plain float64 product finds, whatever the product, the cut, the threads or the data."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import reread.datastore.exact as exact
from reread.datastore.exact import ExactIndex
from reread.errors import DatastoreError

PRODUCTS: dict[str, Callable[..., exact._Product]] = {
    "bfloat16": exact._bfloat16_product,
    "torch": exact._torch_product,
    "numpy": exact._numpy_product,
}


def unit(values: np.ndarray) -> np.ndarray:
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


def vectors_and_queries(n: int, dimension: int, q: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Clustered vectors, near-duplicates and duplicates among them, and queries near some."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((max(n // 100, 2), dimension))
    vectors = centres[rng.integers(len(centres), size=n)] + 0.3 * rng.standard_normal((n, dimension))
    vectors[n // 2 : n // 2 + 20] = vectors[0] + 1e-3 * rng.standard_normal((20, dimension))
    vectors[-5:] = vectors[1]
    queries = vectors[rng.integers(n, size=q)] + 0.1 * rng.standard_normal((q, dimension))
    queries[0] = vectors[0]
    return unit(vectors).astype(np.float16), unit(queries)


def index_of(vectors: np.ndarray, sizes: list[int], device: str | None = None) -> ExactIndex:
    parts = np.split(vectors, np.cumsum(sizes)[:-1])
    return ExactIndex(sizes, lambda number: parts[number], vectors.shape[1], device)


def as_dicts(found: list[exact.Best]) -> list[dict[int, float]]:
    return [dict(zip(rows.tolist(), scores.tolist(), strict=True)) for rows, scores in found]


def expected(
    vectors: np.ndarray, queries: np.ndarray, k: int, hidden: np.ndarray | None = None
) -> list[dict[int, float]]:
    """The k best by a float64 product, ties at the k-th included."""
    scores = queries.astype(np.float64) @ vectors.astype(np.float64).T
    if hidden is not None:
        scores[:, hidden] = -np.inf
    found = []
    for line in scores:
        rows = np.flatnonzero((line >= np.sort(line)[-min(k, len(line))] - 1e-12) & (line > -np.inf))
        found.append({int(row): float(line[row]) for row in rows})
    return found


def assert_same(found: list[exact.Best], wanted: list[dict[int, float]]) -> None:
    for mine, theirs in zip(as_dicts(found), wanted, strict=True):
        assert mine.keys() == theirs.keys()
        assert [mine[row] for row in sorted(mine)] == pytest.approx([theirs[row] for row in sorted(theirs)], abs=1e-12)


@pytest.mark.parametrize("product", PRODUCTS)
@pytest.mark.parametrize(("dimension", "k"), [(384, 10), (33, 100), (1024, 1)])
def test_every_product_finds_what_a_float64_product_finds(
    monkeypatch: pytest.MonkeyPatch, product: str, dimension: int, k: int
) -> None:
    monkeypatch.setattr(exact, "_product", lambda: (PRODUCTS[product], 1))
    vectors, queries = vectors_and_queries(5000, dimension, 40)
    assert_same(index_of(vectors, [5000]).search(queries, k), expected(vectors, queries, k))


@pytest.mark.parametrize("product", PRODUCTS)
@pytest.mark.parametrize("dimension", [1, 31, 384, 4096])
def test_no_score_is_farther_off_than_its_bound(product: str, dimension: int) -> None:
    rng = np.random.default_rng(1)
    vectors = (rng.standard_normal((300, dimension)) * rng.choice([1e-5, 0.1, 30], size=(300, 1))).astype(np.float16)
    queries = (rng.standard_normal((20, dimension)) * rng.choice([1e-3, 1, 50], size=(20, 1))).astype(np.float32)
    from reread.datastore.vector_kernels import block_facts

    longest, farthest = block_facts(
        vectors.view(np.uint16), np.empty(dimension, np.uint32), np.empty(dimension, np.uint16)
    )
    made = PRODUCTS[product](queries, dimension)
    made.load(vectors.view(np.uint16), 0)
    bits = made.scores(slice(0, 20), 300)
    scores = (bits.astype(np.uint32) << made.shift).astype(np.uint32).view(np.float32).astype(np.float64)
    bounds = made.errors(slice(0, 20), longest, farthest)[:, None] + made.unit * np.abs(scores)
    off = np.abs(scores - queries.astype(np.float64) @ vectors.astype(np.float64).T)
    assert (off <= bounds).all()
    assert off.max() > bounds.max() / 1000 or product != "bfloat16"


def test_the_torch_device_path_finds_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact, "DEVICE_ROWS", 700)
    monkeypatch.setattr(exact, "QUERY_ROWS", 16)
    vectors, queries = vectors_and_queries(3000, 64, 40)
    hidden = np.zeros(3000, np.bool_)
    hidden[::3] = True
    for k in (1, 10, 5000):
        assert_same(
            index_of(vectors, [3000], "cpu").search(queries, k, {0: hidden}), expected(vectors, queries, k, hidden)
        )


def test_faiss_finds_the_same_up_to_ties() -> None:
    faiss = pytest.importorskip("faiss")
    vectors, queries = vectors_and_queries(6000, 128, 50, seed=3)
    flat = faiss.IndexFlatIP(128)
    flat.add(vectors.astype(np.float32))
    theirs = flat.search(queries, 10)
    for (rows, scores), their_scores, their_rows in zip(
        index_of(vectors, [6000]).search(queries, 10), *theirs, strict=True
    ):
        assert sorted(scores, reverse=True)[:10] == pytest.approx(their_scores.tolist(), abs=1e-5)
        tied = {row for row, score in zip(rows.tolist(), scores.tolist(), strict=True) if score < min(scores) + 1e-5}
        assert set(rows.tolist()) - tied <= set(their_rows.tolist())


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 900), min_size=1, max_size=12).filter(lambda sizes: sum(sizes) > 30),
    k=st.sampled_from([1, 7, 64, 5000]),
    threads=st.sampled_from([1, 2, 3]),
    share_hidden=st.sampled_from([0.0, 0.1, 0.95]),
)
def test_neither_shards_nor_threads_change_a_bit(sizes: list[int], k: int, threads: int, share_hidden: float) -> None:
    n = sum(sizes)
    vectors, queries = vectors_and_queries(n, 24, 9, seed=n)
    mask = np.random.default_rng(n).random(n) < share_hidden
    masks = dict(enumerate(np.split(mask, np.cumsum(sizes)[:-1])))
    whole = index_of(vectors, [n]).search(queries, k, {0: mask}, n_threads=1)
    cut = index_of(vectors, sizes).search(queries, k, masks, n_threads=threads)
    assert as_dicts(cut) == as_dicts(whole)


def test_a_hundred_thousand_equal_vectors_all_tie() -> None:
    vectors = np.tile(unit(np.ones((1, 8))).astype(np.float16), (100_000, 1))
    vectors[77] = -vectors[77]
    ((rows, scores),) = index_of(vectors, [100_000]).search(unit(np.ones((1, 8))), 5)
    assert sorted(rows.tolist()) == [row for row in range(100_000) if row != 77]
    assert len(set(scores.tolist())) == 1


def test_many_queries_are_searched_in_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, queries = vectors_and_queries(2500, 16, 300)
    at_once = as_dicts(index_of(vectors, [2500]).search(queries, 5))
    monkeypatch.setattr(exact, "STATE_BYTES", 300_000)
    assert as_dicts(index_of(vectors, [2500]).search(queries, 5)) == at_once


@pytest.mark.parametrize("product", [*PRODUCTS, "device"])
@pytest.mark.parametrize("length", [1e37, 1e-37, 1e-40])
def test_queries_of_any_length_find_the_same(monkeypatch: pytest.MonkeyPatch, product: str, length: float) -> None:
    """Products of such queries overflow float32, or are so small that processors count them as 0."""
    vectors, queries = vectors_and_queries(3000, 96, 10)
    if product != "device":
        monkeypatch.setattr(exact, "_product", lambda: (PRODUCTS[product], 1))
    long_or_short = (queries * np.float32(length)).astype(np.float32)
    scaled = (600 * vectors.astype(np.float32)).astype(np.float16)
    found = index_of(scaled, [1000, 2000], "cpu" if product == "device" else None).search(long_or_short, 20)
    for query, best in zip(long_or_short.astype(np.float64), as_dicts(found), strict=True):
        scores = scaled.astype(np.float64) @ query
        assert set(best) >= set(np.flatnonzero(scores > np.sort(scores)[-20] * (1 + 1e-12)).tolist())
        assert len(best) >= 20 and min(best.values()) == pytest.approx(np.sort(scores)[-20], rel=1e-9)


def test_searching_leaves_torchs_threads_as_they_were() -> None:
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    vectors, queries = vectors_and_queries(5000, 16, 4)
    index_of(vectors, [5000]).search(queries, 5, n_threads=2)
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("device", [None, "cpu"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_stored_vectors_with_nan_are_refused(bad: float, device: str | None) -> None:
    vectors, queries = vectors_and_queries(5000, 16, 4)
    vectors[4321, 3] = bad
    with pytest.raises(DatastoreError, match="NaN"):
        index_of(vectors, [5000], device).search(queries, 5)


def test_a_shard_with_fewer_vectors_than_passages_is_refused() -> None:
    vectors, queries = vectors_and_queries(500, 16, 4)
    index = ExactIndex([512], lambda number: vectors, 16)
    with pytest.raises(DatastoreError, match="512"):
        index.search(queries, 5)


def test_an_empty_store_gives_no_rows() -> None:
    ((rows, scores),) = ExactIndex([0], lambda number: np.empty((0, 4), np.float16), 4).search(np.ones((1, 4)), 3)
    assert len(rows) == len(scores) == 0

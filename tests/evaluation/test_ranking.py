"""nDCG and recall equal what is worked out by hand."""

from __future__ import annotations

from math import log2

import pytest

from reread.evaluation.ranking import documents_of, ndcg, recall


def test_the_ideal_order_has_an_ndcg_of_one() -> None:
    assert ndcg(["a", "b", "c"], {"a": 3, "b": 1}, 10) == 1
    assert ndcg(["b", "a"], {"a": 3, "b": 1}, 10) == pytest.approx((1 + 3 / log2(3)) / (3 + 1 / log2(3)))


def test_documents_beyond_the_cut_do_not_count() -> None:
    assert ndcg(["x", "a"], {"a": 1}, 1) == recall(["x", "a"], {"a": 1}, 1) == 0
    assert recall(["x", "a"], {"a": 1, "b": 2, "c": 0}, 2) == 0.5


def test_a_query_without_relevant_documents_is_refused() -> None:
    for measure in (ndcg, recall):
        with pytest.raises(ValueError, match="leave the query out"):
            measure(["a"], {"a": 0}, 10)


def test_a_document_counts_at_its_best_passage() -> None:
    assert documents_of(["b", "a", "b", "c"]) == ["b", "a", "c"]

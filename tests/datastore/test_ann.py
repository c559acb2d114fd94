"""Approximate search: the recall asked for, exact scores, and nothing lost to hiding, small shards or damage."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from corpora import HashEmbedder, random_documents, random_queries, tree

import reread.datastore.ann_shard as ann_shard
from reread.datastore import Datastore, build, verify
from reread.datastore.ann import add_ann
from reread.datastore.layout import signed
from reread.errors import DatastoreError, UsageError
from reread.runs import write_json_atomically
from reread.types import Hit

pytest.importorskip("faiss")

DOCUMENTS = random_documents(2200, n_words=30)
QUERIES = random_queries(80, DOCUMENTS)


def make(folder: Path, documents: object = DOCUMENTS, **settings: object) -> Path:
    build([], folder, documents=documents, embedder=HashEmbedder(64), chunk_words=30, shard_passages=900, **settings)  # type: ignore[arg-type]
    return folder


@pytest.fixture(autouse=True)
def small_shards_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ann_shard, "MIN_PASSAGES", 500)


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make(tmp_path_factory.mktemp("ann") / "store")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ann_shard, "MIN_PASSAGES", 500)
        add_ann(folder)
    return folder


@pytest.fixture
def store(indexed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(indexed, tmp_path / "store"))


def opened(folder: Path) -> Datastore:
    return Datastore.open(folder, HashEmbedder(64))


def ids(hits: list[Hit]) -> set[str]:
    return {hit.passage.id for hit in hits}


def recall(store: Datastore, k: int) -> float:
    pairs = zip(store.search(QUERIES, k, "exact"), store.search(QUERIES, k, "ann"), strict=True)
    return float(np.mean([len(ids(true) & ids(found)) / k for true, found in pairs]))


@pytest.mark.parametrize("k", [1, 10, 100])
def test_the_recall_asked_for_is_reached(indexed: Path, k: int) -> None:
    # Queries of a few words are unlike the passages that it was tuned on.
    assert recall(opened(indexed), k) > 0.93


def test_a_lower_recall_costs_less(store: Path) -> None:
    dear = opened(store).find(QUERIES[:1], 10, "ann")[0].flops
    report = add_ann(store, recall=0.5)
    assert report.n_kept == report.n_indexed > 1
    cheap = opened(store).find(QUERIES[:1], 10, "ann")[0].flops
    assert cheap < dear < opened(store).find(QUERIES[:1], 10, "exact")[0].flops


def test_scores_are_those_of_exact_search(indexed: Path) -> None:
    store = opened(indexed)
    for true, found in zip(store.search(QUERIES, 2000, "exact"), store.search(QUERIES, 20, "ann"), strict=True):
        score_of = {hit.passage.id: hit.score for hit in true}
        assert all(hit.score == score_of[hit.passage.id] for hit in found if hit.passage.id in score_of)
        assert [hit.rank for hit in found] == list(range(1, 21))
        assert sorted(found, key=lambda hit: (-hit.score, hit.passage.id)) == found


def test_the_same_bytes_come_out_again_and_an_interrupted_call_goes_on(store: Path) -> None:
    before = tree(store)
    folders = sorted((store / "shards").iterdir())
    (folders[0] / "ann.faiss").unlink()
    (folders[1] / "ann.json").unlink()
    (folders[1] / "ann.faiss").write_bytes(b"half")
    (folders[2] / "ann.lists").write_bytes(b"half")
    (store / "ann.json").unlink()
    report = add_ann(store)
    assert tree(store) == before
    assert report.n_kept == report.n_indexed - 3


def test_finished_files_of_the_shards_are_not_touched(store: Path) -> None:
    new = {name for name in tree(store) if Path(name).name in ("ann.faiss", "ann.lists", "ann.json")}
    untouched = tree(make(store.parent / "plain"))
    assert {name: data for name, data in tree(store).items() if name not in new} == untouched
    for folder in (store / "shards").iterdir():
        entry = json.loads((folder / "ann.json").read_text())
        for name, facts in entry["files"].items():
            assert facts["bytes"] == (folder / name).stat().st_size


def test_small_shards_say_that_they_are_searched_exactly(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in store.rglob("ann.*"):
        path.unlink()
    monkeypatch.setattr(ann_shard, "MIN_PASSAGES", 100_000)
    report = add_ann(store)
    assert (report.n_indexed, report.settings) == (0, ())
    entry = json.loads((store / "shards" / "00000" / "ann.json").read_text())
    assert "searched exactly" in entry["reason"]
    assert recall(opened(store), 10) == 1


def test_hiding_costs_no_hit(store: Path) -> None:
    datastore = opened(store)
    gone: set[str] = set()
    for hits in datastore.search(QUERIES[:10], 400, "exact"):
        gone |= ids(hits)
    datastore.hide(sorted(gone), "test")
    for k in (10, 300):
        for true, found in zip(
            datastore.search(QUERIES[:10], k, "exact"), datastore.search(QUERIES[:10], k, "ann"), strict=True
        ):
            assert len(found) == len(true) == k
            assert not gone & ids(found)
    assert recall(datastore, 10) > 0.9


def test_k_beyond_the_store_returns_every_passage(indexed: Path) -> None:
    store = opened(indexed)
    assert [len(hits) for hits in store.search(QUERIES[:2], len(store) + 5, "ann")] == [len(store)] * 2


def test_shards_added_later_are_searched_too_with_a_warning(store: Path, caplog: pytest.LogCaptureFixture) -> None:
    late = random_documents(40, seed=9)
    build([], store, documents=late, embedder=HashEmbedder(64), chunk_words=30, shard_passages=900, append=True)
    datastore = opened(store)
    hits = [datastore.search([document.text], 3, "ann")[0] for document in late[:5]]
    assert all(any(hit.passage.doc_id.startswith("doc-9-") for hit in found) for found in hits)
    assert "1 shards" in caplog.text
    caplog.clear()
    add_ann(store)
    opened(store).search(QUERIES[:1], 3, "ann")
    assert "exactly" not in caplog.text


def test_tuning_on_given_queries_reaches_the_recall_on_them(store: Path) -> None:
    report = add_ann(store, recall=0.97, queries=HashEmbedder(64).encode_queries(QUERIES))
    assert report.settings[0].recall >= 0.97
    assert recall(opened(store), 10) == pytest.approx(report.settings[0].recall, abs=0.02)


@pytest.mark.parametrize("name", ["ann.faiss", "ann.lists"])
@pytest.mark.parametrize("damage", [b"", b"\0" * 1000])
def test_a_damaged_index_is_one_sentence(store: Path, name: str, damage: bytes) -> None:
    (store / "shards" / "00001" / name).write_bytes(damage)
    with pytest.raises(DatastoreError, match=r"00001.*--ann"):
        opened(store).search(QUERIES[:1], 3, "ann")


def test_list_sizes_that_are_not_the_files_are_refused(store: Path) -> None:
    path = store / "shards" / "00001" / "ann.lists"
    data = bytearray(path.read_bytes())
    data[0:8] = (1 << 40).to_bytes(8, "little")
    path.write_bytes(data)
    with pytest.raises(DatastoreError, match=r"00001.*--ann"):
        opened(store).search(QUERIES[:1], 3, "ann")


def test_an_index_of_another_format_says_how_to_make_it_again(store: Path) -> None:
    path = store / "shards" / "00000" / "ann.json"
    write_json_atomically(path, signed({**json.loads(path.read_text()), "format": 1}))
    with pytest.raises(DatastoreError, match=r"00000.*format 1.*--ann"):
        opened(store).search(QUERIES[:1], 3, "ann")
    report = add_ann(store)
    assert report.n_kept == report.n_indexed - 1
    assert opened(store).search(QUERIES[:1], 3, "ann")


def test_verify_finds_a_flipped_bit_in_the_lists(store: Path) -> None:
    path = store / "shards" / "00001" / "ann.lists"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    (problem,) = verify(store)
    assert "00001" in problem and "ann.lists" in problem and "--ann" in problem


@pytest.mark.parametrize("name", ["ann.json", "shards/00000/ann.json"])
@pytest.mark.parametrize("content", ["{", "[]", '{"settings": [{"k": 1}], "index": 3}'])
def test_damaged_settings_are_one_sentence(store: Path, name: str, content: str) -> None:
    (store / name).write_text(content)
    with pytest.raises(DatastoreError, match="damaged"):
        opened(store).search(QUERIES[:1], 3, "ann")


def test_a_store_without_an_index_says_how_to_add_one(tmp_path: Path) -> None:
    make(tmp_path / "plain", DOCUMENTS[:20])
    with pytest.raises(DatastoreError, match="--ann"):
        opened(tmp_path / "plain").search(["x"], 3, "ann")
    build([], tmp_path / "lexical", documents=DOCUMENTS[:20])
    with pytest.raises(DatastoreError, match="no vectors"):
        add_ann(tmp_path / "lexical")
    with pytest.raises(UsageError, match=r"1\.5"):
        add_ann(tmp_path / "plain", recall=1.5)


MEMORY = """
import json, sys
from pathlib import Path
import faiss, numpy as np
from reread.datastore import ann_shard

def resident():
    lines = Path("/proc/self/status").read_text().splitlines()
    return {line[:7]: int(line.split()[1]) << 10 for line in lines if line.startswith("RssAnon") or "RssFile" in line}

def searched(folder, n):
    facts = {"files": {path.name: {"bytes": path.stat().st_size} for path in folder.iterdir()}}
    index = ann_shard.open_index(folder, facts, 256, n)
    index.search(queries, 10, params=faiss.SearchParametersIVF(nprobe=index.nlist))
    return index

queries = np.load(sys.argv[1])
small = searched(Path(sys.argv[2]), int(sys.argv[3]))
before = resident()
large = searched(Path(sys.argv[4]), int(sys.argv[5]))
print(json.dumps({name: n - before[name] for name, n in resident().items()}))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="tells memory from /proc")
def test_a_larger_index_costs_next_to_no_anonymous_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ann_shard, "n_lists_for", lambda n: 32)
    monkeypatch.setattr(ann_shard, "TRAIN_ROUNDS", 1)
    rng = np.random.default_rng(0)
    np.save(tmp_path / "queries.npy", rng.standard_normal((4, 256), dtype=np.float32))
    sizes = {"small": 2_000, "large": 50_000}
    for name, n in sizes.items():
        (tmp_path / name).mkdir()
        vectors = rng.standard_normal((n, 256), dtype=np.float32).astype(np.float16)
        ann_shard.write_index(ann_shard.train_index(vectors, 0), tmp_path / name)
    arguments = [str(item) for name, n in sizes.items() for item in (tmp_path / name, n)]
    command = [sys.executable, "-c", MEMORY, str(tmp_path / "queries.npy"), *arguments]
    grown = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    n_bytes = (tmp_path / "large" / "ann.lists").stat().st_size
    assert n_bytes > 3_500_000
    assert grown["RssAnon"] < n_bytes / 4
    assert grown["RssFile"] > n_bytes / 2


def test_hybrid_takes_its_dense_part_from_the_index(indexed: Path) -> None:
    (hits,) = opened(indexed).search(QUERIES[:1], 5, "hybrid-ann")
    assert "ann" in {stage for hit in hits for stage in hit.stages} and "fused" in hits[0].stages

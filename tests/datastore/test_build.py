"""Builds resume to the same bytes, refuse other settings, count what they leave out, and are checked."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from corpora import DOCUMENTS, CountingEmbedder, HashEmbedder, settings, tree, write_corpus

from reread.datastore import Datastore, build, verify
from reread.datastore.cut import MAX_META_CHARS, CutWriter, document_rows, meta_json
from reread.errors import BadVectors, CorpusError, DatastoreError, RereadError, UsageError
from reread.types import Document, Passage


def rejects(store: Path) -> list[dict[str, object]]:
    path = store / "rejects.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_a_store_is_plain_files_that_others_can_read(tmp_path: Path) -> None:
    build([], tmp_path / "s", documents=DOCUMENTS[:50], embedder=HashEmbedder(), chunk_words=20)
    shard = tmp_path / "s" / "shards" / "00000"
    table = pa.ipc.open_file(pa.memory_map(str(shard / "passages.arrow"))).read_all()
    vectors = np.load(shard / "vectors.npy")
    facts = json.loads((shard / "shard.json").read_text())
    assert set(table.column_names) == {"id", "doc_id", "start", "source", "title", "url", "text", "n_words", "meta"}
    assert vectors.dtype == np.float16 and len(vectors) == table.num_rows == facts["n_passages"]
    row = table.slice(3, 1).to_pylist()[0]
    assert row["n_words"] == len(row["text"].split()) and f"doc-0-{json.loads(row['meta'])['n']}" == row["doc_id"]


def test_the_report_counts_what_is_in_the_store_and_what_is_not(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "c.jsonl", [*DOCUMENTS, *DOCUMENTS[:4]], bad_lines=3)
    report = build([str(corpus)], tmp_path / "s", **settings())  # type: ignore[arg-type]
    assert report.n_documents == 300 and report.n_passages == len(Datastore.open(tmp_path / "s"))
    assert report.rejects == {"duplicate_id": 4, "not_json": 3}
    assert [r["reason"] for r in rejects(tmp_path / "s")].count("duplicate_id") == 4
    assert {r["record"] for r in rejects(tmp_path / "s") if r["reason"] == "duplicate_id"} == {
        d.id for d in DOCUMENTS[:4]
    }


def test_a_repeated_id_keeps_the_first_text(tmp_path: Path) -> None:
    repeated = Document(id=DOCUMENTS[0].id, text="something else", source="s")
    build([], tmp_path / "s", documents=[*DOCUMENTS[:200], repeated], shard_passages=150)
    passages = Datastore.open(tmp_path / "s").passages_of([DOCUMENTS[0].id])
    assert " ".join(p.text for p in passages) == DOCUMENTS[0].text


class Killed(Exception):
    """Stands for a kill at a chosen moment."""


def stopping_after(n: int) -> Iterator[Document]:
    yield from DOCUMENTS[:n]
    raise Killed


@pytest.mark.parametrize("n", [0, 1, 130, 299])
def test_a_build_that_stopped_and_went_on_ends_with_the_same_bytes(tmp_path: Path, n: int) -> None:
    drop = lambda passage: "short" if len(passage.text) < 40 else None  # noqa: E731
    common = {**settings(200), "embedder": HashEmbedder(), "drop": drop}
    with pytest.raises(Killed):
        build([], tmp_path / "a", documents=stopping_after(n), **common)  # type: ignore[arg-type]
    build([], tmp_path / "a", documents=DOCUMENTS, **common)  # type: ignore[arg-type]
    build([], tmp_path / "b", documents=DOCUMENTS, **common)  # type: ignore[arg-type]
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


@pytest.mark.parametrize("n", [130, 299])
def test_a_resumed_build_reports_the_flops_of_an_undisturbed_one(tmp_path: Path, n: int) -> None:
    with pytest.raises(Killed):
        build([], tmp_path / "a", documents=stopping_after(n), embedder=CountingEmbedder(), **settings(200))  # type: ignore[arg-type]
    assert list((tmp_path / "a").rglob("shard.json"))
    resumed = build([], tmp_path / "a", documents=DOCUMENTS, embedder=CountingEmbedder(), **settings(200))  # type: ignore[arg-type]
    embedder = CountingEmbedder()
    whole = build([], tmp_path / "b", documents=DOCUMENTS, embedder=embedder, **settings(200))  # type: ignore[arg-type]
    assert resumed.flops == whole.flops == embedder.flops > 0
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


def test_a_finished_store_still_knows_the_flops_of_all_its_builds(tmp_path: Path) -> None:
    embedder = CountingEmbedder()
    common = {**settings(200), "embedder": embedder}
    build([], tmp_path / "s", documents=DOCUMENTS[:200], **common)  # type: ignore[arg-type]
    build([], tmp_path / "s", documents=DOCUMENTS[200:], append=True, **common)  # type: ignore[arg-type]
    again = build([], tmp_path / "s", documents=DOCUMENTS[200:], **common)  # type: ignore[arg-type]
    assert Datastore.open(tmp_path / "s").index_flops == again.flops == embedder.flops > 0


def test_going_on_touches_no_finished_shard(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        build([], tmp_path / "s", documents=stopping_after(250), **settings(200))  # type: ignore[arg-type]
    finished = [path.parent for path in (tmp_path / "s").rglob("shard.json")]
    before = {path: path.stat().st_mtime_ns for folder in finished for path in folder.rglob("*")}
    report = build([], tmp_path / "s", documents=DOCUMENTS, **settings(200))  # type: ignore[arg-type]
    assert finished and report.n_new_shards == report.n_shards - len(finished)
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_building_again_changes_nothing(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "c.jsonl", DOCUMENTS)
    build([str(corpus)], tmp_path / "s", **settings())  # type: ignore[arg-type]
    before = tree(tmp_path / "s")
    report = build([str(corpus)], tmp_path / "s", **settings())  # type: ignore[arg-type]
    assert report.n_new_shards == 0 and tree(tmp_path / "s") == before


def test_appending_adds_documents_and_touches_no_finished_shard(tmp_path: Path) -> None:
    first = write_corpus(tmp_path / "a.jsonl", DOCUMENTS[:200], bad_lines=2)
    second = write_corpus(tmp_path / "b.jsonl", DOCUMENTS[190:], bad_lines=1)
    build([str(first)], tmp_path / "s", **settings())  # type: ignore[arg-type]
    before = tree(tmp_path / "s" / "shards")
    report = build([str(second)], tmp_path / "s", append=True, **settings())  # type: ignore[arg-type]
    after = tree(tmp_path / "s" / "shards")
    assert {name: after[name] for name in before} == before
    assert report.n_documents == 300 and report.rejects == {"duplicate_id": 10, "not_json": 3}
    assert len(Datastore.open(tmp_path / "s").passages_of([d.id for d in DOCUMENTS])) == report.n_passages


def test_an_appended_store_finds_what_one_built_at_once_finds(tmp_path: Path) -> None:
    build([], tmp_path / "a", documents=DOCUMENTS[:200], **settings())  # type: ignore[arg-type]
    build([], tmp_path / "a", documents=DOCUMENTS[200:], append=True, **settings())  # type: ignore[arg-type]
    build([], tmp_path / "b", documents=DOCUMENTS, **settings())  # type: ignore[arg-type]
    queries = [d.text for d in DOCUMENTS[:20]]
    assert Datastore.open(tmp_path / "a").search(queries, 10) == Datastore.open(tmp_path / "b").search(queries, 10)


def test_a_record_with_its_raw_page_beside_the_text_does_not_multiply(tmp_path: Path) -> None:
    record = {"id": "d", "text": "word " * 20_000, "licence": "CC0", "raw": "<p>" * 10**6, "x" * 5000: 1}
    (tmp_path / "c.jsonl").write_text(json.dumps(record))
    report = build([str(tmp_path / "c.jsonl")], tmp_path / "s", chunk_words=10)
    assert report.n_passages == 2000
    assert sum(path.stat().st_size for path in (tmp_path / "s").rglob("*")) < 30 * 10**6
    (passage,) = Datastore.open(tmp_path / "s").passages_of(["d"])[:1]
    assert passage.meta["licence"] == "CC0" and passage.meta["left_out"] == ["raw"]


def test_fields_of_any_number_and_length_stay_within_what_a_passage_repeats() -> None:
    for meta in ({f"field {i}" * 50: "v" * i for i in range(500)}, {"n" * 10**5: 1}, {"é" * 9000: "é" * 9000}):
        assert len(meta_json(meta)) <= MAX_META_CHARS
    assert json.loads(meta_json({"a": 1, "b": "v" * MAX_META_CHARS})) == {"a": 1, "left_out": ["b"]}


def test_an_id_too_long_to_be_a_name_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "c.jsonl").write_text(json.dumps({"id": "i" * 10**6, "text": "one two"}))
    build([str(tmp_path / "c.jsonl")], tmp_path / "s")
    assert [hit.passage.doc_id for hit in Datastore.open(tmp_path / "s").search(["two"], 1)[0]] == ["c.jsonl#1"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_file_name_that_is_not_utf8_is_built(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    Path(os.fsdecode(os.fsencode(tmp_path / "c") + b"/caf\xe9.txt")).write_text("one two")
    assert build([str(tmp_path / "c")], tmp_path / "s").n_documents == 1
    assert verify(tmp_path / "s") == []
    assert build([str(tmp_path / "c")], tmp_path / "s").n_new_shards == 0


def test_a_file_whose_only_record_is_rejected_is_rejected_once(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "c.jsonl", DOCUMENTS[:2])
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(b'{"text": "one"}\n' * 99)[:15])
    report = build([str(corpus), str(tmp_path / "cut.jsonl.gz")], tmp_path / "s")
    assert report.rejects == {"damaged_file": 1}


@pytest.mark.slow
def test_passages_beyond_what_a_file_can_hold_are_one_sentence(tmp_path: Path) -> None:
    text = "x" * 3 * 2**20
    writer = CutWriter(tmp_path / "00000")
    with pytest.raises(UsageError, match="fewer --chunk-words"):
        writer.add(document_rows([Passage(f"d:{i}", "d", i, text) for i in range(1024)]))


def test_dropped_passages_are_left_out_and_counted(tmp_path: Path) -> None:
    def drop(passage: Passage) -> str | None:
        return "contaminated" if passage.doc_id == DOCUMENTS[3].id else None

    report = build([], tmp_path / "s", documents=DOCUMENTS[:10], drop=drop)
    store = Datastore.open(tmp_path / "s")
    assert store.passages_of([DOCUMENTS[3].id]) == [] and report.rejects == {"contaminated": 1}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"chunk_words": 21}, "chunking"),
        ({"overlap_words": 0}, "chunking"),
        ({"shard_passages": 50}, "shard_passages"),
        ({"embedder": HashEmbedder(spec="test:other")}, "embedder"),
    ],
)
def test_another_setting_is_refused_by_name(tmp_path: Path, change: dict[str, object], named: str) -> None:
    build([], tmp_path / "s", documents=DOCUMENTS[:20], **settings())  # type: ignore[arg-type]
    with pytest.raises(DatastoreError, match=named):
        build([], tmp_path / "s", documents=DOCUMENTS[:20], **{**settings(), **change})  # type: ignore[arg-type]


def test_two_builds_of_one_store_at_once_are_refused(tmp_path: Path) -> None:
    def documents() -> Iterator[Document]:
        yield from DOCUMENTS[:5]
        with pytest.raises(DatastoreError, match="another process"):
            build([], tmp_path / "s", documents=DOCUMENTS[:5])
        yield from DOCUMENTS[5:10]

    assert build([], tmp_path / "s", documents=documents()).n_documents == 10


def test_a_changed_corpus_is_refused(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "c.jsonl", DOCUMENTS[:20])
    build([str(corpus)], tmp_path / "s")
    write_corpus(corpus, DOCUMENTS[:21])
    with pytest.raises(DatastoreError, match="--append"):
        build([str(corpus)], tmp_path / "s")


def test_a_corpus_file_that_changes_during_the_build_is_an_error(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "c.jsonl", DOCUMENTS[:20])

    def drop(passage: Passage) -> None:
        with corpus.open("a") as file:
            file.write('{"id": "late", "text": "late"}\n')

    with pytest.raises(DatastoreError, match="changed while it was read"):
        build([str(corpus)], tmp_path / "s", drop=drop)


def test_a_missing_or_unreadable_corpus_leaves_no_store(tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text("{}\n")
    for corpus in ("nowhere", "bad.jsonl"):
        with pytest.raises(CorpusError):
            build([str(tmp_path / corpus)], tmp_path / "s")
        assert not (tmp_path / "s" / "datastore.json").exists()
    corpus_file = write_corpus(tmp_path / "c.jsonl", DOCUMENTS[:5])
    assert build([str(corpus_file)], tmp_path / "s").n_documents == 5


def test_no_folder_of_the_corpus_is_written_into_the_store(tmp_path: Path) -> None:
    folder = tmp_path / "private" / "books"
    folder.mkdir(parents=True)
    corpus = write_corpus(folder / "c.jsonl", DOCUMENTS[:5])
    build([str(corpus), f"{folder}/", f"{folder}/*.jsonl"], tmp_path / "files")
    build([str(corpus), "hf:owner/name"], tmp_path / "stream", documents=DOCUMENTS[:5])
    kept = {
        name: json.loads((tmp_path / name / "datastore.json").read_text())["builds"][0]["corpora"]
        for name in ("files", "stream")
    }
    assert kept == {"files": ["c.jsonl", "books", "*.jsonl"], "stream": ["c.jsonl", "hf:owner/name"]}
    for name in ("files", "stream"):
        assert not [path for path, data in tree(tmp_path / name).items() if b"private" in data]


def test_a_build_whose_folder_was_moved_goes_on_where_it_stopped(tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    with pytest.raises(Killed):
        build([str(before / "c.jsonl")], before / "s", documents=stopping_after(250), **settings(200))  # type: ignore[arg-type]
    before.rename(after)
    n_finished = len(list(after.rglob("shard.json")))
    report = build([str(after / "c.jsonl")], after / "s", documents=DOCUMENTS, **settings(200))  # type: ignore[arg-type]
    assert 0 < n_finished == report.n_shards - report.n_new_shards


def test_another_corpus_s_documents_do_not_finish_a_build(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        build(["a/one.jsonl"], tmp_path / "s", documents=stopping_after(5))
    with pytest.raises(DatastoreError, match=r"one\.jsonl"):
        build(["a/two.jsonl"], tmp_path / "s", documents=DOCUMENTS)


def test_a_folder_with_other_files_is_not_built_into(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("do not touch")
    with pytest.raises(DatastoreError, match="not empty"):
        build([], tmp_path, documents=DOCUMENTS[:5])
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("size", [0, -1, 10**9])
def test_impossible_shard_sizes_are_refused(tmp_path: Path, size: int) -> None:
    with pytest.raises(UsageError, match=str(size)):
        build([], tmp_path / "s", documents=DOCUMENTS[:5], shard_passages=size)


class BadEmbedder(HashEmbedder):
    def __init__(self, fault: str) -> None:
        super().__init__()
        self.fault = fault

    def encode_passages(self, texts: list[str]) -> np.ndarray:  # type: ignore[override]
        vectors = super().encode_passages(texts)
        if self.fault == "NaN":
            vectors[-1, 0] = np.nan
        elif self.fault == "zero":
            vectors[-1] = 0
        else:
            vectors = vectors[:-1]
        return vectors


@pytest.mark.parametrize(("fault", "said"), [("NaN", "NaN"), ("zero", "length zero"), ("few", "shape")])
def test_bad_vectors_stop_the_build_before_they_are_stored(tmp_path: Path, fault: str, said: str) -> None:
    with pytest.raises(RereadError, match=said):
        build([], tmp_path / "s", documents=DOCUMENTS[:5], embedder=BadEmbedder(fault))
    assert not list((tmp_path / "s").rglob("shard.json"))


def test_a_bad_vector_that_the_embedder_itself_refuses_is_named_by_its_passage(tmp_path: Path) -> None:
    class Refusing(HashEmbedder):
        def encode_passages(self, texts: list[str]) -> np.ndarray:  # type: ignore[override]
            raise BadVectors("test:hash gave a vector with NaN", [2])

    with pytest.raises(RereadError, match=rf"NaN \(passage {DOCUMENTS[2].id}:0\)"):
        build([], tmp_path / "s", documents=DOCUMENTS[:5], embedder=Refusing())


def test_a_full_disk_is_one_sentence_and_the_build_goes_on_later(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "c.jsonl", DOCUMENTS)
    code = (
        "import resource, sys; from pathlib import Path; from reread.datastore import build\n"
        "from reread.errors import RereadError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "try: build([sys.argv[1]], Path(sys.argv[2]))\n"
        "except RereadError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(corpus), str(tmp_path / "s")],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert "is full" in done.stdout and "run the same command again" in done.stdout, done.stderr
    assert build([str(corpus)], tmp_path / "s").n_documents == 300
    assert verify(tmp_path / "s") == []


def test_a_corpus_of_any_earlier_build_has_nothing_left_to_do(tmp_path: Path) -> None:
    corpora = [write_corpus(tmp_path / f"{n}.jsonl", DOCUMENTS[n * 20 : n * 20 + 20]) for n in range(3)]
    for n, corpus in enumerate(corpora):
        build([str(corpus)], tmp_path / "s", append=n > 0)
    before = tree(tmp_path / "s")
    for corpus in corpora:
        for append in (False, True):
            report = build([str(corpus)], tmp_path / "s", append=append)
            assert (report.n_documents, report.n_new_shards) == (60, 0)
            assert tree(tmp_path / "s") == before
    stranger = write_corpus(tmp_path / "x.jsonl", DOCUMENTS[:7])
    with pytest.raises(DatastoreError, match=r"0\.jsonl.*1\.jsonl.*2\.jsonl.*not from what is given now"):
        build([str(stranger)], tmp_path / "s")


def test_an_earlier_corpus_does_not_pass_for_the_unfinished_one(tmp_path: Path) -> None:
    build(["one"], tmp_path / "s", documents=DOCUMENTS[:5])
    with pytest.raises(Killed):
        build(["two"], tmp_path / "s", documents=stopping_after(20), append=True)
    with pytest.raises(DatastoreError, match=r"unfinished build of \[\"two\"\]"):
        build(["one"], tmp_path / "s", documents=DOCUMENTS[:5])


def test_an_unfinished_store_is_not_opened(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        build([], tmp_path / "s", documents=stopping_after(100), **settings())  # type: ignore[arg-type]
    with pytest.raises(DatastoreError, match="not finished"):
        Datastore.open(tmp_path / "s")


def test_an_append_in_progress_leaves_the_store_as_it_was(tmp_path: Path) -> None:
    build([], tmp_path / "s", documents=DOCUMENTS[:50], **settings())  # type: ignore[arg-type]
    n = len(Datastore.open(tmp_path / "s"))

    def more() -> Iterator[Document]:
        yield from DOCUMENTS[50:200]
        raise Killed

    with pytest.raises(Killed):
        build(["more"], tmp_path / "s", documents=more(), append=True, **settings())  # type: ignore[arg-type]
    assert len(Datastore.open(tmp_path / "s")) == n


def test_a_folder_that_is_no_store_says_how_to_make_one(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(DatastoreError, match="reread build"):
            Datastore.open(path)


def test_another_embedder_than_the_stores_is_refused_by_both_names(tmp_path: Path) -> None:
    build([], tmp_path / "s", documents=DOCUMENTS[:5], embedder=HashEmbedder())
    with pytest.raises(DatastoreError, match=r"test:hash.*test:other"):
        Datastore.open(tmp_path / "s", HashEmbedder(spec="test:other"))


def test_an_embedder_of_another_dimension_is_refused_with_both_numbers(tmp_path: Path) -> None:
    build([], tmp_path / "s", documents=DOCUMENTS[:5], embedder=HashEmbedder(32))
    store = Datastore.open(tmp_path / "s", HashEmbedder(16))
    with pytest.raises(DatastoreError, match=r"16.*32"):
        store.search(["word"], 3, "exact")


@pytest.mark.realdata
def test_every_folder_of_real_formats_is_built_and_its_rejects_counted(realdata: Path, tmp_path: Path) -> None:
    report = build([str(realdata / "formats")], tmp_path / "s")
    assert report.n_documents >= 158
    assert sum(report.rejects.values()) == len(rejects(tmp_path / "s"))
    assert {"damaged_file", "no_text_column", "not_text"} <= set(report.rejects)
    (hits,) = Datastore.open(tmp_path / "s").search(["Semantic Scholar research team"], 3)
    assert "Semantic Scholar" in hits[0].passage.title


def test_a_mistaken_text_field_is_named_and_leaves_no_folder(tmp_path: Path) -> None:
    write_corpus(tmp_path / "corpus.jsonl", DOCUMENTS)
    with pytest.raises(CorpusError, match="is 'nosuch' the name of the text field"):
        build([str(tmp_path / "corpus.jsonl")], tmp_path / "store", text_field="nosuch")
    assert not (tmp_path / "store").exists()

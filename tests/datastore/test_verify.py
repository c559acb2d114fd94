"""What verify finds in a damaged store, what it advises, and that the advice helps."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from corpora import DOCUMENTS, HashEmbedder, settings, tree, write_corpus

from reread.cli import run
from reread.datastore import Datastore, build, merge, subset, verify
from reread.datastore.layout import read_store_file, write_store_file
from reread.errors import DatastoreError
from reread.types import Document


def test_a_sound_store_has_no_problems(tmp_path: Path) -> None:
    build([], tmp_path / "s", documents=DOCUMENTS, embedder=HashEmbedder(), **settings())  # type: ignore[arg-type]
    assert verify(tmp_path / "s") == []


def test_a_flipped_bit_in_any_file_is_found_and_its_shard_named(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "c.jsonl", DOCUMENTS, bad_lines=5)
    build([str(corpus)], tmp_path / "s", embedder=HashEmbedder(), **settings(400))  # type: ignore[arg-type]
    files = [p for p in (tmp_path / "s").rglob("*") if p.is_file()]
    names = {path.name for path in files}
    assert {"passages.arrow", "documents.npy", "vectors.npy", "terms.bin", "shard.json"} <= names
    assert {"datastore.json", "rejects.jsonl"} <= names
    rng = np.random.default_rng(0)
    for path in files:
        good = path.read_bytes()
        for place in rng.integers(0, len(good), size=3).tolist():
            bad = bytearray(good)
            bad[place] ^= 1 << int(rng.integers(8))
            path.write_bytes(bytes(bad))
            try:
                problems = verify(tmp_path / "s")
            except DatastoreError as error:
                problems = [str(error)]
                assert path.name == "datastore.json"
            assert problems and path.name in problems[0], (path, place)
            if "shards" in path.parts:
                assert f"shard {path.relative_to(tmp_path / 's' / 'shards').parts[0]}" in problems[0]
        path.write_bytes(good)
    assert verify(tmp_path / "s") == []


def test_a_deleted_shard_is_made_again_as_verify_advises(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "c.jsonl", DOCUMENTS, bad_lines=5)
    build([str(corpus)], tmp_path / "s", **settings())  # type: ignore[arg-type]
    before = tree(tmp_path / "s")
    shutil.rmtree(tmp_path / "s" / "shards" / "00002")
    (problem,) = verify(tmp_path / "s")
    assert "00002" in problem
    with pytest.raises(DatastoreError, match="00002"):
        Datastore.open(tmp_path / "s")
    build([str(corpus)], tmp_path / "s", **settings())  # type: ignore[arg-type]
    assert tree(tmp_path / "s") == before


def test_the_repair_of_a_shard_is_a_command_with_a_place_for_the_corpus_folder(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "my notes.jsonl", DOCUMENTS[:20])
    build([str(corpus)], tmp_path / "s", **settings())  # type: ignore[arg-type]
    before = tree(tmp_path / "s")
    (tmp_path / "s" / "shards" / "00000" / "documents.npy").write_bytes(b"damaged")
    (problem,) = verify(tmp_path / "s")
    assert f"delete the folder {tmp_path / 's' / 'shards' / '00000'}, then run again" in problem
    command = shlex.split(problem.partition("): ")[2].replace("PATH", str(tmp_path)))
    assert command[:3] == ["reread", "build", str(corpus)]
    shutil.rmtree(tmp_path / "s" / "shards" / "00000")
    assert run(command[1:]) == 0
    assert tree(tmp_path / "s") == before


@pytest.mark.parametrize("lost", [["00000"], ["00001"], ["00002", "00003"], ["00004"], ["00001", "00004"]])
def test_a_shard_of_any_build_of_an_appended_store_is_made_again_alone(tmp_path: Path, lost: list[str]) -> None:
    corpora = [write_corpus(tmp_path / f"{n}.jsonl", DOCUMENTS[n * 95 : n * 95 + 100], bad_lines=4) for n in range(3)]
    for n, corpus in enumerate(corpora):
        build([str(corpus)], tmp_path / "s", append=n > 0, **settings(150))  # type: ignore[arg-type]
    before = tree(tmp_path / "s")
    assert len(list((tmp_path / "s" / "shards").iterdir())) > 5
    kept = [
        p
        for p in (tmp_path / "s" / "shards").rglob("*")
        if p.is_file() and p.parts[len(tmp_path.parts) + 2] not in lost
    ]
    times = {path: path.stat().st_mtime_ns for path in kept}
    for name in lost:
        shutil.rmtree(tmp_path / "s" / "shards" / name)
    problems = verify(tmp_path / "s")
    assert [next(name for name in lost if name in problem) for problem in problems] == lost
    for problem in problems:
        command = shlex.split(problem.partition("): ")[2].replace("PATH", str(tmp_path)))
        assert run(command[1:]) == 0
    assert tree(tmp_path / "s") == before and verify(tmp_path / "s") == []
    assert {path: path.stat().st_mtime_ns for path in kept} == times


def test_nothing_is_added_to_a_store_that_lacks_a_shard(tmp_path: Path) -> None:
    first, second = (write_corpus(tmp_path / f"{n}.jsonl", DOCUMENTS[n * 30 : n * 30 + 30]) for n in range(2))
    build([str(first)], tmp_path / "s")
    shutil.rmtree(tmp_path / "s" / "shards" / "00000")
    with pytest.raises(DatastoreError, match=r"shard 00000 of an earlier build.*reread verify"):
        build([str(second)], tmp_path / "s", append=True)


GOOD_TOMBSTONE = b'{"passage_id": "%b", "reason": "test"}\n'


@pytest.mark.parametrize("line", [b"garbage\n", b"{}\n", b"[]\n", b'{"passage_id": 7}\n', b"\xff\xfe\n"])
def test_a_damaged_tombstone_is_found_by_verify_where_search_refuses(tmp_path: Path, line: bytes) -> None:
    build([], tmp_path / "s", documents=DOCUMENTS[:20])
    ids = [Datastore.open(tmp_path / "s").passage(n).id.encode() for n in range(2)]
    path = tmp_path / "s" / "tombstones.jsonl"
    path.write_bytes(GOOD_TOMBSTONE % ids[0] + GOOD_TOMBSTONE % ids[1])
    assert verify(tmp_path / "s") == [] and len(Datastore.open(tmp_path / "s")) == 18
    path.write_bytes(GOOD_TOMBSTONE % ids[0] + line + GOOD_TOMBSTONE % ids[1])
    (problem,) = verify(tmp_path / "s")
    assert "tombstones.jsonl line 2" in problem and "delete that line" in problem
    with pytest.raises(DatastoreError, match=r"tombstones\.jsonl is damaged.*reread verify"):
        Datastore.open(tmp_path / "s")


def test_a_tombstone_that_hides_nothing_or_is_cut_is_a_problem(tmp_path: Path) -> None:
    build([], tmp_path / "s", documents=DOCUMENTS[:20])
    path = tmp_path / "s" / "tombstones.jsonl"
    path.write_bytes(GOOD_TOMBSTONE % b"no such passage:0")
    (problem,) = verify(tmp_path / "s")
    assert "line 1" in problem and "no such passage:0" in problem
    path.write_bytes((GOOD_TOMBSTONE % Datastore.open(tmp_path / "s").passage(0).id.encode())[:-9])
    (problem,) = verify(tmp_path / "s")
    assert "line 1 is damaged" in problem


@pytest.mark.parametrize("damage", ["garbage", "cut", "gone", "one more"])
def test_a_damaged_list_of_rejects_is_found(tmp_path: Path, damage: str) -> None:
    corpus = write_corpus(tmp_path / "c.jsonl", DOCUMENTS[:20], bad_lines=3)
    build([str(corpus)], tmp_path / "s")
    path = tmp_path / "s" / "rejects.jsonl"
    good = path.read_bytes()
    assert verify(tmp_path / "s") == []
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(
            {"garbage": b"garbage" + good, "cut": good[:-4], "one more": good + good[:-1].splitlines()[0] + b"\n"}[
                damage
            ]
        )
    (problem,) = verify(tmp_path / "s")
    assert "rejects.jsonl" in problem and "delete the folder" in problem
    assert len(Datastore.open(tmp_path / "s")) == 20


def test_appending_to_a_store_with_a_damaged_list_of_rejects_is_one_sentence(tmp_path: Path) -> None:
    build([str(write_corpus(tmp_path / "a.jsonl", DOCUMENTS[:20], bad_lines=3))], tmp_path / "s")
    good = (tmp_path / "s" / "rejects.jsonl").read_bytes()
    (tmp_path / "s" / "rejects.jsonl").write_bytes(b"x" + good[1:])
    with pytest.raises(DatastoreError, match=r"rejects\.jsonl line 1 is damaged"):
        build([str(write_corpus(tmp_path / "b.jsonl", DOCUMENTS[20:30]))], tmp_path / "s", append=True)


@pytest.mark.parametrize("content", ['{"format_version": 99}', "{}", "not json"])
def test_another_format_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "datastore.json").write_text(content)
    with pytest.raises(DatastoreError, match=r"format|JSON") as refused:
        Datastore.open(tmp_path)
    assert f"delete the folder {tmp_path}, then build it again" in str(refused.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("builds", []),
        ("builds", [{"finished": True}]),
        ("builds", "all"),
        ("shards", ["../elsewhere"]),
        ("shards", None),
        ("chunking", {"chunk_words": "many"}),
        ("shard_passages", None),
        ("analyser", 7),
        ("embedder", 7),
    ],
)
def test_a_datastore_json_with_a_wrong_field_is_refused_by_its_name(tmp_path: Path, field: str, value: object) -> None:
    build([], tmp_path / "s", documents=DOCUMENTS[:5])
    content = json.loads((tmp_path / "s" / "datastore.json").read_text())
    (tmp_path / "s" / "datastore.json").write_text(json.dumps({**content, field: value}))
    for act in (Datastore.open, verify):
        with pytest.raises(DatastoreError, match=f"field {field} .*delete the folder"):
            act(tmp_path / "s")


def test_a_shard_made_again_is_not_told_of_documents_that_came_later(tmp_path: Path) -> None:
    """The first of two documents of one id has no passage that is kept, so the store holds the second."""
    first = [Document(id=f"d{n}", text=f"words of document {n}", source="s") for n in range(4)]
    again = Document(id="d1", text="other words", source="s")
    documents = [first[0], Document(id="d1", text="unwanted", source="s"), *first[2:], again]

    def make() -> None:
        drop = {"drop": lambda passage: "unwanted" if passage.text == "unwanted" else None, "shard_passages": 2}
        build([], tmp_path / "s", documents=documents, **drop)  # type: ignore[arg-type]

    make()
    before = tree(tmp_path / "s")
    shutil.rmtree(tmp_path / "s" / "shards" / "00000")
    make()
    assert tree(tmp_path / "s") == before


def test_a_store_of_an_earlier_analyser_is_to_be_built_again(tmp_path: Path) -> None:
    store, corpus = tmp_path / "s", write_corpus(tmp_path / "c.jsonl", DOCUMENTS[:20])
    build([str(corpus)], store)
    # Its settings are described in other words, too.
    chunking = {"chunk_words": 256, "overlap_words": 0}
    write_store_file(store, {**read_store_file(store), "analyser": "plain words", "chunking": chunking})
    for refused in (
        lambda: Datastore.open(store),
        lambda: build([str(corpus)], store),
        lambda: subset(store, tmp_path / "part", fraction=0.5),
        lambda: merge([store], tmp_path / "all"),
    ):
        with pytest.raises(DatastoreError, match=r"indexed with the analyser 'plain words'.*delete the folder .*/s,"):
            refused()
    (problem,) = verify(store)
    assert problem.startswith("the store was indexed by another version of reread; delete the folder ")

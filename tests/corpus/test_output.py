"""What a corpus command writes: names, folders that are a run's own, reasons that reach a terminal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reread.corpus import CorpusFile, Rejects
from reread.corpus.extract import extract_corpus
from reread.corpus.output import claim_folder, output_names
from reread.corpus.rejects import MAX_REASONS, OTHER
from reread.errors import RunFolderError, UsageError

PARTS = st.sampled_from(["a", "b.jsonl", "a.jsonl.zst", "..", "00001-a", "00001--a", "", "x" * 250, "ü" * 120])
NAMES = st.lists(st.lists(PARTS, min_size=1, max_size=3).map("/".join), max_size=6)


@given(NAMES)
def test_every_file_gets_a_name_of_its_own_that_can_be_written(names: list[str]) -> None:
    given_names = output_names([CorpusFile(name, None) for name in names])
    assert len(set(given_names)) == len(names)
    for name in given_names:
        assert ".." not in name.split("/") and not name.startswith("/")
        assert all(len(part.encode()) <= 230 for part in name.split("/"))
        assert not any(other.startswith(f"{name}/") for other in given_names)


def test_a_folder_is_its_runs_own_and_says_what_differs(tmp_path: Path) -> None:
    settings = tmp_path / "out" / "run.json"
    for _ in range(2):
        claim_folder(tmp_path / "out", settings, {"n": 1, "files": [["a", 3]]}, "a run")
    with pytest.raises(RunFolderError, match="holds a run with n = 1, not 2"):
        claim_folder(tmp_path / "out", settings, {"n": 2}, "a run")
    with pytest.raises(RunFolderError, match="other corpus files"):
        claim_folder(tmp_path / "out", settings, {"files": []}, "a run")
    for damage in ("[1]", "{", ""):
        settings.write_text(damage)
        with pytest.raises(RunFolderError, match=r"run\.json is damaged"):
            claim_folder(tmp_path / "out", settings, {"n": 1}, "a run")
    with pytest.raises(RunFolderError, match="is not empty and holds no run"):
        claim_folder(tmp_path / "out", tmp_path / "out" / "other.json", {}, "a run")


def test_a_link_to_nothing_and_a_name_as_long_as_can_be_are_extracted(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    (corpus / ("a" * 250 + ".txt")).write_text("words")
    (corpus / "gone.txt").symlink_to(tmp_path / "nowhere")
    report = extract_corpus([str(corpus)], tmp_path / "out")
    assert report.n_documents == 1 and report.rejects == {"unreadable_file (No such file or directory)": 1}


def test_an_output_folder_inside_the_corpus_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("words")
    with pytest.raises(UsageError, match="lies in the corpus folder"):
        extract_corpus([str(tmp_path)], tmp_path / "out")


def test_reasons_are_short_plain_and_of_bounded_number(tmp_path: Path) -> None:
    with Rejects(tmp_path / "rejects.jsonl") as rejects:
        rejects.add("a", 1, "content_type_\x1b[2J" + "x" * 10_000)
        for number in range(MAX_REASONS + 5):
            rejects.add("a", number, f"namespace_{number}")
    assert rejects.total == MAX_REASONS + 6 and rejects.counts[OTHER] == 6
    rows = [json.loads(line) for line in (tmp_path / "rejects.jsonl").read_text().splitlines()]
    assert len(rows) == rejects.total
    assert all(row["reason"].isprintable() and len(row["reason"]) < 200 for row in rows)

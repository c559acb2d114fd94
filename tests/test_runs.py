import json
from pathlib import Path

import pytest

from reread.errors import RunFolderError
from reread.runs import JsonLines, RunFolder, content_seed, write_text_atomically


def test_a_line_cut_by_a_kill_is_mended(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text('{"a": 1}\n{"a": 2}\n{"a": 3, "te', encoding="utf-8")
    assert [row["a"] for row in JsonLines(path).read()] == [1, 2]
    with JsonLines(path) as lines:
        lines.append({"a": 3})
    assert [row["a"] for row in JsonLines(path).read()] == [1, 2, 3]


def test_garbage_after_the_last_whole_line_is_mended(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_bytes(b'{"a": 1}\n\x00\x00\x00\n')
    with JsonLines(path) as lines:
        lines.append({"a": 2})
    assert [row["a"] for row in JsonLines(path).read()] == [1, 2]


def test_damage_in_the_middle_is_named_and_not_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text('{"a": 1}\n[[\n{"a": 3}\n', encoding="utf-8")
    with pytest.raises(RunFolderError, match="line 2"):
        list(JsonLines(path).read())


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "scores.json"
    write_text_atomically(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_text_atomically(path, "\ud800")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_run_folder_knows_its_recipe(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    assert run.claim({"name": "x", "reading": {"k": 3}}) is False
    assert run.claim({"name": "x", "reading": {"k": 3}}) is True
    with pytest.raises(RunFolderError, match=r"reading\.k is 3 there and 5 here"):
        run.claim({"name": "x", "reading": {"k": 5}})


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(RunFolderError, match="no run folder"):
        RunFolder(tmp_path).claim({"name": "x"})


def test_seeds_come_from_content() -> None:
    assert content_seed("q1", "sc", 0) == content_seed("q1", "sc", 0)
    assert len({content_seed("q1", "sc", n) for n in range(100)}) == 100
    assert content_seed("ab", "c") != content_seed("a", "bc")
    assert json.loads(json.dumps(content_seed("x"))) == content_seed("x")

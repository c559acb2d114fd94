"""hf: data sets, streamed from a local copy; what cannot be had is said in a sentence."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpus_files import check_every_position, ids, json_line, read

from reread.corpus import hub
from reread.corpus.hub import parse_dataset
from reread.errors import CorpusError, MissingExtra

datasets = pytest.importorskip("datasets")


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setattr(hub, "RETRY_WAITS_S", (0.0, 0.0))
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "train.jsonl").write_bytes(b"".join(json_line(n) for n in range(7)))
    (tmp_path / "test.jsonl").write_bytes(b"".join(json_line(n) for n in range(100, 103)))
    return tmp_path


@pytest.mark.parametrize(
    ("dataset", "parts"),
    [
        ("o/n", ("o/n", None, "train")),
        ("o/n:test", ("o/n", None, "test")),
        ("o/n@en", ("o/n", "en", "train")),
        ("o/n@20220301.en:train[:5%]", ("o/n", "20220301.en", "train[:5%]")),
        ("/data/set", ("/data/set", None, "train")),
    ],
)
def test_a_data_set_is_named_with_configuration_and_split(dataset: str, parts: tuple[str, str | None, str]) -> None:
    assert parse_dataset(dataset) == parts


@pytest.mark.parametrize("dataset", ["", ":test", "@en", "o/n:", "o/n@"])
def test_half_a_name_is_refused(dataset: str) -> None:
    with pytest.raises(CorpusError, match="names no data set"):
        read(f"hf:{dataset}")


def test_rows_are_read_from_the_split_asked_for(folder: Path) -> None:
    assert ids(f"hf:{folder}") == ([f"r{n}" for n in range(7)], {})
    assert ids(f"hf:{folder}:test") == (["r100", "r101", "r102"], {})


def test_a_configuration_is_read(tmp_path: Path) -> None:
    for name in ("en", "de"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.jsonl").write_text(json.dumps({"id": name, "text": "words"}))
    configs = [{"config_name": name, "data_files": f"{name}/*.jsonl"} for name in ("en", "de")]
    (tmp_path / "README.md").write_text(f"---\nconfigs: {json.dumps(configs)}\n---\n")
    assert ids(f"hf:{tmp_path}@de") == (["de"], {})
    with pytest.raises(CorpusError, match=r"configuration.*en.*de"):
        read(f"hf:{tmp_path}@fr")


def test_reading_goes_on_exactly_behind_any_row(folder: Path) -> None:
    assert check_every_position(f"hf:{folder}", f"hf:{folder}:test") == 10


def test_the_only_text_column_is_the_text(tmp_path: Path) -> None:
    pq.write_table(pa.table({"Sentence": ["a b", "c d"], "n": [1, 2]}), tmp_path / "train.parquet")
    documents, _ = read(f"hf:{tmp_path}")
    assert [(d.id, d.text, d.meta) for d in documents] == [
        (f"hf:{tmp_path}#1", "a b", {"n": 1}),
        (f"hf:{tmp_path}#2", "c d", {"n": 2}),
    ]


def test_the_text_column_may_be_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a"], "note": ["b"]}), tmp_path / "train.parquet")
    assert [document.text for document in read(f"hf:{tmp_path}", text_field="note")[0]] == ["b"]


def test_an_unknown_split_is_named_with_those_there_are(folder: Path) -> None:
    with pytest.raises(CorpusError, match=r"no split validation.*test.*train|no split validation.*train.*test"):
        read(f"hf:{folder}:validation")


def test_an_unknown_data_set_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"hf:.*nothing-here cannot be read: .*") as caught:
        read("hf:nobody/nothing-here")
    assert "\n" not in str(caught.value)
    with pytest.raises(CorpusError, match="cannot be read"):
        read(f"hf:{tmp_path / 'nowhere'}")


def test_a_data_sets_own_code_is_not_run(tmp_path: Path) -> None:
    data = tmp_path / "evil"
    data.mkdir()
    mark = tmp_path / "was-run"
    (data / "evil.py").write_text(f"open({str(mark)!r}, 'w').close()\nimport datasets\n")
    with pytest.raises(CorpusError):
        read(f"hf:{data}")
    assert not mark.exists()


def broken_rows(monkeypatch: pytest.MonkeyPatch, n_failures: int) -> None:
    """A data set of ten rows whose stream breaks off behind the fourth, so many times."""
    left = [n_failures]

    class Rows:
        features = None

        def __init__(self, first: int = 0) -> None:
            self.first = first

        def skip(self, n: int) -> Rows:
            return Rows(self.first + n)

        def __iter__(self) -> Iterator[dict[str, Any]]:
            for n in range(self.first, 10):
                if n == 4 and left[0] > 0:
                    left[0] -= 1
                    raise ConnectionError("gone")
                yield {"id": f"r{n}", "text": "words"}

    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: Rows())


def test_a_stream_that_breaks_off_is_tried_again_and_else_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    broken_rows(monkeypatch, 2)
    assert ids("hf:o/n") == ([f"r{n}" for n in range(10)], {})
    broken_rows(monkeypatch, 99)
    assert ids("hf:o/n") == ([f"r{n}" for n in range(4)], {"damaged_file": 1})


def test_the_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(MissingExtra, match=r"reread\[hub\]"):
        read("hf:o/n")

"""Corpora on object stores, through fsspec's memory filesystem: listing, streaming, faults, no secrets."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpus_files import check_every_position, ids, json_line, read

from reread.corpus import Rejects, find_files, read_documents, remote
from reread.corpus.remote import object_facts, public_url
from reread.errors import CorpusError, MissingExtra

fsspec = pytest.importorskip("fsspec")

LINES = b"".join(json_line(number) for number in range(6))
NAMES = [f"r{number}" for number in range(6)]


def parquet() -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"text": ["p1", "p2"]}), buffer)
    return buffer.getvalue()


OBJECTS = {
    "bucket/c/a.jsonl": LINES,
    "bucket/c/b/x.jsonl.gz": gzip.compress(LINES),
    "bucket/c/b/y.parquet": parquet(),
    "bucket/c/z.txt": b"words",
    "bucket/c/.hidden": b"not this",
    "bucket/cold/w.txt": b"not below c",
}


@pytest.fixture(autouse=True)
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(remote, "RETRY_WAITS_S", (0.0, 0.0, 0.0))
    fs = fsspec.filesystem("memory")
    for path, content in OBJECTS.items():
        fs.pipe_file(f"/{path}", content)
    yield fs
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]


def test_a_prefix_is_read_as_a_folder_is(tmp_path: Path) -> None:
    for path, content in OBJECTS.items():
        if path.startswith("bucket/c/"):
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_bytes(content)
    rejects = Rejects()
    assert list(read_documents(["memory://bucket/c"], rejects=rejects)) == list(
        read_documents([str(tmp_path / "bucket" / "c")], rejects=rejects)
    )
    assert rejects.total == 0


@pytest.mark.parametrize(
    ("url", "names"),
    [
        ("memory://bucket/c/a.jsonl", ["a.jsonl"]),
        ("memory://bucket/c/", ["a.jsonl", "b/x.jsonl.gz", "b/y.parquet", "z.txt"]),
        ("memory://bucket/c/*", ["a.jsonl", "z.txt"]),
        ("memory://bucket/**/*.jsonl*", ["a.jsonl", "x.jsonl.gz"]),
        ("memory://bucket/c/b/?.parquet", ["y.parquet"]),
    ],
)
def test_objects_prefixes_and_globs_are_found(url: str, names: list[str]) -> None:
    assert [file.name for file in find_files([url])] == names


def test_objects_of_one_name_get_different_names(store: Any) -> None:
    store.pipe_file("/bucket/d/a.jsonl", LINES)
    files = find_files(["memory://bucket/c/a.jsonl", "memory://bucket/d/a.jsonl", "memory://bucket/c/a.jsonl"])
    assert [file.name for file in files] == ["c/a.jsonl", "d/a.jsonl"]


def test_reading_goes_on_exactly_behind_any_record_of_an_object() -> None:
    assert check_every_position("memory://bucket/c") == 15


def test_a_file_url_is_a_local_file(tmp_path: Path) -> None:
    (tmp_path / "a b.jsonl").write_bytes(LINES)
    assert ids(f"file://{tmp_path}/a%20b.jsonl") == (NAMES, {})
    with pytest.raises(CorpusError, match="another machine"):
        find_files(["file://elsewhere/a.jsonl"])


def test_an_object_is_known_by_what_the_store_says_of_it(store: Any) -> None:
    before = object_facts("memory://bucket/c/a.jsonl")
    assert before["bytes"] == len(LINES)
    store.pipe_file("/bucket/c/a.jsonl", LINES.replace(b"r0", b"q0"))
    assert object_facts("memory://bucket/c/a.jsonl") != before
    assert object_facts("memory://bucket/nothing") == {"unreadable": "FileNotFoundError"}


def break_reads(monkeypatch: pytest.MonkeyPatch, breaks: Callable[[int], bool], *, silently: bool = False) -> list[int]:
    """Makes reads of the store fail (or return nothing) where `breaks` says so of the number of reads before."""
    from fsspec.implementations.memory import MemoryFile

    reads: list[int] = []
    read_whole = MemoryFile.read

    def read(self: Any, n: int = -1) -> bytes:
        reads.append(n)
        if breaks(len(reads)):
            if silently:
                return b""
            raise ConnectionResetError("Connection reset by peer at https://user:secret@host/x?token=abc")
        return bytes(read_whole(self, min(n, 100)))

    monkeypatch.setattr(MemoryFile, "read", read)
    return reads


@pytest.mark.parametrize("silently", [False, True])
def test_an_interrupted_read_is_tried_again(monkeypatch: pytest.MonkeyPatch, silently: bool) -> None:
    reads = break_reads(monkeypatch, lambda n: n % 3 == 0, silently=silently)
    assert ids("memory://bucket/c/a.jsonl") == (NAMES, {})
    assert len(reads) > 6


@pytest.mark.parametrize("silently", [False, True])
def test_an_object_whose_end_cannot_be_had_is_damaged_and_never_just_shorter(
    monkeypatch: pytest.MonkeyPatch, silently: bool
) -> None:
    reads = break_reads(monkeypatch, lambda n: n > 8, silently=silently)
    found, counts = ids("memory://bucket/c/a.jsonl")
    assert found == NAMES[: len(found)] and 0 < len(found) < 6 and counts == {"damaged_file": 1}
    # One try, three more, and no endless ones.
    assert len(reads) == 12


def test_an_object_that_goes_away_is_rejected_and_the_rest_is_read(store: Any) -> None:
    files = find_files(["memory://bucket/c"])
    store.rm("/bucket/c/a.jsonl")
    from reread.corpus import Position
    from reread.corpus.documents import read_from

    rejects = Rejects()
    assert len(list(read_from(files, Position(0, 0), rejects=rejects))) == 9
    assert rejects.counts == {"unreadable_file (FileNotFoundError)": 1}


SECRET_URLS = [
    "s3://AKIAKEY:sEcReT@bucket/a.jsonl",
    "gs://bucket/a.jsonl?access_token=sEcReT",
    "memory://user:sEcReT@bucket/c",
    "az://container/a.jsonl?sv=1&sig=sEcReT",
    "https://user:sEcReT@host/a.jsonl?token=sEcReT",
    "s3://bucket/a.jsonl#key=sEcReT",
]


@pytest.mark.parametrize("url", SECRET_URLS)
def test_a_url_with_secrets_is_refused_without_showing_them(url: str) -> None:
    with pytest.raises(CorpusError) as caught:
        find_files([url])
    assert "sEcReT" not in str(caught.value) and "AKIAKEY" not in str(caught.value)
    assert "sEcReT" not in public_url(url)


def test_secrets_in_a_stores_own_errors_are_not_shown(monkeypatch: pytest.MonkeyPatch, store: Any) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ConnectionError("cannot reach https://user:sEcReT@host/x?sig=sEcReT\nand more")

    monkeypatch.setattr(type(store), "find", fail)
    with pytest.raises(CorpusError, match=r"ConnectionError.*check the URL, the network and the credentials") as caught:
        find_files(["memory://bucket/c"])
    assert "sEcReT" not in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("memory://bucket/nothing", "holds no files"),
        ("memory://bucket/*.nothing", "holds no files"),
        ("https://example.com/a.jsonl", "reread extract --urls"),
        ("zip://a.zip", "scheme that is not read"),
        ("simplecache::s3://bucket/a", "scheme that is not read"),
    ],
)
def test_a_url_that_gives_nothing_says_why(url: str, message: str) -> None:
    with pytest.raises(CorpusError, match=message):
        find_files([url])


@pytest.mark.parametrize(("url", "package"), [("s3://b/a", "s3fs"), ("gs://b/a", "gcsfs"), ("memory://b/a", "fsspec")])
def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch, url: str, package: str) -> None:
    import importlib.util

    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else find_spec(name))
    with pytest.raises(MissingExtra, match=rf"{package}: pip install 'reread\[cloud\]'"):
        find_files([url])


def test_a_bad_record_in_an_object_names_it_below_the_prefix(store: Any, tmp_path: Path) -> None:
    store.pipe_file("/bucket/c/b/bad.jsonl", LINES + b"{broken\n")
    with Rejects(tmp_path / "rejects.jsonl") as rejects:
        list(read_documents(["memory://bucket/c"], rejects=rejects))
    (reject,) = map(json.loads, (tmp_path / "rejects.jsonl").read_text().splitlines())
    assert reject == {"source": "b/bad.jsonl", "record": 7, "reason": "not_json"}
    assert read("memory://bucket/c")[1].total == 1

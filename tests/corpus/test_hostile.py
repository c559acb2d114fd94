"""Folders and files made to hang, exhaust or mislead a reader."""

from __future__ import annotations

import codecs
import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from corpus_files import check_every_position, ids, json_line, read
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reread.corpus import Position, Rejects, find_files
from reread.corpus.documents import read_from
from reread.errors import CorpusError

LINES = b"".join(json_line(number) for number in range(6))
NAMES = [f"r{number}" for number in range(6)]


def test_pipes_sockets_and_devices_in_a_folder_are_passed_over_without_hanging(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(LINES)
    os.mkfifo(tmp_path / "b.jsonl")
    (tmp_path / "zero").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        assert ids(tmp_path) == (NAMES, {})
        assert ids(f"{tmp_path}/*") == (NAMES, {})


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_pipe_or_device_named_as_the_corpus_is_refused_as_that(tmp_path: Path, kind: str) -> None:
    path = Path("/dev/zero")
    if kind == "pipe":
        path = tmp_path / "pipe"
        os.mkfifo(path)
    with pytest.raises(CorpusError, match=f"is a {kind}, not a file; write its content to a file first"):
        find_files([str(path)])


def test_links_to_folders_are_followed_once_and_loops_end(tmp_path: Path) -> None:
    (tmp_path / "corpus" / "deep").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.jsonl").write_bytes(LINES)
    (tmp_path / "corpus" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "corpus" / "twice").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "corpus" / "deep" / "loop").symlink_to(tmp_path / "corpus")
    assert [file.name for file in find_files([str(tmp_path / "corpus")])] == ["linked/a.jsonl"]


def test_links_to_nothing_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(LINES)
    (tmp_path / "gone.jsonl").symlink_to(tmp_path / "nowhere")
    (tmp_path / "self.jsonl").symlink_to(tmp_path / "self.jsonl")
    found, counts = ids(tmp_path)
    assert found == NAMES
    assert counts == {
        "unreadable_file (No such file or directory)": 1,
        "unreadable_file (Too many levels of symbolic links)": 1,
    }


def test_a_file_that_may_not_be_opened_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).write_bytes(LINES)
    open_file = Path.open

    def refuse(self: Path, *args: Any, **kwargs: Any) -> Any:
        if self.name == "a.jsonl":
            raise PermissionError(13, "Permission denied")
        return open_file(self, *args, **kwargs)

    monkeypatch.setattr(Path, "open", refuse)
    assert ids(tmp_path) == (NAMES, {"unreadable_file (Permission denied)": 1})


def test_a_folder_that_may_not_be_listed_is_no_silent_gap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "closed").mkdir()
    (tmp_path / "a.jsonl").write_bytes(LINES)
    list_folder = os.scandir

    def refuse(path: Any) -> Any:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return list_folder(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(CorpusError, match=r"closed cannot be listed \(Permission denied\)"):
        find_files([str(tmp_path)])


def test_a_file_that_vanishes_is_counted_and_one_that_is_cut_while_read_ends_there(tmp_path: Path) -> None:
    for name in ("a.jsonl", "b.jsonl", "c.jsonl"):
        (tmp_path / name).write_bytes(LINES)
    files = find_files([str(tmp_path)])
    (tmp_path / "b.jsonl").unlink()
    rejects = Rejects()
    documents = read_from(files, Position(0, 0), rejects=rejects)
    next(documents)
    (tmp_path / "a.jsonl").unlink()
    assert len(list(documents)) == 11
    assert rejects.counts == {"unreadable_file (No such file or directory)": 1}


def test_a_name_that_is_not_utf8_is_read_and_can_be_stored(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/caf\xe9.txt"
    with open(name, "wb") as file:  # noqa: PTH123  # a name of bytes
        file.write(b"words")
    documents, _ = read(tmp_path)
    assert documents[0].id == "caf\ufffd.txt"
    json.dumps([documents[0].id, documents[0].source, documents[0].title], ensure_ascii=False).encode()


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le-mark", "utf-16-be-mark", "utf-8-sig"])
@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a"])
def test_json_in_the_encodings_of_windows_is_read(tmp_path: Path, encoding: str, name: str) -> None:
    text = '{"id": "a", "text": "naïve 漢字 😀"}\r\n{"id": "b", "text": "second"}\r\n'
    marks = {"utf-16-le-mark": codecs.BOM_UTF16_LE, "utf-16-be-mark": codecs.BOM_UTF16_BE}
    content = marks.get(encoding, b"") + text.encode(encoding.removesuffix("-mark"))
    (tmp_path / name).write_bytes(content)
    documents, rejects = read(tmp_path)
    assert [(document.id, document.text) for document in documents] == [("a", "naïve 漢字 😀"), ("b", "second")]
    assert rejects.total == 0


@pytest.mark.parametrize("depth", [90, 150, 600, 1500, 100_000])
@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_nesting_of_any_depth_ends_in_a_document_or_a_reject(tmp_path: Path, depth: int, name: str) -> None:
    record = b'{"id": "r", "text": "words", "deep": ' + b"[" * depth + b"]" * depth + b"}"
    (tmp_path / name).write_bytes(record + b"\n" + (json_line(1) if name == "a.jsonl" else b""))
    documents, rejects = read(tmp_path)
    expected = ["r"] if depth < 100 else []
    assert [document.id for document in documents] == expected + (["r1"] if name == "a.jsonl" else [])
    assert rejects.counts == ({} if depth < 100 else {"too_deeply_nested" if depth < 900 else "not_json": 1}) or (
        name == "a.json" and set(rejects.counts) <= {"not_json", "too_deeply_nested"} and rejects.total == 1
    )
    for document in documents:
        json.dumps(dict(document.meta))


def test_whole_numbers_beyond_64_bits_stay_what_they_are(tmp_path: Path) -> None:
    big = 2**70 + 1
    (tmp_path / "a.jsonl").write_text(f'{{"id": {big}, "text": "a", "n": {-big}, "data": {{"m": {big}}}}}')
    (document,) = read(tmp_path)[0]
    assert document.id == str(big) and document.meta == {"n": -big, "data": {"m": big}}


def test_zero_bytes_in_text_are_kept_and_in_the_first_bytes_tell_a_binary_file(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"id": "a", "text": "one\\u0000two"}')
    (tmp_path / "b.bin").write_bytes(b"\x00\x01\x02")
    documents, rejects = read(tmp_path)
    assert documents[0].text == "one\0two" and rejects.counts == {"unsupported_format (binary)": 1}


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
RECORDS = st.dictionaries(st.sampled_from(["id", "text", "title", "url", "meta", "n", "content"]), JSON_VALUES)
NOISE = st.binary(max_size=30)
SUFFIXES = [".jsonl", ".json", ".txt", ".md", ".html", ".warc", ".wet", ".arc", ".tar", ".zip", ".parquet", ""]
STARTS = [
    b"", b"WARC/1.0\r\n", b"filedesc://a 0.0.0.0 20200101 text/plain 3\n", b"PAR1", b"PARE", b"PK\x03\x04", b"<html>",
    b"<mediawiki>", b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18", b"BZh9", b"\xff\xfe", b"[", b"{",
    b"\x5d\x2a\x4d\x18\x04\x00\x00\x00dict",
    b"WARC/1.0\r\nWARC-Type: response\r\nContent-Length: 40\r\n\r\nHTTP/1.1 200",
]  # fmt: skip


@given(records=st.lists(RECORDS | JSON_VALUES, max_size=4), noise=NOISE, at=st.integers(0, 200))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_line_becomes_a_document_or_a_reject_and_reading_can_go_on_anywhere(
    tmp_path: Path, records: list[Any], noise: bytes, at: int
) -> None:
    content = b"".join(json.dumps(record).encode() + b"\n" for record in records)
    content = content[:at] + noise + content[at:]
    (tmp_path / "a.jsonl").write_bytes(content)
    n_lines = sum(1 for line in content.split(b"\n") if line.strip())
    documents, rejects = read(tmp_path)
    if n_lines and not content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        assert len(documents) + rejects.total == n_lines
    for document in documents:
        json.dumps([document.id, document.text, document.title, document.url, dict(document.meta)]).encode()
        document.text.encode()
    check_every_position(tmp_path)


@given(suffix=st.sampled_from(SUFFIXES), start=st.sampled_from(STARTS), rest=st.binary(max_size=300))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_bytes_under_any_name_raise_an_error(tmp_path: Path, suffix: str, start: bytes, rest: bytes) -> None:
    for old in tmp_path.iterdir():
        old.unlink()
    (tmp_path / f"a{suffix}").write_bytes(start + rest)
    documents, rejects = read(tmp_path)
    assert documents or rejects.total
    check_every_position(tmp_path)

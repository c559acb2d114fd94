"""Tar and ZIP archives: every member by its own format, nothing on disk, bounded."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpus_files import PACKS, check_every_position, ids, json_line, read

LINES = b"".join(json_line(number) for number in range(8))
NAMES = [f"r{number}" for number in range(8)]


def parquet(n: int) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"text": [f"row {number}" for number in range(n)]}), buffer)
    return buffer.getvalue()


MEMBERS = {
    "folder/a.jsonl": LINES,
    "folder/b.jsonl.gz": gzip.compress(LINES),
    "../../c.txt": b"plain words",
    "d.parquet": parquet(3),
    ".hidden": b"not this",
    "e.png": b"\x89PNG\x00\x00",
    "f.txt": b"",
    "g.tar": b"",
    "h.json": json.dumps([{"id": "h1", "text": "w"}, {"id": "h2"}]).encode(),
}
FOUND = [*NAMES, *NAMES, "a.x/../../c.txt", "a.x/d.parquet#1", "a.x/d.parquet#2", "a.x/d.parquet#3", "h1"]
REJECTED = {"unsupported_format (binary)": 1, "empty_file": 2, "no_text": 1}


def tar(members: dict[str, bytes], style: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=style) as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        link = tarfile.TarInfo("link.txt")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
        pipe = tarfile.TarInfo("pipe.txt")
        pipe.type = tarfile.FIFOTYPE
        archive.addfile(pipe)
    return buffer.getvalue()


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.mark.parametrize("codec", ["none", *PACKS])
@pytest.mark.parametrize("style", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_each_member_of_a_tar_file_is_read_by_its_own_format(tmp_path: Path, codec: str, style: int) -> None:
    content = tar(MEMBERS, style)
    (tmp_path / "a.x").write_bytes(PACKS[codec](content) if codec in PACKS else content)
    assert ids(tmp_path) == (FOUND, REJECTED)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.x"]


def test_each_member_of_a_zip_file_is_read_by_its_own_format(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(zipped(MEMBERS))
    assert ids(tmp_path) == ([name.replace("a.x/", "a.zip/") for name in FOUND], REJECTED)


def test_a_member_says_where_it_came_from(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(tar({"deep/b.txt": b"words"}))
    (document,) = read(tmp_path)[0]
    assert (document.id, document.source, document.title) == ("a.tar/deep/b.txt", "a.tar/b.txt", "b")


@pytest.mark.parametrize("name", ["a.tar.gz", "a.zip"])
def test_reading_goes_on_exactly_behind_any_record_of_an_archive(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(gzip.compress(tar(MEMBERS)) if "tar" in name else zipped(MEMBERS))
    assert check_every_position(tmp_path) == len(FOUND)


def test_a_tar_file_cut_anywhere_keeps_what_is_whole_and_says_so(tmp_path: Path) -> None:
    content = tar({"a.jsonl": LINES, "b.txt": b"b" * 700, "c.txt": b"c"})
    path = tmp_path / "a.tar"
    path.write_bytes(content)
    assert ids(path) == ([*NAMES, "a.tar/b.txt", "a.tar/c.txt"], {})
    for n in [*range(600, len(content) - 9728 + 512, 256)]:
        path.write_bytes(content[:n])
        found, counts = ids(path)
        if content[n:].strip(b"\0"):
            assert counts.keys() == {"damaged_file"}, n
            assert found == [*NAMES, "a.tar/b.txt", "a.tar/c.txt"][: len(found)]


def test_a_broken_header_is_no_silent_end(tmp_path: Path) -> None:
    content = bytearray(tar({"a.txt": b"a", "b.txt": b"b"}))
    content[1024 + 5] ^= 0xFF
    (tmp_path / "a.tar").write_bytes(content)
    assert ids(tmp_path) == (["a.tar/a.txt"], {"damaged_file": 1})


def test_a_header_that_claims_gigabytes_is_not_believed(tmp_path: Path) -> None:
    buffer = io.BytesIO(tar({"a.txt": b"a"})[:1024])
    buffer.seek(0, io.SEEK_END)
    long_name = tarfile.TarInfo("././@LongLink")
    long_name.type, long_name.size = tarfile.GNUTYPE_LONGNAME, 3 << 30
    buffer.write(long_name.tobuf(tarfile.GNU_FORMAT))
    packed = PACKS["zstd"](buffer.getvalue() + bytes(200 << 20))
    (tmp_path / "a.tar.zst").write_bytes(packed)
    tracemalloc.start()
    assert ids(tmp_path) == (["a.tar.zst/a.txt"], {"damaged_file": 1})
    assert tracemalloc.get_traced_memory()[1] < 200 << 20
    tracemalloc.stop()


def test_an_archive_in_an_archive_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(tar({"b.tar.gz": gzip.compress(tar(MEMBERS)), "c.zip": zipped(MEMBERS)}))
    assert ids(tmp_path) == ([], {"unsupported_format (nested archive)": 2})


def test_a_damaged_zip_member_costs_itself_alone(tmp_path: Path) -> None:
    content = bytearray(zipped({"a.txt": b"a" * 500, "b.txt": b"b words", "c.txt": b"c"}))
    content[content.index(b"b.txt") + 6] ^= 0xFF
    (tmp_path / "a.zip").write_bytes(content)
    assert ids(tmp_path) == (["a.zip/a.txt", "a.zip/c.txt"], {"damaged_file": 1})
    (tmp_path / "a.zip").write_bytes(content[:-30])
    assert ids(tmp_path) == ([], {"damaged_file": 1})


def test_an_encrypted_zip_member_is_rejected_as_that(tmp_path: Path) -> None:
    content = bytearray(zipped({"a.txt": b"words", "b.txt": b"more"}))
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(mark) + offset] |= 1
    (tmp_path / "a.zip").write_bytes(content)
    assert ids(tmp_path) == (["a.zip/b.txt"], {"encrypted_file": 1})


def test_a_sparse_member_is_rejected_unread(tmp_path: Path) -> None:
    member = tarfile.TarInfo("a.jsonl")
    member.size = 512
    sparse = {"major": "0", "minor": "1", "map": "0,512", "size": str(1 << 50), "name": "a.jsonl"}
    member.pax_headers = {f"GNU.sparse.{key}": value for key, value in sparse.items()}
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(member, io.BytesIO(json_line(0).ljust(512)))
        last = tarfile.TarInfo("b.jsonl")
        last.size = len(json_line(1))
        tar.addfile(last, io.BytesIO(json_line(1)))
    assert ids(tmp_path) == (["r1"], {"unsupported_format (sparse file)": 1})


def test_a_zip_bomb_is_rejected_in_little_memory(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("a.txt", "b.jsonl"):
            archive.writestr(name, b"x" * (80 << 20))
    assert ids(tmp_path) == ([], {"record_too_large": 2})


def test_office_files_are_no_archives_of_documents(tmp_path: Path) -> None:
    (tmp_path / "a.docx").write_bytes(zipped({"word/document.xml": b"<w:t>words</w:t>"}))
    assert ids(tmp_path) == ([], {"unsupported_format (binary)": 1})


def test_wikimedia_enterprise_pages_are_read_from_their_html_or_wikitext(tmp_path: Path) -> None:
    pytest.importorskip("resiliparse")
    html = (
        "<html><head><title>x</title></head><body><section><p>Ada <b>Lovelace</b> wrote programs.</p></section></body>"
    )
    pages = [
        {
            "name": "Ada Lovelace", "identifier": 974, "url": "https://en.wikipedia.org/wiki/Ada_Lovelace",
            "date_modified": "2022-01-01T00:00:00Z", "license": [{"identifier": "CC-BY-SA-3.0"}],
            "article_body": {"html": html, "wikitext": "'''Ada''' other"},
        },
        {"name": "Nothing", "identifier": 975, "url": "https://en.wikipedia.org/wiki/Nothing", "article_body": {}},
    ]  # fmt: skip
    content = b"".join(json.dumps(page).encode() + b"\n" for page in pages)
    name = "enwiki-NS0-20220101-ENTERPRISE-HTML.json.tar.gz"
    (tmp_path / name).write_bytes(gzip.compress(tar({"enwiki_0.ndjson": content})))
    documents, rejects = read(tmp_path)
    (document,) = documents
    assert (document.id, document.title, document.url) == ("974", "Ada Lovelace", pages[0]["url"])
    assert document.text.strip() == "Ada Lovelace wrote programs."
    assert document.meta == {"date_modified": "2022-01-01T00:00:00Z", "license": [{"identifier": "CC-BY-SA-3.0"}]}
    assert rejects.counts == {"no_text": 1}

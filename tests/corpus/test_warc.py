"""A WARC file that ends too early is never taken for a whole one."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from reread.corpus import Rejects, read_documents
from reread.corpus.warc import warc_records
from reread.errors import CorpusError

pytest.importorskip("fastwarc")

Pack = Callable[[bytes], bytes]


def record(number: int, body: bytes, kind: str = "conversion", content_type: str = "text/plain") -> bytes:
    head = (
        f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Record-ID: <urn:uuid:{number}>\r\n"
        f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body + b"\r\n\r\n"


def response(number: int, body: bytes, *, encoding: str = "") -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Encoding: {encoding}\r\n\r\n"
    return record(number, head.encode() + body, "response", "application/http; msgtype=response")


def words(number: int) -> bytes:
    return f"words of record {number} ".encode() * 20


def read(path: Path) -> tuple[list[str], dict[str, int]]:
    rejects = Rejects()
    documents = list(read_documents([str(path)], rejects=rejects))
    return [document.text.split()[3] for document in documents], dict(rejects.counts)


LAST_RECORDS = {
    "conversion": record(2, words(2)),
    "metadata": record(2, words(2), "metadata"),
    "response": response(2, words(2)),
}


@pytest.mark.parametrize("kind", LAST_RECORDS)
@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress], ids=["gzip", "zstd"])
def test_a_cut_anywhere_in_the_last_frame_is_one_damaged_file(tmp_path: Path, kind: str, pack: Pack) -> None:
    path = tmp_path / "a.warc.x"
    whole = [pack(record(0, words(0))), pack(record(1, words(1))), pack(LAST_RECORDS[kind])]
    for cut in range(1, len(whole[2])):
        path.write_bytes(whole[0] + whole[1] + whole[2][:cut])
        texts, counts = read(path)
        assert counts == {"damaged_file": 1} and texts[:2] == ["0", "1"], cut
        # The last text is read only where all of it is there.
        assert texts[2:] in ([], ["2"])
    path.write_bytes(b"".join(whole))
    assert read(path)[1] == {}


@pytest.mark.parametrize("kind", LAST_RECORDS)
def test_a_cut_anywhere_in_an_uncompressed_last_record_is_one_damaged_file(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.warc"
    before, last = record(0, words(0)) + record(1, words(1)), LAST_RECORDS[kind]
    for cut in range(1, len(last) - len(b"\r\n\r\n")):
        path.write_bytes(before + last[:cut])
        assert read(path) == (["0", "1"], {"damaged_file": 1}), cut
    path.write_bytes(before + last)
    assert read(path)[1] == {}


def test_a_cut_file_compressed_as_one_gives_its_whole_records_and_one_reject(tmp_path: Path) -> None:
    path = tmp_path / "a.warc.gz"
    content = gzip.compress(b"".join(record(n, words(n)) for n in range(9)))
    for cut in range(60, len(content), 7):
        path.write_bytes(content[:cut])
        rejects = Rejects()
        records = [value for _, value in warc_records(path, "a", rejects)]
        whole = [value for value in records if isinstance(value, dict)]
        n_cut = len(records) - len(whole)
        assert n_cut + rejects.counts["damaged_file"] == n_cut + rejects.total == 1, cut
        assert all(value["text"].encode() == words(n) for n, value in enumerate(whole))


def test_a_corpus_of_one_cut_page_is_refused_for_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "a.warc").write_bytes(record(0, words(0))[:-20])
    with pytest.raises(CorpusError, match=r"1 × damaged_file\); a damaged file must be copied or fetched again"):
        read(tmp_path / "a.warc")


def test_a_page_whose_compressed_body_breaks_off_is_damaged_and_the_next_is_read(tmp_path: Path) -> None:
    body = gzip.compress(words(0))
    (tmp_path / "a.warc").write_bytes(
        response(0, body[:-2], encoding="gzip") + response(1, gzip.compress(words(1)), encoding="gzip")
    )
    assert read(tmp_path / "a.warc") == (["1"], {"damaged_file": 1})


def test_a_header_that_names_a_compression_already_undone_is_no_damage(tmp_path: Path) -> None:
    (tmp_path / "a.warc").write_bytes(response(0, words(0), encoding="gzip"))
    assert read(tmp_path / "a.warc") == (["0"], {})


@pytest.mark.realdata
def test_a_real_crawl_file_that_was_cut_keeps_its_whole_pages(realdata: Path, tmp_path: Path) -> None:
    source = realdata / "formats" / "resiliparse" / "warcfile.warc.gz"
    (tmp_path / "cut.warc.gz").write_bytes(source.read_bytes()[:60_000])
    rejects, rejects_of_whole = Rejects(), Rejects()
    cut = list(read_documents([str(tmp_path / "cut.warc.gz")], rejects=rejects))
    whole = list(read_documents([str(source)], rejects=rejects_of_whole))
    assert "damaged_file" not in rejects_of_whole.counts and rejects.counts["damaged_file"] == 1
    assert 0 < len(cut) < len(whole)
    assert [document.text for document in cut] == [document.text for document in whole[: len(cut)]]


@pytest.mark.realdata
def test_a_real_file_that_breaks_off_is_counted(realdata: Path) -> None:
    name = "resiliparse/clipped.warc.gz"
    rejects = Rejects()
    records = [value for _, value in warc_records(realdata / "formats" / name, name, rejects)]
    assert not [value for value in records if isinstance(value, dict)]
    assert [value.reason for value in records] == ["damaged_file"] and rejects.total == 0


@pytest.mark.realdata
def test_a_real_page_whose_length_is_two_bytes_short_is_read_whole(realdata: Path) -> None:
    # Its gzip body is whole only with the bytes beyond the stated length: the checksum says so.
    (document,) = read_documents([str(realdata / "formats" / "warcio" / "example-trunc.warc")], rejects=Rejects())
    assert document.title == "Example Domain" and document.text.endswith("More information...")


@pytest.mark.realdata
def test_real_files_in_order_have_no_damage(realdata: Path) -> None:
    damaged = {"clipped.warc.gz", "corrupted-mid-record.warc.gz"}
    paths = [path for path in sorted((realdata / "formats").rglob("*.warc*")) if path.name not in damaged]
    assert len(paths) > 10
    for path in paths:
        rejects = Rejects()
        records = [value for _, value in warc_records(path, path.name, rejects)]
        assert not [value for value in records if getattr(value, "reason", "") == "damaged_file"], path
        assert not rejects.counts["damaged_file"], path

"""ARC files of both versions, whole and damaged."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from corpus_files import check_every_position, read

from reread.corpus import Rejects, read_documents

pytest.importorskip("resiliparse")

ABOUT = b"1 0 Example\nURL IP-address Archive-date Content-type Archive-length\n"
ABOUT_V2 = (
    b"2 0 Example\nURL IP-address Archive-date Content-type Result-code Checksum Location Offset Filename "
    b"Archive-length\n"
)


def page(number: int) -> bytes:
    body = f"<html><head><title>Page {number}</title></head><body><p>Words of page {number}.</p></body></html>"
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n" + body.encode()


def record(url: str, payload: bytes, kind: str = "text/html", version: int = 1) -> bytes:
    more = " 200 abc - 17 a.arc" if version == 2 else ""
    return f"{url} 192.0.2.1 20140216050221 {kind}{more} {len(payload)}\n".encode() + payload + b"\n"


def records(version: int = 1) -> list[bytes]:
    about = ABOUT_V2 if version == 2 else ABOUT
    pages = [record(f"http://example.com/{n} x", page(n), version=version) for n in range(5)]
    return [record("filedesc://a.arc", about, "text/plain", version), *pages]


def titles(path: Path) -> tuple[list[str], dict[str, int]]:
    documents, rejects = read(path)
    return [document.title for document in documents], dict(rejects.counts)


ALL = [f"Page {n}" for n in range(5)]


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("layout", ["plain", "gzip a record", "gzip in one"])
def test_every_page_is_read_and_the_files_own_record_is_none(tmp_path: Path, version: int, layout: str) -> None:
    parts = records(version)
    whole = b"".join(gzip.compress(part) for part in parts) if layout == "gzip a record" else b"".join(parts)
    (tmp_path / "a.arc.gz").write_bytes(gzip.compress(whole) if layout == "gzip in one" else whole)
    assert titles(tmp_path) == (ALL, {})
    (document, *_) = read(tmp_path)[0]
    assert document.id == "http://example.com/0 x 20140216050221" and document.url == "http://example.com/0 x"
    assert document.text.strip() == "Words of page 0." and document.meta == {"date": "20140216050221"}
    assert check_every_position(tmp_path) == 5


def test_other_answers_than_pages_are_rejected_with_their_reason(tmp_path: Path) -> None:
    moved = b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n"
    picture = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n\r\n\x89PNG"
    parts = [
        *records()[:2],
        record("dns:example.com", b"20140216\nexample.com. 10 IN A 192.0.2.1", "text/dns"),
        record("http://example.com/moved", moved),
        record("http://example.com/picture", picture, "image/png"),
        record("http://example.com/empty", b"HTTP/1.1 200 OK\r\n\r\n"),
    ]
    (tmp_path / "a.arc").write_bytes(b"".join(parts))
    assert titles(tmp_path) == (["Page 0"], {"not_text": 2, "http_status_302": 1, "empty_text": 1})


@pytest.mark.parametrize("error", [-40, -3, 5, 200])
def test_a_wrong_length_costs_no_record(tmp_path: Path, error: int) -> None:
    parts = records()
    n = len(page(2))
    parts[3] = parts[3].replace(b" %d\n" % n, b" %d\n" % (n + error))
    (tmp_path / "a.arc").write_bytes(b"".join(parts))
    assert titles(tmp_path) == (ALL, {})


def test_a_damaged_record_costs_itself_alone(tmp_path: Path) -> None:
    frames = [gzip.compress(part) for part in records()]
    frames[2] = frames[2][:40] + b"\xff\xff\xff" + frames[2][43:]
    (tmp_path / "a.arc.gz").write_bytes(b"".join(frames))
    assert titles(tmp_path) == ([title for title in ALL if title != "Page 1"], {"damaged_file": 1})
    parts = records()
    parts[2] = parts[2].replace(b"192.0.2.1 2014", b"???")
    (tmp_path / "a.arc.gz").write_bytes(b"".join(parts))
    # Its line is no longer one, so that its bytes belong to the record before, or to none.
    found, counts = titles(tmp_path)
    assert found[0] == "Page 0" and found[-3:] == ALL[2:] and sum(counts.values()) + len(found) >= 4


def test_a_file_that_breaks_off_keeps_its_whole_records(tmp_path: Path) -> None:
    parts = records()
    before = b"".join(parts[:-1])
    for cut in range(1, len(parts[-1]) - 1, 3):
        (tmp_path / "a.arc").write_bytes(before + parts[-1][:cut])
        assert titles(tmp_path) == (ALL[:-1], {"damaged_file": 1}), cut


@pytest.mark.realdata
def test_a_real_arc_file_is_read(realdata: Path) -> None:
    path = realdata / "formats" / "warcio" / "example.arc.gz"
    (document,) = read_documents([str(path)], rejects=Rejects())
    assert document.title == "Example Domain" and document.url == "http://example.com/"
    assert "illustrative examples" in document.text

"""A WARC file that ends too early is never taken for a whole one."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from corpus_files import PACKS, check_every_position
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reread.corpus import Rejects, read_documents
from reread.corpus.formats.warc import warc_records
from reread.corpus.web.http_body import page_fields, parse_headers
from reread.errors import CorpusError

pytest.importorskip("resiliparse")

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
    # Every cut of the header's lines and the last bytes, some between.
    n = len(last) - len(b"\r\n\r\n")
    for cut in sorted({*range(1, 60), *range(60, n, 7), *range(n - 8, n)}):
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


# Damage in the middle, and lengths that are wrong.


def page_numbers(path: Path) -> tuple[list[int], dict[str, int]]:
    texts, counts = read(path)
    return [int(text) for text in texts], counts


@pytest.mark.parametrize("codec", ["gzip", "zstd", "lz4"])
def test_a_damaged_frame_costs_its_own_record_alone_wherever_the_damage_is(tmp_path: Path, codec: str) -> None:
    path = tmp_path / "a.warc.x"
    frames = [PACKS[codec](response(n, words(n))) for n in range(6)]
    for at in range(11 if codec == "gzip" else 4, len(frames[2]), 5):
        broken = bytearray(frames[2])
        broken[at] ^= 0x2A
        path.write_bytes(b"".join([*frames[:2], bytes(broken), *frames[3:]]))
        assert page_numbers(path) == ([0, 1, 3, 4, 5], {"damaged_file": 1}), at
    path.write_bytes(b"".join([*frames[:2], frames[2][:50], *frames[3:]]))
    assert page_numbers(path) == ([0, 1, 3, 4, 5], {"damaged_file": 1})


def test_damage_in_a_frame_that_holds_no_document_is_counted_and_costs_none(tmp_path: Path) -> None:
    frames = [gzip.compress(record(n, words(n), "conversion" if n != 2 else "metadata")) for n in range(5)]
    frames[2] = frames[2][:30] + b"\x00\x00" + frames[2][32:]
    (tmp_path / "a.warc.gz").write_bytes(b"".join(frames))
    assert page_numbers(tmp_path / "a.warc.gz") == ([0, 1, 3, 4], {"damaged_file": 1})


@pytest.mark.parametrize("pack", [None, *PACKS])
@pytest.mark.parametrize("error", [-300, -40, -2, -1, 1, 2, 3, 4, 5, 90, 700])
def test_a_wrong_length_costs_no_record(tmp_path: Path, pack: str | None, error: int) -> None:
    body = words(2)
    wrong = record(2, body).replace(b"Length: %d" % len(body), b"Length: %d" % (len(body) + error))
    parts = [record(0, words(0)), record(1, words(1)), wrong, record(3, words(3)), record(4, words(4))]
    (tmp_path / "a.warc").write_bytes(b"".join(PACKS[pack](part) if pack else part for part in parts))
    rejects = Rejects()
    documents = list(read_documents([str(tmp_path / "a.warc")], rejects=rejects))
    assert rejects.total == 0
    # Up to four bytes too many are the line ends behind the record.
    assert [document.text.strip().encode() for document in documents] == [words(n).strip() for n in range(5)]


def test_lengths_that_are_wrong_again_and_again_are_believed_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reread.corpus.formats.warc.MAX_PUT_BACK_BYTES", 5000)
    right = b"Length: %d" % len(words(5))
    parts = [record(n, words(n)).replace(right, b"Length: 4000") for n in range(9)]
    (tmp_path / "a.warc").write_bytes(b"".join([*parts, record(9, words(9))]))
    assert read(tmp_path / "a.warc") == ([str(n) for n in range(10)], {})


@pytest.mark.parametrize("charset", ["idna", "punycode", "undefined", "unicode_escape", "hex", "no-such"])
def test_a_charset_that_no_page_is_written_in_is_none(charset: str) -> None:
    payload = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=%b\r\n\r\ncaf\xc3\xa9" % charset.encode()
    assert page_fields(payload, "", {}) == {"text": "café"}


def test_a_header_of_many_lines_is_read_once() -> None:
    lines = [b"name: a\r\n", *[b" b\r\n"] * 1_000_000]
    assert parse_headers(lines) == {"name": "a" + " b" * 1_000_000}


def test_a_damaged_header_costs_its_own_record_alone(tmp_path: Path) -> None:
    parts = [record(n, words(n)) for n in range(4)]
    for bad in (
        parts[1].replace(b"WARC/1.0", b"XARC/1.0"),
        parts[1].replace(b"Content-Length", b"Content-Lxngth"),
        parts[1][:40],
        parts[1].replace(b"Length: ", b"Length: x"),
    ):
        (tmp_path / "a.warc").write_bytes(b"".join([parts[0], bad, *parts[2:]]))
        numbers, counts = page_numbers(tmp_path / "a.warc")
        assert numbers[0] == 0 and numbers[-2:] == [2, 3] and 1 not in numbers[1:-2], bad[:60]
        assert counts in ({"damaged_file": 1}, {}), bad[:60]


def test_a_page_that_quotes_a_record_is_one_page(tmp_path: Path) -> None:
    quoted = b"words of record 7 and then\r\n\r\n" + record(9, words(9))
    (tmp_path / "a.warc").write_bytes(record(0, words(0)) + record(7, quoted) + record(1, words(1)))
    assert page_numbers(tmp_path / "a.warc") == ([0, 7, 1], {})


def test_reading_goes_on_exactly_behind_any_record_of_a_damaged_file(tmp_path: Path) -> None:
    frames = [gzip.compress(response(n, words(n) if n % 3 else b"")) for n in range(12)]
    frames[4] = frames[4][:40] + b"\xff" + frames[4][41:]
    frames[7] = frames[7][:50]
    (tmp_path / "a.warc.gz").write_bytes(b"".join(frames)[:-5])
    assert check_every_position(tmp_path) >= 5


@pytest.mark.parametrize("encoding", ["br", "zstd", "deflate", "gzip"])
def test_bodies_are_read_whatever_compresses_them(tmp_path: Path, encoding: str) -> None:
    raw = zlib.compressobj(wbits=-15)
    packed = {
        "br": lambda: pytest.importorskip("brotli").compress(words(0)),
        "zstd": lambda: zstandard.compress(words(0)),
        "deflate": lambda: raw.compress(words(0)) + raw.flush(),
        "gzip": lambda: gzip.compress(words(0)),
    }[encoding]()
    (tmp_path / "a.warc").write_bytes(
        response(0, packed, encoding=encoding) + response(1, packed[:-4], encoding=encoding)
    )
    assert page_numbers(tmp_path / "a.warc") == ([0], {"damaged_file": 1})


def test_a_body_that_unfolds_without_end_is_rejected(tmp_path: Path) -> None:
    bomb = gzip.compress(bytes(70 << 20))
    (tmp_path / "a.warc").write_bytes(response(0, bomb, encoding="gzip") + response(1, words(1)))
    assert page_numbers(tmp_path / "a.warc") == ([1], {"record_too_large": 1})


def test_a_file_with_a_shared_zstd_dictionary_is_read(tmp_path: Path) -> None:
    parts = [response(n, words(n)) for n in range(300)]
    dictionary = zstandard.train_dictionary(4000, parts)
    compressor = zstandard.ZstdCompressor(dict_data=dictionary)
    front = b"\x5d\x2a\x4d\x18" + len(dictionary.as_bytes()).to_bytes(4, "little") + dictionary.as_bytes()
    (tmp_path / "a.warc.zst").write_bytes(front + b"".join(compressor.compress(part) for part in parts))
    assert page_numbers(tmp_path / "a.warc.zst") == (list(range(300)), {})


BODY = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), min_size=1, max_size=300)


@given(bodies=st.lists(BODY, min_size=1, max_size=8), codec=st.sampled_from([None, "gzip", "zstd", "lz4"]))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whole_files_give_what_fastwarc_gives(tmp_path: Path, bodies: list[str], codec: str | None) -> None:
    fastwarc = pytest.importorskip("fastwarc.warc")
    parts = [response(n, body.encode()) for n, body in enumerate(bodies)]
    path = tmp_path / "a.warc"
    path.write_bytes(b"".join(PACKS[codec](part) if codec else part for part in parts))
    with path.open("rb") as file:
        theirs = [record.reader.read() for record in fastwarc.ArchiveIterator(file)]
    rejects = Rejects()
    ours = [value for _, value in warc_records(path, "a", rejects)]
    assert rejects.total == 0 and len(ours) == len(theirs) == len(bodies)
    for mine, body in zip(ours, theirs, strict=True):
        assert mine["text"].encode() == body if isinstance(mine, dict) else (not body.strip() or body[:1] == b"<")

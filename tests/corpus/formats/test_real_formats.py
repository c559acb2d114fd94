"""Every real file of every format: what is read of it and what is not, to the record."""

from __future__ import annotations

from pathlib import Path

import pytest
from corpus_files import check_every_position, read

pytest.importorskip("resiliparse")

COUNTS: dict[str, tuple[int, dict[str, int]]] = {
    "anserini/fineweb_alternative_fields.parquet": (2, {}),
    "anserini/fineweb_no_id.parquet": (3, {}),
    "anserini/fineweb_standard.parquet": (3, {}),
    "anserini/segment1.warc.wet.gz": (1, {}),
    "dolma/cc_en_head-0091.jsonl.gz": (10, {}),
    "dolma/documents-000.json.gz": (10, {}),
    "dolma/sample-0000.warc.gz": (24, {}),
    "dolma/sample-0001.warc.gz": (17, {}),
    # Eleven of its pages repeat; behind the twelfth come 34 bytes that are no gzip member.
    "gowarc/corrupted-mid-record.warc.gz": (12, {"damaged_file": 1}),
    "gowarc/test.warc.gz": (0, {"not_text": 1}),
    "ia-web-commons/IAH-urls-wget.warc.gz": (6, {"http_status_302": 7, "http_status_301": 2, "not_text": 4}),
    "ia-web-commons/text-extraction-test.warc": (1, {"not_text": 1}),
    "jwarc/cc.warc.gz": (1, {}),
    "lm_dataformat/1.zst": (4, {}),
    "lm_dataformat/2.zst": (4, {}),
    "parquet-testing/data_index_bloom_encoding_stats.parquet": (14, {}),
    # Customers: several columns of text, of which none is meant (names, an e-mail address, ...).
    "parquet-testing/delta_byte_array.parquet": (0, {"no_text_column": 1}),
    "resiliparse/clipped.warc.gz": (0, {"damaged_file": 1}),
    "resiliparse/clueweb-quirk.warc.gz": (29, {}),
    "resiliparse/warcfile.warc.gz": (16, {}),
    "resiliparse/warcfile.warc.lz4": (16, {}),
    "warcio/example-bad-non-chunked.warc.gz": (1, {}),
    "warcio/example-iana.org-chunked.warc": (1, {}),
    # Its Content-Length is two bytes short; the next record's first line tells the true end.
    "warcio/example-trunc.warc": (1, {}),
    "warcio/example-wrong-chunks.warc.gz": (1, {}),
    "warcio/example.arc.gz": (1, {}),
    "warcio/example.warc.gz": (1, {}),
}


@pytest.mark.realdata
def test_every_real_file_has_its_counts_here(realdata: Path) -> None:
    folder = realdata / "formats"
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == set(COUNTS)


@pytest.mark.realdata
@pytest.mark.parametrize("name", COUNTS)
def test_the_documents_and_rejects_of_a_real_file_are_exactly_these(realdata: Path, name: str) -> None:
    documents, rejects = read(realdata / "formats" / name)
    assert (len(documents), dict(rejects.counts)) == COUNTS[name]
    assert all(document.text.strip() for document in documents)


@pytest.mark.realdata
def test_the_customers_can_be_read_by_naming_a_column(realdata: Path) -> None:
    path = realdata / "formats" / "parquet-testing" / "delta_byte_array.parquet"
    documents, rejects = read(path, text_field="c_last_name")
    assert len(documents) + rejects.total == 1000 and len(documents) > 900


@pytest.mark.realdata
def test_lz4_and_gzip_of_one_crawl_hold_the_same_pages(realdata: Path) -> None:
    one, other = (read(realdata / "formats" / "resiliparse" / f"warcfile.warc.{end}")[0] for end in ("gz", "lz4"))
    assert [(d.id, d.title, d.text, d.url) for d in one] == [(d.id, d.title, d.text, d.url) for d in other]


@pytest.mark.realdata
@pytest.mark.parametrize("folder", ["gowarc", "ia-web-commons", "warcio", "anserini", "lm_dataformat"])
def test_reading_goes_on_exactly_behind_any_real_record(realdata: Path, folder: str) -> None:
    assert check_every_position(realdata / "formats" / folder) == sum(
        n for name, (n, _) in COUNTS.items() if name.startswith(f"{folder}/")
    )

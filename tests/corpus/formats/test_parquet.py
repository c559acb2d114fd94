"""Parquet of every text type, damaged row groups, huge ones, encrypted ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpus_files import check_every_position, ids, read

from reread.corpus import Rejects, read_documents

WORDS = ["one text", "another", "naïve café"]


@pytest.mark.parametrize(
    "column",
    [
        pa.array(WORDS, pa.string()),
        pa.array(WORDS, pa.large_string()),
        pa.array(WORDS, pa.string_view()),
        pa.array([word.encode() for word in WORDS], pa.binary()),
        pa.array([word.encode() for word in WORDS], pa.large_binary()),
        pa.array(WORDS).dictionary_encode(),
        pa.array([[word] for word in WORDS], pa.list_(pa.string())),
        pa.array([[word] for word in WORDS], pa.large_list(pa.large_string())),
    ],
    ids=lambda column: str(column.type),
)
@pytest.mark.parametrize("name", ["text", "Passage_Body"])
def test_text_is_read_from_a_column_of_any_text_type(tmp_path: Path, column: Any, name: str) -> None:
    pq.write_table(pa.table({"n": [1, 2, 3], name: column}), tmp_path / "a.parquet")
    documents, rejects = read(tmp_path)
    assert [document.text for document in documents] == WORDS and rejects.total == 0
    assert [dict(document.meta) for document in documents] == [{"n": 1}, {"n": 2}, {"n": 3}]


def test_a_column_with_a_usual_name_wins_over_others_of_text(tmp_path: Path) -> None:
    table = pa.table({"html": ["<p>"], "content": ["the text"], "text": [7], "body": [b"bytes"]})
    pq.write_table(table, tmp_path / "a.parquet")
    assert [document.text for document in read(tmp_path)[0]] == ["the text"]


def test_the_text_column_may_be_named(tmp_path: Path) -> None:
    rows = [{"text": "a", "first": "b", "deep": {"inner": "c"}}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    for field, text in (("first", "b"), ("deep.inner", "c"), ("text", "a")):
        (document,) = read(tmp_path, text_field=field)[0]
        assert document.text == text
    documents, rejects = read(tmp_path, text_field="missing")
    assert documents == [] and rejects.counts == {"no_text": 1}


def test_a_value_that_is_not_utf8_costs_its_row_alone(tmp_path: Path) -> None:
    table = pa.table({"id": ["a", "b", "c"], "text": [b"one", b"\xff\xfe", b"three"]})
    pq.write_table(table, tmp_path / "binary.parquet")
    fake = pa.table(
        {"id": table["id"], "text": pa.array([b"one", b"\xff\xfe", b"three"], pa.binary()).view(pa.string())}
    )
    pq.write_table(fake, tmp_path / "string.parquet")
    assert ids(tmp_path) == (["a", "c"] * 2, {"not_utf8": 2})


def test_a_date_that_python_cannot_hold_is_left_out_of_its_row(tmp_path: Path) -> None:
    when = pa.array([0, 1 << 60], pa.timestamp("us"))
    pq.write_table(pa.table({"text": ["a", "b"], "when": when}), tmp_path / "a.parquet")
    first, second = read(tmp_path)[0]
    assert first.meta == {"when": "1970-01-01T00:00:00"} and second.meta == {}


def write_groups(path: Path) -> list[int]:
    """Five groups of 300 rows; returns the place in the file where each begins."""
    table = pa.table({"id": [f"r{n}" for n in range(1500)], "text": [f"{n} " * (n % 40 + 5) for n in range(1500)]})
    pq.write_table(table, path, row_group_size=300, use_dictionary=False, data_page_size=2000, compression="zstd")
    metadata = pq.ParquetFile(path).metadata
    return [metadata.row_group(n).column(1).data_page_offset for n in range(5)]


def test_a_damaged_row_group_is_one_reject_and_the_others_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    places = write_groups(path)
    content = bytearray(path.read_bytes())
    for group in (1, 3):
        content[places[group] : places[group] + 400] = b"\xa5" * 400
    path.write_bytes(content)
    found, counts = ids(path)
    assert counts == {"damaged_file": 2}
    for group in (0, 2, 4):
        assert {f"r{n}" for n in range(group * 300, group * 300 + 300)} <= set(found)
    assert len(found) < 1500 and len(set(found)) == len(found)


def test_reading_goes_on_exactly_behind_any_row_of_a_damaged_file(tmp_path: Path) -> None:
    table = pa.table({"text": [f"t{n}" for n in range(40)]})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=10, use_dictionary=False)
    content = bytearray((tmp_path / "a.parquet").read_bytes())
    place = pq.ParquetFile(tmp_path / "a.parquet").metadata.row_group(1).column(0).data_page_offset
    content[place : place + 30] = b"\xa5" * 30
    (tmp_path / "a.parquet").write_bytes(content)
    assert check_every_position(tmp_path) == 30


@pytest.mark.parametrize("n_left", [4, 8, 300, -1, -9])
def test_a_cut_file_is_one_reject(tmp_path: Path, n_left: int) -> None:
    write_groups(tmp_path / "a.parquet")
    (tmp_path / "a.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:n_left])
    assert ids(tmp_path) == ([], {"damaged_file": 1})


def test_no_rows_are_no_fault(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), tmp_path / "a.parquet")
    assert ids(tmp_path) == ([], {})


def test_encrypted_files_are_rejected_as_that(tmp_path: Path) -> None:
    pe = pytest.importorskip("pyarrow.parquet.encryption")

    class Keys(pe.KmsClient):  # type: ignore[misc,name-defined]
        def __init__(self, _: Any) -> None:
            super().__init__()

        def wrap_key(self, key: bytes, _: str) -> bytes:
            return key.hex().encode()

        def unwrap_key(self, key: bytes, _: str) -> bytes:
            return bytes.fromhex(key.decode())

    factory = pe.CryptoFactory(Keys)
    for name, plaintext_footer in (("footer", False), ("columns", True)):
        settings = pe.EncryptionConfiguration(
            footer_key="f", column_keys={"c": ["text"]}, plaintext_footer=plaintext_footer
        )
        properties = factory.file_encryption_properties(pe.KmsConnectionConfig(), settings)
        table = pa.table({"text": ["secret words"]})
        with pq.ParquetWriter(tmp_path / f"{name}.parquet", table.schema, encryption_properties=properties) as writer:
            writer.write_table(table)
    found, counts = ids(tmp_path)
    assert found == [] and counts == {"encrypted_file": 1, "unsupported_format (encrypted parquet)": 1}


def test_a_huge_row_group_is_read_in_little_memory(tmp_path: Path) -> None:
    # 80 MB of text in one group, in pages of 1 MB.
    table = pa.table({"text": ["x" * 4095 + chr(97 + n % 26) for n in range(20_000)]})
    pq.write_table(table, tmp_path / "a.parquet", use_dictionary=False, compression="zstd", row_group_size=10**9)
    del table
    before = pa.total_allocated_bytes()
    peak = n = 0
    for _ in read_documents([str(tmp_path)], rejects=Rejects()):
        n += 1
        if n % 100 == 0:
            peak = max(peak, pa.total_allocated_bytes() - before)
    assert n == 20_000 and 0 < peak < 16 << 20

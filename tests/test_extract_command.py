"""`reread extract`: what it writes, that it resumes, that workers do not matter, pages by their URLs."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from reread.cli import run
from reread.corpus import extract as extract_module
from reread.corpus.extract import extract_corpus

PAGE = (
    '<html><head><title>{title} - Wiki</title><link rel="canonical" href="https://wiki.test/{title}"></head><body>'
    '<h1>{title}</h1><div class="mw-parser-output"><table class="infobox"><tr><th>River</th><td>Odra</td></tr></table>'
    "<p>{title} is a mill.</p></div></body></html>"
)


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    folder = tmp_path / "pages"
    folder.mkdir()
    for name in ("Alfa", "Beta", "Gamma"):
        (folder / f"{name}.html").write_text(PAGE.format(title=name), encoding="utf-8")
    records = [{"id": f"r{n}", "html": PAGE.format(title=f"T{n}"), "licence": "CC0"} for n in range(7)]
    (folder / "records.jsonl").write_text("".join(json.dumps(r) + "\n" for r in [*records, {"id": "x"}]), "utf-8")
    return folder


def written(out: Path) -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for path in sorted(out.glob("**/*.jsonl.gz"))
        for line in gzip.open(path, "rt", encoding="utf-8")
    ]


def files_of(out: Path) -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def test_pages_become_records_that_a_build_reads(
    pages: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(["extract", str(pages), "--out", str(out), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["n_documents"] == 10
    assert report["rejects"] == {"no_text": 1}
    record = next(r for r in written(out) if r["id"] == "r3")
    assert record["title"] == "T3"
    assert record["licence"] == "CC0"
    assert record["source"] == "records.jsonl"
    assert record["text"] == "| River | Odra |\n\nT3 is a mill."
    assert run(["build", str(out), "--store", str(tmp_path / "store"), "--json"]) == 0
    built = json.loads(capsys.readouterr().out)
    assert built["n_documents"] == 10
    assert not built["rejects"]


def test_any_number_of_workers_writes_the_same_bytes(pages: Path, tmp_path: Path) -> None:
    extract_corpus([str(pages)], tmp_path / "one")
    extract_corpus([str(pages)], tmp_path / "two", workers=2)
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")


def test_a_stopped_extraction_goes_on_and_ends_with_the_same_bytes(
    pages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extract_module, "SHARD_DOCUMENTS", 2)
    monkeypatch.setattr("reread.corpus.workers.POLL_SECONDS", 0)
    extract_corpus([str(pages)], tmp_path / "whole")

    def stop(done: int, _: int | None) -> None:
        if done == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract_corpus([str(pages)], tmp_path / "stopped", progress=stop)
    finished = {name: data for name, data in files_of(tmp_path / "stopped").items() if name.endswith(".gz")}
    assert 3 <= len(finished) < 7
    # What kill -9 leaves behind: a part of the next file.
    (tmp_path / "stopped" / ".records-00002.jsonl.gz.1234.part").write_bytes(b"half")
    extract_corpus([str(pages)], tmp_path / "stopped")
    assert files_of(tmp_path / "stopped") == files_of(tmp_path / "whole")


def test_pages_are_found_by_their_urls_in_the_order_asked_for(pages: Path, tmp_path: Path) -> None:
    urls = tmp_path / "urls.txt"
    urls.write_text("https://wiki.test/Gamma\nhttps://wiki.test/Nowhere\nhttps://wiki.test/Alfa\n")
    out = tmp_path / "out"
    assert run(["extract", str(pages), "--urls", str(urls), "--out", str(out)]) == 0
    assert [record["id"] for record in written(out)] == ["https://wiki.test/Gamma", "https://wiki.test/Alfa"]
    rejects = [json.loads(line) for line in (out / "rejects.jsonl").read_text().splitlines()]
    assert {"source": "urls", "record": "https://wiki.test/Nowhere", "reason": "not_in_corpus"} in rejects


def test_the_web_is_asked_only_when_allowed_and_never_for_private_addresses(tmp_path: Path) -> None:
    urls = tmp_path / "urls.txt"
    urls.write_text("http://127.0.0.1:9/page\n")
    assert run(["extract", "--urls", str(urls), "--out", str(tmp_path / "a")]) == 2
    assert run(["extract", "--urls", str(urls), "--web", "--out", str(tmp_path / "b")]) == 0
    assert written(tmp_path / "b") == []
    assert json.loads((tmp_path / "b" / "rejects.jsonl").read_text())["record"] == "http://127.0.0.1:9/page"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--engine", "magic"],
        ["--engine", "readerlm"],
        ["--reader", "lexical"],
        ["--engine", "readerlm", "--reader", "lexical"],
        ["--web"],
        ["--filter", "nonsense"],
    ],
)
def test_misuse_of_extract_is_one_sentence(
    arguments: list[str], pages: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["extract", str(pages), "--out", str(tmp_path / "out"), *arguments]) == 2
    assert "reread: " in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_of_another_extraction_is_refused(pages: Path, tmp_path: Path) -> None:
    arguments = ["extract", str(pages), "--out", str(tmp_path / "out")]
    assert run(arguments) == 0
    assert run([*arguments, "--engine", "resiliparse"]) == 2


def test_filters_leave_documents_out_with_their_reason(pages: Path, tmp_path: Path) -> None:
    report = extract_corpus([str(pages)], tmp_path / "out", filters=["min-words=1000"])
    assert report.n_documents == 0
    assert report.rejects["filtered (min-words: too_few_words)"] == 10

"""`reread dedup` as a person calls it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from reread.cli import run


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "notes.jsonl"
    texts = [" ".join(f"word{n}x{place}" for place in range(60)) for n in range(5)]
    texts.append(texts[0])
    path.write_text("".join(json.dumps({"id": str(n), "text": text}) + "\n" for n, text in enumerate(texts)))
    return path


def test_the_summary_says_what_stays_and_where(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["dedup", str(corpus), "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "5 of 6 documents stay" in printed and "1 exact and 0 near" in printed
    assert str(tmp_path / "out" / "duplicates.jsonl") in printed.replace("\n", "")


def test_json_is_the_summary_file(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["dedup", str(corpus), "--out", str(tmp_path / "out"), "--filter", "min-words=10", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((tmp_path / "out" / "summary.json").read_text())
    assert printed["filters"] == ["min-words=10"]


def test_the_cleaned_corpus_is_one_that_build_reads(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["dedup", str(corpus), "--out", str(tmp_path / "out")]) == 0
    assert run(["build", str(tmp_path / "out" / "clean"), "--store", str(tmp_path / "store"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["n_documents"] == 5


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--threshold", "0"], "threshold"),
        (["--filter", "nonsense"], "no filter 'nonsense'"),
        (["--permutations", "2"], "permutations"),
    ],
)
def test_misuse_is_one_sentence_and_exit_2(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert run(["dedup", str(corpus), "--out", str(tmp_path / "out"), *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error and "Traceback" not in error


def test_a_missing_corpus_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["dedup", str(tmp_path / "none"), "--out", str(tmp_path / "out")]) == 2
    assert "no such file or folder" in capsys.readouterr().err


def test_ctrl_c_stops_all_workers_with_one_sentence(tmp_path: Path) -> None:
    for number in range(2):
        with (tmp_path / f"{number}.jsonl").open("w") as file:
            for n in range(40_000):
                file.write(json.dumps({"text": " ".join(f"w{n * k % 9973}" for k in range(60))}) + "\n")
    command = [sys.executable, "-m", "reread", "dedup", *map(str, sorted(tmp_path.glob("*.jsonl")))]
    process = subprocess.Popen(
        [*command, "--out", str(tmp_path / "out"), "--workers", "2"],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    work = tmp_path / "out" / "work"
    for _ in range(600):
        if len(list(work.glob("*keys*"))) == 2:
            break
        time.sleep(0.05)
    # As a terminal does: to every process of the group.
    os.killpg(process.pid, signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Traceback" not in error and "stopped" in error.splitlines()[-1]
    assert not list(work.glob(".*.part"))

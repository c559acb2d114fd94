"""`reread report` as a person calls it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from reread.cli import run

WriteRun = Callable[..., Path]


def test_a_run_gets_its_page_and_a_table(
    tmp_path: Path, write_run: WriteRun, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_run(tmp_path / "run", n=60)
    assert run(["report", str(folder)]) == 0
    assert (folder / "report.html").read_text().startswith("<!doctype html>")
    assert "retrieval" in capsys.readouterr().out


def test_a_folder_that_is_no_run_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["report", str(tmp_path), "--out", str(tmp_path / "page.html")]) == 2
    assert "no finished run folder" in capsys.readouterr().err
    assert not (tmp_path / "page.html").exists()

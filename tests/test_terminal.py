"""What a corpus, a benchmark or a model wrote is shown, but never obeyed by the terminal."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from reread import report
from reread.ask import Asked
from reread.cli import answers, probe, run
from reread.cli.hits import json_line, plain
from reread.evaluation.changes import changes
from reread.report.examples import Example, Examples, Option, ShownPassage
from reread.types import Answer, Hit, Passage, Sample

CLEAR = "\x1b[2J\x1b[H"
RETITLE = "\x1b]0;owned\x07"
C1 = "\x9b2J"


def obeyed(shown: str) -> list[str]:
    """The control characters in what was printed, but for tabs and line ends."""
    return [character for character in shown if unicodedata.category(character) == "Cc" and character not in "\t\n"]


def is_unsafe(character: str) -> bool:
    """Controls but tab and line end, Unicode's own line ends, overrides of direction, lone surrogates."""
    kind = unicodedata.category(character)
    turns = unicodedata.bidirectional(character) in ("LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI")
    return (kind == "Cc" and character not in "\t\n") or kind in ("Zl", "Zp", "Cs") or turns


@given(st.text(st.characters(exclude_categories=())))
def test_plain_text_holds_nothing_that_a_terminal_obeys_and_keeps_all_else(text: str) -> None:
    assert plain(text) == "".join("\ufffd" if is_unsafe(character) else character for character in text)


def test_every_character_is_plain_or_unsafe_and_json_keeps_them_all() -> None:
    text = " ".join(map(chr, range(0x110000)))  # apart, as two halves of a character side by side would be one
    assert plain(text) == "".join("\ufffd" if is_unsafe(character) else character for character in text)
    line = json_line({"text": text})
    assert json.loads(line) == {"text": text}
    assert not any(is_unsafe(character) for character in line)
    assert line.encode()


def test_a_hostile_passage_title_and_file_name_do_not_reach_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REREAD_CACHE", str(tmp_path / "cache"))
    notes = tmp_path / "notes"
    notes.mkdir()
    record = {"id": "1", "title": f"Harbour {RETITLE}", "text": f"The harbour {CLEAR} opens in {C1} March."}
    (notes / f"plan{CLEAR}.jsonl").write_text(json.dumps(record) + "\n", encoding="utf-8")
    assert run(["ask", str(notes), "When does the harbour open?", "--reader", "none"]) == 0
    shown = capsys.readouterr().out
    assert "harbour \ufffd[2J" in shown
    assert not obeyed(shown)


def test_a_hostile_answer_does_not_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    passage = Passage(f"p{CLEAR}", f"d{CLEAR}", 0, f"text{CLEAR}", "", f"s{CLEAR}")
    sample = Sample(f"Answer: March{CLEAR}", f"March{CLEAR}", 9, 3)
    answer = f"March{CLEAR}"
    told = Answer("q", "retrieval", (Hit(passage, 1, 1.0),), (sample,), {answer: 1.0}, answer, 1.0, {"samples": 1.0})
    answers.show(Asked("When?", told.hits, told, f"openai:{RETITLE}@http://localhost/v1"), Console())
    shown = capsys.readouterr().out
    assert "March\ufffd[2J" in shown
    assert not obeyed(shown)


def test_a_hostile_lesson_does_not_reach_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = (Option("A", f"March{CLEAR}", True), Option("B", "May", False))
    passage = ShownPassage(1, f"Title{CLEAR}", "d", ((f"It opens in {CLEAR}", False), ("March", True)), True)
    case = Example(f"When does it open{RETITLE}", "s", options, "A", "B", f"A{C1}", (passage,))
    lessons = Examples(f"rung{CLEAR}[bold]", "retrieval", "baseline", changes({}, {}), (case,), (case,))

    class Run:
        benchmarks = (None,)

    monkeypatch.setattr(report, "load_run", lambda out: Run())
    monkeypatch.setattr(report, "examples", lambda run, scores: lessons)
    probe._show_lessons(tmp_path)
    shown = capsys.readouterr().out
    assert "It opens in \ufffd[2J" in shown
    assert "[bold]" in shown
    assert not obeyed(shown)

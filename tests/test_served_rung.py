"""A rung behind a real server answers as the rung itself does, through the whole of `reread eval`."""

from __future__ import annotations

import json
from pathlib import Path

from reread.cli import run
from reread.runs import JsonLines
from serving import serve


def test_a_served_rung_answers_as_the_rung_itself(tiny_run: Path, tiny_rungs: list[Path], tmp_path: Path) -> None:
    common = [f"world-short:{tiny_run / 'world' / 'world-short.jsonl'}", "--store", str(tiny_run / "store")]
    common += ["--arms", "baseline,retrieval", "--form", "short", "-k", "2", "--limit", "10"]
    with serve(tiny_rungs[1]) as address:
        reader = f"openai:{tiny_rungs[1]}@{address}"
        assert run(["eval", *common, "--reader", reader, "--out", str(tmp_path / "served")]) == 0
    assert run(["eval", *common, "--reader", f"hf:{tiny_rungs[1]}", "--out", str(tmp_path / "local")]) == 0

    def answers(folder: Path) -> dict[tuple[str, str], str | None]:
        return {(r["arm"], r["question_id"]): r["answer"] for r in JsonLines(folder / "answers.jsonl").read()}

    served, local = answers(tmp_path / "served"), answers(tmp_path / "local")
    assert len(served) == 20
    assert served == local
    scores = json.loads((tmp_path / "served" / "scores.json").read_text(encoding="utf-8"))
    assert scores["benchmarks"]["world-short"]["arms"]["retrieval"]["tokens_per_question"] > 0

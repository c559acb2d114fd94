"""What a gain is held against: passages that should not help, the closed book at the same price, a task that nothing
can help with."""

from __future__ import annotations

from collections.abc import Sequence

from reread.analysis.multiplier import BASELINE
from reread.report import numbers
from reread.report.run import RANDOM, BenchmarkScores, is_control, retrieves
from reread.report.tables import Cell, Table, p_of, rung_head, tone_of

CONTROL_MEANINGS = {
    ("baseline", "random"): "passages about something else, of like length: they should not help",
    ("baseline", "shuffled"): "another question's passages: they should not help",
    ("random", "oracle"): "the passage that holds the answer, against random ones: what perfect retrieval adds",
    ("baseline", "oracle"): "the passage that holds the answer: what perfect retrieval would add",
}

RETRIEVED_AGAINST_RANDOM = "the passages found for the question, against random ones: what finding them adds"


def control_table(scores: BenchmarkScores) -> Table | None:
    """What the controls say: one row a pair of arms, rungs across."""
    rows = []
    beside = [arm for arm in scores.arms if (RANDOM, arm) not in CONTROL_MEANINGS]
    oracle = CONTROL_MEANINGS[RANDOM, "oracle"]
    found_or_given = {(RANDOM, arm): oracle if is_control(arm) else RETRIEVED_AGAINST_RANDOM for arm in beside}
    meanings = CONTROL_MEANINGS | found_or_given
    for (a, b), meaning in meanings.items():
        named = (a, b) in CONTROL_MEANINGS
        compared = [rung.comparison(a, b) if named else rung.against_random(b) for rung in scores.rungs]
        if not any(compared):
            continue
        cells = [Cell(f"{b} against {a}", meaning)]
        for found in compared:
            if not found:
                cells.append(Cell(numbers.DASH))
                continue
            interval = numbers.points_range(found.get("low"), found.get("high"))
            note = f"p {p_of(found)}"
            cells.append(Cell(numbers.points(found.get("difference")), interval, note, tone_of(found)))
        rows.append(tuple(cells))
    return Table(("points", *(rung_head(rung) for rung in scores.rungs)), tuple(rows)) if rows else None


def matched_table(scores: BenchmarkScores) -> Table | None:
    """Every arm that retrieves against the closed book at as many samples and at the nearest FLOPs a question."""
    pairs = dict.fromkeys((m["a"], m["b"], m["by"]) for rung in scores.rungs for m in rung.matched)
    rows = []
    for a, b, by in pairs:
        cells = [Cell(f"{b} against {a}", "as many samples" if by == "samples" else "nearest in FLOPs")]
        for rung in scores.rungs:
            found = next((m for m in rung.matched if (m["a"], m["b"], m["by"]) == (a, b, by)), None)
            if found is None:
                cells.append(Cell(numbers.DASH))
                continue
            note = f"p {p_of(found)}"
            ratio, wanted = found.get("flops_ratio"), found.get("wanted")
            if ratio is not None:
                note += f"; at {numbers.times(ratio)} its FLOPs"
            if wanted:
                note += f", {wanted} would match"
            interval = numbers.points_range(found.get("low"), found.get("high"))
            cells.append(Cell(numbers.points(found.get("difference")), interval, note, tone_of(found)))
        rows.append(tuple(cells))
    if not rows:
        return None
    caption = (
        "Points over the closed book at the same price, paired; p is corrected over these comparisons (Holm). "
        "More samples are drawn with sc+nN; a cloze question has no more views than wordings."
    )
    return Table(("points", *(rung_head(rung) for rung in scores.rungs)), tuple(rows), caption)


def must_not_help_table(all_scores: Sequence[BenchmarkScores]) -> Table | None:
    """On tasks that no passage can help with, every arm against its reference: one row an arm and rung."""
    rows = []
    for scores in all_scores:
        if not scores.must_not_help:
            continue
        for rung in scores.rungs:
            for found in rung.comparisons:
                if found.get("a") != rung.reference:
                    continue
                rows.append(
                    (
                        Cell(f"{scores.name}: {found['b']} against {found['a']}", rung.name),
                        Cell(numbers.count(found.get("n"))),
                        Cell(numbers.points(found.get("difference")), tone=tone_of(found)),
                        Cell(numbers.points_range(found.get("low"), found.get("high"))),
                        Cell(p_of(found)),
                    )
                )
    if not rows:
        return None
    caption = "No passage answers these questions: a gain here would be a fault of the experiment."
    return Table(("task that nothing can help with", "n", "points", "95 % interval", "p"), tuple(rows), caption)


def missing_controls(all_scores: Sequence[BenchmarkScores], scores: BenchmarkScores) -> str | None:
    """Which controls a benchmark with retrieving arms was run without, as a sentence; None where all are there."""
    if scores.must_not_help or not any(retrieves(arm) for arm in scores.arms):
        return None
    meant = {
        BASELINE: "without passages",
        RANDOM: "passages about something else",
        "shuffled": "another question's passages",
        "sc": "more samples without passages",
    }
    bases = {"sc" if arm.startswith("baseline+sc") else arm.partition("+")[0] for arm in scores.arms}
    missing = [f"{arm} ({meaning})" for arm, meaning in meant.items() if arm not in bases]
    if not any(other.must_not_help for other in all_scores):
        missing.append("a task that nothing can help with")
    return f"Not run here: {', '.join(missing)}." if missing else None

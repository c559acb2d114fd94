"""The report's tables as rows of ready text; the template only lays them out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reread.analysis.ledger import STAGES, Charge, bill
from reread.analysis.published import published_accuracy, published_contamination
from reread.report import numbers
from reread.report.run import RANDOM, BenchmarkScores, Run, Rung, is_control
from reread.report.terminal import is_significant

CONTROL_MEANINGS = {
    ("baseline", "random"): "passages about something else, of like length: they should not help",
    ("baseline", "shuffled"): "another question's passages: they should not help",
    ("random", "oracle"): "the passage that holds the answer, against random ones: what perfect retrieval adds",
    ("baseline", "oracle"): "the passage that holds the answer: what perfect retrieval would add",
}

RETRIEVED_AGAINST_RANDOM = "the passages found for the question, against random ones: what finding them adds"


@dataclass(frozen=True, slots=True)
class Cell:
    """One number with what stands under it."""

    text: str
    under: str = ""
    note: str = ""
    tone: str = ""
    """"up", "down" or "": a difference that is more than chance."""


@dataclass(frozen=True, slots=True)
class Table:
    """A head and rows of cells; the first cell of a row names it."""

    head: tuple[str | Cell, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: str = ""


def score_matrix(scores: BenchmarkScores) -> Table:
    """Arms down, rungs across: accuracy, interval, paired difference to the baseline."""
    rows = []
    for arm in sorted(scores.arms, key=is_control):
        cells = [Cell(arm, "control" if is_control(arm) else "")]
        for rung in scores.rungs:
            score = rung.arms.get(arm)
            if score is None or score.get("accuracy") is None:
                cells.append(Cell(numbers.DASH))
                continue
            compared = rung.comparison(rung.reference, arm)
            note = f"{numbers.points(compared.get('difference'))}, p {_p(compared)}" if compared else ""
            interval = numbers.percent_range(score.get("low"), score.get("high"))
            cells.append(Cell(numbers.percent(score["accuracy"]), interval, note, _tone(compared)))
        rows.append(tuple(cells))
    head = tuple(_rung_head(rung) for rung in scores.rungs)
    metric = f" ({scores.metric})" if scores.metric else ""
    caption = f"Accuracy{metric} in percent with its 95 % interval (Wilson)"
    if any(rung.comparisons for rung in scores.rungs):
        caption += (
            f"; under it the difference to {scores.references} in points, paired over the same questions, "
            "with McNemar's mid-p corrected for the number of comparisons (Holm). Coloured where p < 0.05"
        )
    return Table(("arm", *head), tuple(rows), f"{caption}.")


def score_rows(run: Run, scores: BenchmarkScores) -> Table:
    """Everything about every arm and rung, one row each."""
    published = run.published == "paper" and any(published_accuracy(scores.name, arm) for arm in scores.arms)
    cells_of = [score for rung in scores.rungs for score in rung.arms.values()]
    with_f1 = any(score.get("f1") is not None for score in cells_of)
    with_bits = any(score.get("gold_bits_per_byte") is not None for score in cells_of)
    with_dropped = any(score.get("passages_dropped") for score in cells_of)
    with_fallbacks = any(score.get("query_fallbacks") is not None for score in cells_of)
    with_samples = any((score.get("samples_per_question") or 0) > 1 for score in cells_of)
    with_random = any(rung.against_random(arm) for rung in scores.rungs for arm in rung.arms)
    many = len(scores.rungs) > 1
    compare = any(rung.comparisons for rung in scores.rungs)
    head = ["arm", "n", "accuracy", "95 % interval"]
    head += [f"over {scores.references}", "95 % interval", "p", "mended", "broken"] * compare
    head += ["over random", "p"] * with_random
    head += ["unparsed"] + ["passages dropped"] * with_dropped + ["no query written"] * with_fallbacks
    head += ["samples a question"] * with_samples + ["FLOPs a question"]
    head += ["F1"] * with_f1 + ["bits per byte of the gold option"] * with_bits + ["published"] * published
    rows = []
    for rung in scores.rungs:
        for arm, score in rung.arms.items():
            compared = rung.comparison(rung.reference, arm) or {}
            row = [
                Cell(f"{rung.name} · {arm}" if many else arm),
                Cell(numbers.count(score.get("n"))),
                Cell(numbers.percent(score.get("accuracy"))),
                Cell(numbers.percent_range(score.get("low"), score.get("high"))),
            ]
            if compare:
                row += [
                    Cell(numbers.points(compared.get("difference")), tone=_tone(compared)),
                    Cell(numbers.points_range(compared.get("low"), compared.get("high"))),
                    Cell(_p(compared)),
                    Cell(numbers.count(compared.get("mended"))),
                    Cell(numbers.count(compared.get("broken"))),
                ]
            if with_random:
                over = rung.against_random(arm) or {}
                row += [Cell(numbers.points(over.get("difference")), tone=_tone(over)), Cell(_p(over))]
            row.append(Cell(numbers.count(score.get("unparsed"))))
            if with_dropped:
                row.append(Cell(numbers.count(score.get("passages_dropped"))))
            if with_fallbacks:
                row.append(Cell(numbers.count(score.get("query_fallbacks"))))
            if with_samples:
                row.append(Cell(numbers.samples(score.get("samples_per_question"))))
            row.append(Cell(numbers.power_of_ten(score.get("flops_per_question"))))
            if with_f1:
                row.append(Cell(numbers.percent(score.get("f1"))))
            if with_bits:
                bits = score.get("gold_bits_per_byte")
                row.append(Cell(numbers.DASH if bits is None else f"{bits:.3f}"))
            if published:
                row.append(Cell(numbers.percent(published_accuracy(scores.name, arm))))
            rows.append(tuple(row))
    return Table(tuple(head), tuple(rows), f"Accuracy: {scores.metric}." if scores.metric else "")


def answers_total(scores: BenchmarkScores, counted: str) -> tuple[int, int] | None:
    """(answers that the scores count under a name such as `unparsed`, all answers); None where no arm has that
    count.
    """
    cells = [score for rung in scores.rungs for score in rung.arms.values() if score.get(counted) is not None]
    if not cells:
        return None
    return sum(int(score[counted]) for score in cells), sum(int(score.get("n") or 0) for score in cells)


def multiplier_table(scores: BenchmarkScores) -> Table | None:
    """Arms down, rungs across: multiplier with interval."""
    rungs = [rung for rung in scores.rungs if rung.multipliers]
    if not rungs:
        return None
    arms = [arm for arm in scores.arms if any(arm in rung.multipliers for rung in rungs)]
    rows = []
    for arm in sorted(arms, key=is_control):
        cells = [Cell(arm, "control" if is_control(arm) else "")]
        for rung in rungs:
            found = rung.multipliers.get(arm, {})
            interval = numbers.times_range(found.get("low"), found.get("high"))
            reason = str(found.get("reason") or "") if found.get("value") is None else ""
            cells.append(Cell(numbers.multiplier_cell(found), interval if found else "", reason))
        rows.append(tuple(cells))
    head = tuple(_rung_head(rung) for rung in rungs)
    return Table(("arm", *head), tuple(rows))


def sensitivity_table(scores: BenchmarkScores) -> Table | None:
    """The headline arm's multiplier on every rung under every fit."""
    arm = scores.headline_arm
    rungs = scores.ladder
    rows = []
    for fit in scores.sensitivity:
        values = {p.get("train_flops"): p.get("multiplier") for p in fit.get("points") or () if p.get("arm") == arm}
        rmse, ceiling = fit.get("rmse"), fit.get("ceiling")
        name = str(fit.get("fit"))
        if ceiling is not None and "free" in name:
            name += f" ({ceiling:.3f})"
        cells = [Cell(name), Cell(numbers.DASH if rmse is None else f"{100 * rmse:.2f}")]
        cells += [Cell(numbers.times(values.get(rung.train_flops))) for rung in rungs]
        rows.append(tuple(cells))
    if not rows or not rungs:
        return None
    return Table(("fit", "rms (points)", *(rung.name for rung in rungs)), tuple(rows))


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
            note = f"p {_p(found)}"
            cells.append(Cell(numbers.points(found.get("difference")), interval, note, _tone(found)))
        rows.append(tuple(cells))
    return Table(("points", *(_rung_head(rung) for rung in scores.rungs)), tuple(rows)) if rows else None


def recall_table(scores: BenchmarkScores) -> Table | None:
    """Share of questions whose passage, or answer string, is among the first k hits."""
    recall = scores.recall.get("recall") or {}
    kinds = {"gold passage": scores.recall.get("gold"), "answer string": scores.recall.get("answer")}
    if recall:
        kinds = {"recall": recall}
    found = {name: shares for name, shares in kinds.items() if shares}
    if not found:
        return None
    depths = sorted({depth for shares in found.values() for depth in shares}, key=int)
    rows = []
    for name, shares in found.items():
        cells = [Cell(name)]
        for depth in depths:
            share = shares.get(depth)
            if isinstance(share, Mapping):
                interval = numbers.percent_range(share.get("low"), share.get("high"))
                n = f"n = {numbers.count(share.get('n'))}"
                cells.append(Cell(numbers.percent(share.get("recall")), interval, n))
            else:
                cells.append(Cell(numbers.percent(share)))
        rows.append(tuple(cells))
    return Table(("found in the first", *depths), tuple(rows))


def subject_table(scores: BenchmarkScores) -> Table | None:
    """Accuracy by subject and arm, on the largest rung that has subjects."""
    rungs = [rung for rung in scores.ladder or scores.rungs if rung.subjects]
    if not rungs:
        return None
    rung = rungs[-1]
    arms = list(dict.fromkeys(arm for by_arm in rung.subjects.values() for arm in by_arm))
    rows = []
    for subject, by_arm in sorted(rung.subjects.items()):
        counts = [score["n"] for score in by_arm.values() if score.get("n") is not None]
        cells = [Cell(subject or "(none)"), Cell(numbers.count(max(counts, default=None)))]
        for arm in arms:
            score = by_arm.get(arm, {})
            interval = numbers.percent_range(score.get("low"), score.get("high"))
            cells.append(Cell(numbers.percent(score.get("accuracy")), interval if score else ""))
        rows.append(tuple(cells))
    caption = f"Accuracy in percent with its 95 % interval{f', on {rung.name}' if rung.name else ''}."
    return Table(("subject", "n", *arms), tuple(rows), caption)


def bill_table(run: Run) -> Table | None:
    """Every FLOP by stage for each rung and arm."""
    lines = run.ledger.get("bill")
    if not lines:
        charges = [
            Charge(c["stage"], float(c["flops"]), c.get("rung"), c.get("arm")) for c in run.ledger.get("stages") or ()
        ]
        lines = [
            {"rung": row.rung, "arm": row.arm, "by_stage": row.by_stage, "total_flops": row.total_flops}
            for row in bill(charges)
        ]
    if not lines:
        return None
    stages = [stage for stage in STAGES if any(line["by_stage"].get(stage) for line in lines)]
    rows = tuple(
        (
            Cell(f"{line['rung']} · {line['arm']}"),
            *(Cell(numbers.power_of_ten(line["by_stage"].get(stage))) for stage in stages),
            Cell(numbers.power_of_ten(line.get("total_flops"))),
        )
        for line in lines
    )
    return Table(("rung · arm", *stages, "all"), rows)


def break_even_table(run: Run) -> Table | None:
    """After how many questions training more would have been cheaper: arms down, rungs across."""
    lines = {(str(line["rung"]), str(line["arm"])): line for line in run.ledger.get("break_even") or ()}
    arms = [arm for arm in dict.fromkeys(arm for _, arm in lines) if not is_control(arm)]
    names = dict.fromkeys(rung for rung, _ in lines)
    rows = []
    for arm in arms:
        cells = [Cell(arm)]
        for name in names:
            line = lines.get((name, arm), {})
            saved, extra = line.get("extra_training_flops"), line.get("extra_flops_per_question")
            sums = f"saves {numbers.power_of_ten(saved)}, costs {numbers.power_of_ten(extra)} a question"
            reason = str(line.get("reason") or (sums if line else ""))
            cells.append(Cell(numbers.count(line.get("n_questions")), note=reason))
        rows.append(tuple(cells))
    return Table(("questions", *names), tuple(rows)) if rows else None


def decontamination_table(run: Run) -> Table | None:
    """Share of every benchmark's questions found in the corpus."""
    found = run.decontamination.get("benchmarks")
    if not found:
        found = {
            name: entry if isinstance(entry, Mapping) else {"contaminated_frac": entry}
            for name, entry in (run.decontamination.get("by_benchmark") or {}).items()
        }
    if not found:
        return None
    published = {name: published_contamination(name) for name in found} if run.published == "paper" else {}
    head = ["benchmark", "questions", "found in the corpus", "%", "could not be checked"]
    rows = []
    for name, entry in found.items():
        cells = [
            Cell(str(name)),
            Cell(numbers.count(entry.get("n_questions"))),
            Cell(numbers.count(entry.get("n_contaminated"))),
            Cell(numbers.percent(entry.get("contaminated_frac"))),
            Cell(numbers.count((entry.get("coverage") or {}).get("unchecked"))),
        ]
        if published:
            cells.append(Cell(numbers.percent(published.get(name))))
        rows.append(tuple(cells))
    return Table((*head, *(["published %"] if published else [])), tuple(rows))


def _rung_head(rung: Rung) -> Cell:
    return Cell(rung.name, f"{numbers.power_of_ten(rung.train_flops)} FLOPs" if rung.train_flops else "")


def _tone(compared: Mapping[str, Any] | None) -> str:
    if not compared or not is_significant(compared):
        return ""
    return "up" if compared.get("difference", 0) > 0 else "down"


def _p(compared: Mapping[str, Any]) -> str:
    return numbers.p_value(compared.get("p_holm", compared.get("p")))

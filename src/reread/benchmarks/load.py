"""load_benchmark: a name, or a name with a path, to questions and exemplars."""

from __future__ import annotations

import dataclasses
import difflib
import importlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from reread.benchmarks.files import PlacedRow, find_files, read_hub, read_rows
from reread.benchmarks.parse import parser_for
from reread.benchmarks.spec import Benchmark, BenchmarkSpec, Dropped, RowError
from reread.errors import BenchmarkError
from reread.runs import content_seed
from reread.types import Question

_PLACES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        **{
            name: (name, "SPEC")
            for name in (
                *("mmlu", "mmlu_redux", "math500", "gsm8k", "gpqa", "simpleqa", "squad", "nq_open", "qed"),
                *("triviaqa", "webquestions", "popqa", "arc_easy", "arc_challenge", "openbookqa", "sciq"),
                *("boolq", "truthfulqa", "covidqa", "humaneval", "mbpp", "livecodebench"),
            )
        },
        "choice": ("generic", "CHOICE"),
        "short": ("generic", "SHORT"),
        "world": ("world", "WORLD"),
        "world-short": ("world", "WORLD_SHORT"),
        "world-multihop": ("world", "WORLD_MULTIHOP"),
        "world-control": ("world", "WORLD_CONTROL"),
    }
)
"""Benchmark name → (module of this package, attribute); modules are imported when asked for."""

BENCHMARK_NAMES = tuple(_PLACES)
_ANYTHING = "*"


def get_spec(name: str) -> BenchmarkSpec:
    """The fixed facts of a benchmark; `-` and `_` are alike. Raises BenchmarkError for other names."""
    known = {key.replace("-", "_"): key for key in _PLACES}
    wanted = name.strip().lower().replace("-", "_")
    if wanted not in known:
        near = difflib.get_close_matches(wanted, known, n=1)
        hint = f"did you mean {known[near[0]]}?" if near else f"known: {', '.join(BENCHMARK_NAMES)}"
        raise BenchmarkError(f"there is no benchmark {name!r}; {hint} (own questions: choice:PATH or short:PATH)")
    module, attribute = _PLACES[known[wanted]]
    spec = getattr(importlib.import_module(f"reread.benchmarks.{module}"), attribute)
    assert isinstance(spec, BenchmarkSpec)
    return spec


def load_benchmark(
    benchmark: str,
    *,
    split: str | None = None,
    limit: int | None = None,
    seed: int = 0,
    skip_bad: bool = False,
    progress: Callable[[int, int | None], None] | None = None,
) -> Benchmark:
    """Load `name` (from the hub) or `name:PATH` (file, folder or glob: jsonl, json, csv, tsv, parquet, .gz).

    split: score this split (several with commas); the default is test, else dev or validation, else
    everything. limit: a random part of that many questions, chosen by a hash of each question's content and
    `seed`, so that a larger limit contains a smaller one. skip_bad: pass over unreadable rows and say so in
    `skipped`. Raises BenchmarkError naming file, row, field and what was expected.
    """
    name, _, pattern = benchmark.partition(":")
    spec = get_spec(name)
    if limit is not None and limit < 1:
        raise BenchmarkError(f"limit must be at least 1, not {limit}")
    rows = _local_rows(pattern, spec) if pattern else read_hub(spec)
    parsed, skipped, dropped = _parse_all(spec, rows, skip_bad=skip_bad, progress=progress)
    if not parsed:
        raise BenchmarkError(f"{benchmark} holds no question that can be scored; is it the right file?")
    scored_splits = _scored_splits(spec, parsed, split, benchmark)
    questions = [q for q in parsed if _ANYTHING in scored_splits or q.split in scored_splits]
    exemplars = [] if _ANYTHING in scored_splits else _exemplars(spec, parsed, scored_splits)
    if limit is not None and limit < len(questions):
        chosen = sorted(questions, key=lambda q: (content_seed(seed, q.text, q.choices, q.id), q.id))[:limit]
        kept = {q.id for q in chosen}
        questions = [q for q in questions if q.id in kept]
    # A blind guess is right as often as options are accepted: two of four give 1/2.
    guessed_right = [len(q.answers) / len(q.choices) for q in questions if q.choices]
    all_choice = len(guessed_right) == len(questions)
    kind = spec.kind if spec.kind not in ("letter", "short") else ("letter" if all_choice else "short")
    return Benchmark(
        name=spec.name,
        questions=tuple(questions),
        exemplars=tuple(exemplars),
        kind=kind,
        chance=sum(guessed_right) / len(guessed_right) if all_choice else None,
        forms=spec.forms,
        spec=spec,
        split=",".join(sorted({q.split for q in questions} - {""})),
        skipped=tuple(skipped),
        dropped=dict(dropped),
    )


def _local_rows(pattern: str, spec: BenchmarkSpec) -> Iterator[PlacedRow]:
    """Rows of the files that the pattern names, less those that say they belong to another benchmark.

    A glob like mmlu_* also finds MMLU-Redux, and a world's questions of all tasks may stand in one file.
    """
    others = {name.replace("-", "_") for name in BENCHMARK_NAMES} - {spec.name.replace("-", "_")}
    takes_any = spec.name in ("choice", "short")
    for path in find_files(pattern):
        for file_name, number, row in read_rows(path):
            task = str(row.get("task") or "").replace("-", "_")
            if takes_any or task not in others:
                yield file_name, number, row


def _parse_all(
    spec: BenchmarkSpec,
    rows: Iterator[PlacedRow],
    *,
    skip_bad: bool,
    progress: Callable[[int, int | None], None] | None,
) -> tuple[list[Question], list[str], Counter[str]]:
    parse = parser_for(spec)
    parsed: list[Question] = []
    seen: dict[str, str] = {}
    skipped: list[str] = []
    dropped: Counter[str] = Counter()
    for file_name, number, row in rows:
        place = f"{file_name} row {number}"
        try:
            question = parse(row, spec)
            if not question.id:
                question = dataclasses.replace(question, id=f"{spec.name}/{file_name}/{number}")
            if question.id in seen:
                raise RowError("id", f"{question.id!r} is already the id of {seen[question.id]}; ids must differ")
        except Dropped as reason:
            dropped[str(reason)] += 1
            continue
        except RowError as error:
            if not skip_bad:
                raise BenchmarkError(f"{place}: {error}; mend the row") from error
            skipped.append(f"{place}: {error}")
            continue
        seen[question.id] = place
        parsed.append(question)
        if progress is not None:
            progress(len(parsed), None)
    return parsed, skipped, dropped


def _scored_splits(
    spec: BenchmarkSpec, questions: list[Question], wanted: str | None, benchmark: str
) -> frozenset[str]:
    present = {q.split for q in questions}
    if wanted is not None:
        names = frozenset(name.strip() for name in wanted.split(","))
        missing = sorted(names - present)
        if missing:
            there = ", ".join(sorted(present - {""})) or "none"
            raise BenchmarkError(f"{benchmark} has no split {', '.join(missing)}; it has {there}")
        return names
    for name in spec.scored:
        if name in present:
            return frozenset({name})
    for name in spec.scored:  # unfiltered_dev, validation_matched, ...
        parts = {split for split in present if name in split.replace("-", "_").split("_")}
        if parts:
            return frozenset(parts)
    return frozenset({_ANYTHING})


def _exemplars(spec: BenchmarkSpec, questions: list[Question], scored: frozenset[str]) -> list[Question]:
    scored_texts = {(q.text, q.choices) for q in questions if q.split in scored}
    for name in spec.exemplar_splits:
        found = [q for q in questions if q.split == name and name not in scored]
        if found:
            # A dev item that also stands in the scored split would give its answer away (MMLU has some).
            return [q for q in found if (q.text, q.choices) not in scored_texts]
    return []

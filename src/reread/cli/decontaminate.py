"""`reread decontaminate`: which benchmark questions stand in a corpus, and the corpus without them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, cast

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from reread.benchmarks import BENCHMARK_NAMES, load_benchmark
from reread.decontaminate import Action, Rule, decontaminate_corpus
from reread.decontaminate.index import DEFAULT_THRESHOLD
from reread.errors import UsageError
from reread.types import Question


def decontaminate(
    corpus: Annotated[list[str], typer.Argument(help="Files, folders, globs or hf:DATASET.", show_default=False)],
    against: Annotated[list[str], typer.Option(help="Benchmarks, NAME or NAME:PATH.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Folder for findings, summary and the cleaned corpus.")],
    ngram: Annotated[
        int | None,
        typer.Option(help="Tokens per n-gram (default: mmlu 16, math500 26, else 13).", show_default=False),
    ] = None,
    rule: Annotated[
        str, typer.Option(help="containment, or any: one shared n-gram, the paper's plain rule.")
    ] = "containment",
    threshold: Annotated[
        float, typer.Option(help="Share of a question's n-grams that must be found, in (0, 1].")
    ] = DEFAULT_THRESHOLD,
    action: Annotated[
        str, typer.Option(help="audit (report only), mask, drop-passage or drop-document.")
    ] = "drop-document",
    split: Annotated[
        str | None,
        typer.Option(help="Splits to look for (default: those that are scored).", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print summary.json.")] = False,
) -> None:
    """Find benchmark questions in a corpus by n-grams, and write the corpus without them.

    OUT gets findings.jsonl (which question, where, how much of it), summary.json (the contaminated share by
    benchmark and subject), rejects.jsonl and clean/. Stopped and started again, it goes on after the last
    finished file.

    Example: reread decontaminate corpus/*.jsonl.gz --against mmlu math500 --out clean
    """
    console = Console(stderr=True)
    questions: list[Question] = []
    # `--against mmlu math500` hands the second word over as a corpus.
    also = [word for word in corpus if _names_benchmark(word)]
    corpus = [word for word in corpus if word not in also]
    if not corpus:
        raise UsageError("no corpus was named; write the files or folders before --against")
    for benchmark in [*against, *also]:
        questions.extend(load_benchmark(benchmark, split=split).questions)
    with Progress(
        TextColumn("decontaminating"), BarColumn(), MofNCompleteColumn(), TextColumn("documents"),
        TimeElapsedColumn(), console=console, transient=True,
    ) as bar:  # fmt: skip
        task = bar.add_task("documents", total=None)
        summary = decontaminate_corpus(
            corpus,
            questions,
            out,
            ngram=ngram,
            rule=cast(Rule, rule),
            threshold=threshold,
            action=cast(Action, action),
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    if as_json:
        typer.echo(json.dumps(summary, ensure_ascii=False))
        return
    Console().print(_table(summary))
    console.print(_notes(summary, out), highlight=False)


def _names_benchmark(word: str) -> bool:
    """Whether a word is a benchmark (NAME or NAME:PATH) and no file."""
    name = word.partition(":")[0].replace("_", "-")
    return name in {known.replace("_", "-") for known in BENCHMARK_NAMES} and not Path(word).exists()


def _table(summary: Mapping[str, Any]) -> Table:
    rule = summary["rule"]
    # The plain rule's figures stand beside those of the rule that was applied.
    plain = ("any rule", "%") if rule != "any" else ()
    columns = ("benchmark", "n", "questions", "found", "%", *plain, "documents", "unchecked")
    table = Table(*columns, box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for column in table.columns[1:]:
        column.justify = "right"
    for name, values in summary["benchmarks"].items():
        cells = [escape(name), str(values["ngram"]), str(values["n_questions"])]
        for counts in [values["by_rule"][rule], *([values["by_rule"]["any"]] if rule != "any" else [])]:
            cells += [str(counts["n_contaminated"]), f"{100 * (counts['contaminated_frac'] or 0):.2f}"]
        cells += [str(values["n_contaminated_documents"]), str(values["coverage"]["unchecked"])]
        table.add_row(*cells)
    return table


def _notes(summary: Mapping[str, Any], out: Path) -> str:
    notes: Sequence[str] = [
        f"{summary['n_contaminated_documents']} of {summary['n_documents']} documents hold a question; "
        f"findings in {out / 'findings.jsonl'}"
    ]
    if summary["action"] != "audit":
        notes = [*notes, f"the cleaned corpus is in {out / 'clean'} (action: {summary['action']})"]
    n_rejects = sum(summary["rejects"].values())
    if n_rejects:
        notes = [*notes, f"{n_rejects} records could not be read; see {out / 'rejects.jsonl'}"]
    return escape("\n".join(notes))

"""`reread report`: one self-contained page from finished run folders."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from reread.report import load_run, recall_table, score_table, write_report


def report(
    runs: Annotated[list[Path], typer.Argument(help="Finished run folders.", show_default=False)],
    out: Annotated[
        Path | None,
        typer.Option(help="The page (default: report.html in the only run folder, or here).", show_default=False),
    ] = None,
) -> None:
    """Rebuild the page and its figures from a run's files: no model, nothing fetched.

    Example: reread report runs/demo --out report.html
    """
    loaded = [load_run(run) for run in runs]
    target = out or (runs[0] / "report.html" if len(runs) == 1 else Path("report.html"))
    # The page first: whoever reads the tables may stop reading (head, less).
    page = write_report(loaded, target)
    console = Console(highlight=False)
    for run in loaded:
        for scores in run.benchmarks:
            if scores.rungs:
                console.print(score_table(run, scores.name))
        if recall := recall_table(run):
            console.print(recall)
    console.print(f"report: {page}", soft_wrap=True, markup=False)

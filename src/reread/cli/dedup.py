"""`reread dedup`: a corpus without exact and near duplicates."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from reread.cli.options import AsJson, Filters, Workers
from reread.cli.progress import stages


def dedup(
    corpora: Annotated[list[str], typer.Argument(metavar="CORPUS...", help="Files, folders, globs or hf:DATASET.")],
    out: Annotated[Path, typer.Option(help="Folder for the cleaned corpus, the duplicates and the summary.")],
    threshold: Annotated[float, typer.Option(help="Least similarity (Jaccard, of n-grams) of a near-duplicate.")] = 0.8,
    ngram: Annotated[int, typer.Option(min=1, help="Words of an n-gram.")] = 5,
    permutations: Annotated[int, typer.Option(help="MinHash functions: more tell apart more finely.")] = 256,
    exact_only: Annotated[bool, typer.Option("--exact-only", help="Look for exact duplicates alone.")] = False,
    filters: Filters = None,
    workers: Workers = 1,
    as_json: AsJson = False,
) -> None:
    """Drop exact and near-duplicate documents, before a build; the first of each stays.

    OUT gets clean/ (one jsonl.zst for each corpus file), duplicates.jsonl (what was dropped, and what stays in its
    place), rejects.jsonl and summary.json. Stopped and started again, it goes on; the result has the same bytes for
    any number of workers.

    Example: `reread dedup crawl/*.jsonl.gz --out unique --workers 8`, then `reread build unique/clean --store store`
    """
    from reread.corpus.dedup import SketchSettings, dedup_corpus

    settings = SketchSettings(threshold, ngram, permutations, exact_only)
    with stages() as stage:
        summary = dedup_corpus(corpora, out, settings=settings, filters=filters or (), workers=workers, stage=stage)
    if as_json:
        typer.echo(json.dumps(summary, ensure_ascii=False))
        return
    n = summary["n_documents"]
    typer.echo(
        f"{summary['n_kept']:,} of {n:,} documents stay ({summary['kept_bytes'] / 1e6:,.1f} of "
        f"{summary['bytes'] / 1e6:,.1f} MB of text): {summary['n_exact']:,} exact and {summary['n_near']:,} near "
        f"duplicates are named in {out / 'duplicates.jsonl'}; the corpus without them is {out / 'clean'}"
    )
    if summary["rejects"]:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in summary["rejects"].items())
        typer.echo(f"not read or filtered: {reasons} (each is named in {out / 'rejects.jsonl'})", err=True)

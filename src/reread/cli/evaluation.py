"""`reread eval`: arms of one reader over benchmarks, paired."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reread.cli.options import AsJson, RetrieverKind
from reread.cli.progress import stages


def eval_(
    benchmarks: Annotated[
        list[str],
        typer.Argument(metavar="BENCHMARK...", help="Names (from the hub), or name:PATH for local files."),
    ],
    reader: Annotated[str, typer.Option(help="hf:PATH_OR_NAME, openai:MODEL@http://host/v1 or lexical.")],
    out: Annotated[Path, typer.Option("--out", help="The run folder.")],
    store: Annotated[Path | None, typer.Option(help="A datastore (reread build), for arms with passages.")] = None,
    arms: Annotated[
        str, typer.Option(help="Arms, by commas; compared with baseline (else random, else the first).")
    ] = ("baseline"),
    rerank: Annotated[str | None, typer.Option(help="Reranker for the arms named rerank, such as ce:MODEL.")] = None,
    retriever: Annotated[RetrieverKind, typer.Option(help="How to search the store.")] = RetrieverKind.bm25,
    embedder: Annotated[str | None, typer.Option(help="The store's embedder, for every retriever but bm25.")] = None,
    query: Annotated[str, typer.Option(help="What is retrieved with: question, or options (once per option).")] = (
        "question"
    ),
    form: Annotated[str, typer.Option(help="Prompt form: auto, cloze, letters, chat or short.")] = "auto",
    k: Annotated[int, typer.Option("-k", min=1, help="Passages before the question.")] = 5,
    samples: Annotated[int, typer.Option(min=1, help="Samples of an arm that votes.")] = 8,
    grader: Annotated[str | None, typer.Option(help="Reader that grades open answers (SimpleQA).")] = None,
    split: Annotated[str | None, typer.Option(help="Split to score; test, else dev or validation.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Ask a random part of this many questions.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Run benchmarks with and without retrieval, paired, with intervals.

    Example: `reread eval mmlu:mmlu_test.jsonl --reader lexical --store store --arms retrieval,random --query options
    --out runs/mmlu`
    """
    from reread.cli.probe import show_scores
    from reread.probe import run_probe
    from reread.recipe import eval_recipe

    recipe = eval_recipe(
        benchmarks,
        reader=reader,
        store=store,
        arms=arms,
        retrieval={"rerank": rerank, "retriever": retriever.value, "query": query},
        embedder=embedder,
        reading={"k": k, "n_samples": samples},
        benchmark={"form": form, "split": split, "limit": limit},
        grader=grader,
        seed=seed,
    )
    with stages() as stage:
        scores = run_probe(recipe, out, stages=stage)
    show_scores(out, scores, as_json)

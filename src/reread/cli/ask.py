"""`reread ask`: a folder and a question."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Annotated, Any

import typer

from reread.cli.hits import hit_record, plain, print_hit
from reread.cli.options import AsJson
from reread.cli.progress import stages

MAX_CHARS = 600
"""Of a passage on the terminal."""


def ask(
    store: Annotated[str, typer.Argument(metavar="STORE_OR_FOLDER", help="A datastore, or files to read first.")],
    question: Annotated[str | None, typer.Argument(help="The question; without one, you are asked.")] = None,
    reader: Annotated[
        str | None,
        typer.Option(
            help="hf:PATH_OR_NAME, openai:MODEL@http://host/v1, or none for the passages alone.",
            show_default="a model served on this machine, if one answers",
        ),
    ] = None,
    arm: Annotated[str, typer.Option(help="How to spend test-time compute: retrieval, retrieval+sc, docs, …")] = (
        "retrieval"
    ),
    k: Annotated[int, typer.Option("-k", min=1, help="Passages to read.")] = 5,
    samples: Annotated[int, typer.Option(min=1, help="Samples of an arm that votes.")] = 8,
    rerank: Annotated[str | None, typer.Option(help="Reranker, such as ce:MODEL.")] = None,
    as_json: AsJson = False,
) -> None:
    """Ask your own files a question: the answer with its sources, or the passages where there is no reader.

    A folder is read once and kept in the cache; it is read again when its files change.

    Example: `reread ask notes/ "When is the review due?"`
    """
    from reread.ask import Session, open_or_build

    with stages() as stage:
        datastore = open_or_build(store, stage)
        session = Session(datastore, reader=reader, arm=arm, k=k, n_samples=samples, rerank=rerank)
    if question is not None:
        _show(session.ask(question), as_json)
        return
    typed = sys.stdin.isatty()
    if typed:
        typer.echo("Ask; an empty line ends the session.", err=True)
    while line := _next_line(typed):
        _show(session.ask(line), as_json)


def _next_line(typed: bool) -> str:
    """The next question, "" at the end of the input."""
    if not typed:
        return sys.stdin.readline().strip()
    try:
        return input("> ").strip()
    except EOFError:
        return ""


def _show(asked: Any, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(as_record(asked), ensure_ascii=False))
        return
    from rich.console import Console
    from rich.text import Text

    console = Console()
    if asked.answer is None:
        typer.echo(
            "No reader: here are the passages. Name one with --reader, or start a model server on this machine.",
            err=True,
        )
    elif asked.answer.answer is None:
        console.print("[bold]No answer could be read out of what the model wrote.[/bold]")
    else:
        console.print(Text(plain(asked.answer.answer), style="bold"))
        votes = ", ".join(f"{plain(name)} ({count:g})" for name, count in asked.answer.votes.items())
        console.print(Text(f"confidence {asked.answer.confidence:.0%} · votes: {votes}", style="dim"))
    for hit in asked.hits:
        print_hit(console, hit, MAX_CHARS)
    if not asked.hits:
        console.print("Nothing in the files matches the question's words.")
    if asked.answer is not None:
        tokens = sum(sample.n_prompt_tokens + sample.n_tokens for sample in asked.answer.samples)
        flops = sum(asked.answer.flops.values())
        console.print(Text(f"{plain(asked.reader or '')} · {tokens} tokens · {flops:.2g} FLOPs", style="dim"))


def as_record(asked: Any) -> dict[str, Any]:
    """What --json prints: the question, the answer with votes, samples and cost, and the sources."""
    record: dict[str, Any] = {"question": asked.question, "reader": asked.reader, "answer": None}
    if asked.answer is not None:
        given = asked.answer
        record |= {
            "answer": given.answer,
            "confidence": given.confidence,
            "votes": dict(given.votes),
            "arm": given.arm,
            "samples": [asdict(sample) for sample in given.samples],
            "flops": dict(given.flops),
        }
    record["hits"] = [hit_record(hit) for hit in asked.hits]
    return record

"""`reread build`, `reread search`, `reread verify`."""

from __future__ import annotations

import json
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from reread.cli.hits import hit_record, print_hit
from reread.cli.options import AsJson
from reread.cli.progress import stages
from reread.errors import UsageError
from reread.types import Hit

QUERIES_AT_ONCE = 256
MAX_CHARS = 300
"""Of a passage on the terminal."""


class RetrieverKind(StrEnum):
    """Search kinds as the command line names them; dense is the library's `exact`."""

    bm25 = "bm25"
    dense = "dense"
    hybrid = "hybrid"


def build(
    corpora: Annotated[list[str], typer.Argument(metavar="CORPUS...", help="Files, folders, globs or hf:DATASET.")],
    store: Annotated[Path, typer.Option(help="The folder of the datastore.")],
    embedder: Annotated[
        str | None, typer.Option(help="st:NAME_OR_PATH or openai:MODEL@URL; none makes a lexical store.")
    ] = None,
    chunk_words: Annotated[int, typer.Option(min=1, help="Words of a passage.")] = 256,
    overlap_words: Annotated[int, typer.Option(min=0, help="Words that a passage shares with the next.")] = 0,
    shard_passages: Annotated[int, typer.Option(min=1, help="Passages of a shard; memory grows with it.")] = 100_000,
    append: Annotated[bool, typer.Option("--append", help="Add to a finished datastore.")] = False,
    as_json: AsJson = False,
) -> None:
    """Build a datastore, finish one that was stopped, or add to one.

    Killed at any moment, the same command goes on behind the last finished shard and ends with the same bytes.
    Records that cannot be read are counted, with their reasons, in STORE/rejects.jsonl.

    Example: `reread build notes/ wiki.jsonl.gz --store store`
    """
    from reread.datastore import build as build_store
    from reread.embed import make_embedder

    with stages() as stage:
        report = build_store(
            corpora,
            store,
            embedder=make_embedder(embedder) if embedder else None,
            chunk_words=chunk_words,
            overlap_words=overlap_words,
            shard_passages=shard_passages,
            append=append,
            progress=stage("passages"),
        )
    if as_json:
        typer.echo(json.dumps({**asdict(report), "store": str(report.store)}, ensure_ascii=False))
        return
    typer.echo(
        f"{report.n_passages:,} passages of {report.n_documents:,} documents in {report.n_shards:,} "
        f"shard{'' if report.n_shards == 1 else 's'} ({report.n_new_shards:,} new) at {report.store}"
    )
    if report.rejects:
        reasons = ", ".join(f"{n:,} {reason}" for reason, n in report.rejects.items())
        typer.echo(f"not in the store: {reasons} (each is named in {report.store / 'rejects.jsonl'})", err=True)


def search(
    store: Annotated[Path, typer.Argument(help="The datastore.")],
    query: Annotated[str | None, typer.Argument(help="What to look for.")] = None,
    queries: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Many queries: JSON lines with the fields id and text.")
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="Passages a query.")] = 10,
    retriever: Annotated[
        RetrieverKind | None,
        typer.Option(help="How to search.", show_default="hybrid where the store has vectors, else bm25"),
    ] = None,
    rerank: Annotated[
        str | None, typer.Option(help="Reorder the best 100: ce:NAME_OR_PATH or openai:MODEL@URL.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a query.")] = False,
) -> None:
    """Find the passages that match a query best, or those of every query in a file.

    Example: `reread search store "Who discovered penicillin?" -k 3`
    """
    from reread.datastore import Datastore
    from reread.datastore.layout import read_store_file
    from reread.embed import make_embedder
    from reread.retrieval import SEARCH_KINDS, Retriever, make_reranker, read_queries

    if (query is None) == (queries is None):
        raise UsageError("give one QUERY, or --queries FILE for many")
    spec = read_store_file(store)["embedder"]
    kind = retriever or (RetrieverKind.hybrid if spec else RetrieverKind.bm25)
    embedder = make_embedder(spec) if spec and kind is not RetrieverKind.bm25 else None
    datastore = Datastore.open(store, embedder)
    asked = read_queries(queries) if queries is not None else [("0", query or "")]
    if k > len(datastore):
        typer.echo(f"the store holds {len(datastore):,} passages, fewer than the {k:,} asked for", err=True)
    finder = Retriever(
        datastore,
        SEARCH_KINDS[kind],
        reranker=make_reranker(rerank) if rerank else None,
    )
    for first in range(0, len(asked), QUERIES_AT_ONCE):
        batch = asked[first : first + QUERIES_AT_ONCE]
        for (query_id, text), found in zip(batch, finder.retrieve([text for _, text in batch], k), strict=True):
            if as_json:
                hits = [hit_record(hit) for hit in found.hits]
                typer.echo(json.dumps({"query_id": query_id, "hits": hits}, ensure_ascii=False))
            else:
                _print_hits(text, found.hits)


def _print_hits(query: str, hits: list[Hit]) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console()
    console.print(Text(query, style="bold"))
    if not hits:
        console.print("  no passage matches")
    for hit in hits:
        print_hit(console, hit, MAX_CHARS)


def verify(
    store: Annotated[Path, typer.Argument(help="The datastore.")],
    as_json: AsJson = False,
) -> None:
    """Check a datastore: its shards against their checksums, its lists line by line; says what is damaged.

    Each problem comes with what to do about it.

    Example: `reread verify store`
    """
    from reread.datastore import verify as verify_store

    with stages() as stage:
        problems = verify_store(store, stage("shards"))
    if as_json:
        typer.echo(json.dumps({"store": str(store), "problems": problems}, ensure_ascii=False))
    else:
        for problem in problems or [f"{store} is sound"]:
            typer.echo(problem)
    if problems:
        raise typer.Exit(1)

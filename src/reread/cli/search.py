"""`reread search`."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TextIO

import typer

from reread.cli.hits import hit_record, print_hit
from reread.cli.options import RetrieverKind
from reread.cli.progress import stages
from reread.errors import UsageError
from reread.types import Hit

QUERIES_AT_ONCE = 256
MAX_CHARS = 300
"""Of a passage on the terminal."""


class Engine(StrEnum):
    local = "local"
    ray = "ray"


def search(
    store: Annotated[Path, typer.Argument(help="The datastore.")],
    query: Annotated[str | None, typer.Argument(help="What to look for.")] = None,
    queries: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Many queries: JSON lines with the fields id and text.")
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="Passages a query.")] = 10,
    retriever: Annotated[
        RetrieverKind | None,
        typer.Option(
            help="How to search; ann uses the approximate index that build --ann made.",
            show_default="hybrid where the store has vectors, else bm25",
        ),
    ] = None,
    rerank: Annotated[
        str | None, typer.Option(help="Reorder the best 100: ce:NAME_OR_PATH or openai:MODEL@URL.")
    ] = None,
    engine: Annotated[
        Engine,
        typer.Option(help="Where to search: in this process, or in Ray actors (the cluster of RAY_ADDRESS)."),
    ] = Engine.local,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a query.")] = False,
) -> None:
    """Find the passages that match a query best, or those of every query in a file.

    Example: `reread search store "Who discovered penicillin?" -k 3`
    """
    from reread.datastore import Datastore
    from reread.datastore.cluster_search import ClusterDatastore
    from reread.datastore.layout import read_store_file
    from reread.embed import make_embedder
    from reread.retrieval import SEARCH_KINDS, Retriever, make_reranker, read_queries

    if (query is None) == (queries is None):
        raise UsageError("give one QUERY, or --queries FILE for many")
    spec = read_store_file(store)["embedder"]
    kind = retriever or (RetrieverKind.hybrid if spec else RetrieverKind.bm25)
    embedder = make_embedder(spec) if spec and kind is not RetrieverKind.bm25 else None
    asked = read_queries(queries) if queries is not None else [("0", query or "")]
    with ExitStack() as opened:
        if engine is Engine.ray:
            datastore: Datastore | ClusterDatastore = opened.enter_context(ClusterDatastore.open(store, embedder))
        else:
            datastore = Datastore.open(store, embedder)
        if k > len(datastore):
            typer.echo(f"the store holds {len(datastore):,} passages, fewer than the {k:,} asked for", err=True)
        finder = Retriever(datastore, SEARCH_KINDS[kind], reranker=make_reranker(rerank) if rerank else None)
        # Progress bars take over sys.stdout; results must go where it pointed.
        out = sys.stdout
        report = opened.enter_context(stages())("searching") if len(asked) > QUERIES_AT_ONCE else None
        for first in range(0, len(asked), QUERIES_AT_ONCE):
            batch = asked[first : first + QUERIES_AT_ONCE]
            for (query_id, text), found in zip(batch, finder.retrieve([text for _, text in batch], k), strict=True):
                if as_json:
                    hits = [hit_record(hit) for hit in found.hits]
                    print(json.dumps({"query_id": query_id, "hits": hits}, ensure_ascii=False), file=out)
                else:
                    _print_hits(text, found.hits, out)
            if report is not None:
                report(first + len(batch), len(asked))


def _print_hits(query: str, hits: list[Hit], out: TextIO) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(file=out)
    console.print(Text(query, style="bold"))
    if not hits:
        console.print("  no passage matches")
    for hit in hits:
        print_hit(console, hit, MAX_CHARS)

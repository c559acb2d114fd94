"""`reread build`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from reread.cli.options import AsJson
from reread.cli.progress import stages


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

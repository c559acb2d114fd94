"""`reread pretrain`: a ladder of base models on a corpus of one's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from reread.cli.options import AsJson
from reread.cli.progress import stages


def pretrain(
    corpus: Annotated[list[str], typer.Argument(help="Files, folders, globs or hf:DATASET.", metavar="CORPUS...")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the ladder; each rung gets a folder in it.")],
    rungs: Annotated[int, typer.Option("--rungs", min=1, help="Number of rungs.")] = 5,
    dial: Annotated[
        float, typer.Option("--dial", min=1.0, help="Training FLOPs of the largest rung over the smallest's.")
    ] = 60.0,
    smallest_tokens: Annotated[
        int, typer.Option("--smallest-tokens", min=1, help="Training tokens of the smallest rung.")
    ] = 1_000_000,
    smallest_width: Annotated[int, typer.Option("--smallest-width", min=32, help="Width of the smallest rung.")] = 64,
    context: Annotated[int, typer.Option("--context", min=8, help="Tokens of a training sequence.")] = 256,
    tokenizer: Annotated[
        str, typer.Option("--tokenizer", help="bpe (byte-level) or words, trained on the corpus.")
    ] = "bpe",
    vocabulary: Annotated[int, typer.Option("--vocabulary", min=300, help="Tokens in the vocabulary.")] = 8192,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the weights and of the order of documents.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Pre-train a ladder of base models on a corpus: ordinary transformers checkpoints with a rung.json each.

    Interrupt it and run it again: it goes on from its last checkpoint, and finished rungs are kept.

    Example: `reread pretrain clean/ --out ladder --rungs 5 --dial 60`
    """
    from reread.ladder import pretrain_ladder

    with stages() as stage:
        records = pretrain_ladder(
            corpus,
            out,
            n_rungs=rungs,
            span=dial,
            smallest_tokens=smallest_tokens,
            smallest_width=smallest_width,
            context=context,
            tokenizer=tokenizer,
            vocabulary=vocabulary,
            seed=seed,
            stage=stage,
        )
    if as_json:
        typer.echo(json.dumps({"rungs": records}))
        return
    typer.echo(f"{'rung':24} {'parameters':>12} {'tokens':>14} {'training FLOPs':>15} {'loss':>7}")
    for record in records:
        typer.echo(
            f"{record['name']:24} {record['n_params']:12,} {record['n_tokens']:14,} "
            f"{record['train_flops']:15.2e} {record['loss']:7.3f}"
        )

"""`reread verify`, and what is done to whole stores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from reread.cli.options import AsJson
from reread.cli.progress import stages


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

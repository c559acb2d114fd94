"""Options that several commands share, declared once."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class RetrieverKind(StrEnum):
    """Search kinds as the command line names them; dense is the library's `exact`."""

    bm25 = "bm25"
    dense = "dense"
    ann = "ann"
    hybrid = "hybrid"
    hybrid_ann = "hybrid-ann"


AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")]

Filters = Annotated[
    list[str] | None,
    typer.Option(
        "--filter",
        metavar="RULE[=VALUE]",
        help="Leave documents out, with the reason in rejects.jsonl; may be repeated: gopher, gopher-quality, "
        "gopher-repetition, c4, fineweb, min-words=N, max-words=N, min-letters=SHARE, language=en,de, blocklist=FILE.",
        show_default=False,
    ),
]

Workers = Annotated[int, typer.Option(min=1, help="Processes; the result has the same bytes for any number.")]

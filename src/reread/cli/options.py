"""Options that several commands share, declared once."""

from __future__ import annotations

from typing import Annotated

import typer

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

"""Hits as commands show them: a record for scripts, lines for people."""

from __future__ import annotations

import re
from typing import Any

from rich.console import Console
from rich.text import Text

from reread.types import Hit

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def plain(text: str) -> str:
    """Text of a corpus, a benchmark or a model as a terminal may show it: control characters, which could clear
    the screen or rewrite what stands on it, become U+FFFD; tabs and line ends stay."""
    return _CONTROLS.sub("\ufffd", text)


def _on_one_line(text: str) -> str:
    """Line ends in a title would pass for further hits."""
    return plain(" ".join(text.split()))


def hit_record(hit: Hit) -> dict[str, Any]:
    """One hit as `--json` prints it."""
    return {
        "rank": hit.rank,
        "score": hit.score,
        "passage_id": hit.passage.id,
        "doc_id": hit.passage.doc_id,
        "source": hit.passage.source,
        "title": hit.passage.title,
        "text": hit.passage.text,
        "url": hit.passage.url,
        "stages": dict(hit.stages),
    }


def print_hit(console: Console, hit: Hit, max_chars: int) -> None:
    """Rank, title, source and score, then the passage's beginning."""
    name, source, text = map(
        _on_one_line, (hit.passage.title or hit.passage.doc_id, hit.passage.source, hit.passage.text)
    )
    console.print(Text.assemble((f"{hit.rank:>3}. {name}", "cyan"), (f"  {source}  {hit.score:.3f}", "dim")))
    console.print(Text(f"     {text if len(text) <= max_chars else text[:max_chars] + ' …'}"))

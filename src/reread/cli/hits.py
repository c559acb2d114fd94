"""Hits as commands show them: a record for scripts, lines for people."""

from __future__ import annotations

import json
import re
from typing import Any

from rich.console import Console
from rich.text import Text

from reread.types import Hit

INDENT = " " * 5
_UNSAFE = "\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff"
"""Delete and the C1 controls, further line ends, what turns the order of letters round, halves of characters."""
_CONTROLS = re.compile(f"[\x00-\x08\x0b-\x1f{_UNSAFE}]")
_TO_ESCAPE = re.compile(f"[{_UNSAFE}]")


def plain(text: str) -> str:
    """Text of a corpus, a benchmark or a model as a terminal may show it: control characters, which could clear the
    screen or rewrite what stands on it, and lone surrogates, which cannot be written, become U+FFFD; tabs and line ends
    stay."""
    return _CONTROLS.sub("\ufffd", text)


def json_line(record: Any) -> str:
    """JSON that any terminal and any file can hold: what `plain` replaces is escaped, so that nothing is lost."""
    return _TO_ESCAPE.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(record, ensure_ascii=False))


def on_one_line(text: str) -> str:
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


def print_hit(console: Console, hit: Hit, max_chars: int | None, mark: str = "") -> None:
    """Rank, title, source, the score of each stage and the link, then the passage's beginning (None: all of it)."""
    name, source, text, url = map(
        on_one_line, (hit.passage.title or hit.passage.doc_id, hit.passage.source, hit.passage.text, hit.passage.url)
    )
    scores = " · ".join(f"{plain(stage)} {score:.3f}" for stage, score in hit.stages.items()) or f"{hit.score:.3f}"
    number = f"{mark}{hit.rank}. ".rjust(5)
    console.print(Text.assemble((f"{number}{name}", "cyan"), (f"  {source}  {scores}", "dim")))
    if url:
        console.print(Text(f"{INDENT}{url}", style="dim"), soft_wrap=True)
    short = text if max_chars is None or len(text) <= max_chars else text[:max_chars] + " …"
    if console.soft_wrap:  # lines are not broken, so there is nothing to indent but the first
        console.print(Text(f"{INDENT}{short}"))
    else:
        for line in Text(short).wrap(console, max(20, console.width - len(INDENT))):
            line.rstrip()
            console.print(Text(INDENT) + line)

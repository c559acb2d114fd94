"""The built-in world's own questions (made by reread.world; no outside source).

`world` (four options), `world-short` (the same facts, short answers), `world-multihop` (two facts in a
chain) and `world-control` (what no passage can tell: retrieval must not help). Asked in the wording of the
corpus, bare.
"""

from __future__ import annotations

from reread.benchmarks.parse import parse_choice, parse_open
from reread.benchmarks.spec import BenchmarkSpec, Row
from reread.types import Question


def parse_world(row: Row, spec: BenchmarkSpec) -> Question:
    """A row with choices is a choice question, any other an open one, whatever the task."""
    return parse_choice(row, spec) if row.get("choices") else parse_open(row, spec)


def _world(name: str, title: str, kind: str, *, must_not_help: bool = False) -> BenchmarkSpec:
    return BenchmarkSpec(
        name=name,
        title=title,
        authors="reread",
        arxiv="",
        licence="Apache-2.0",
        kind=kind,
        parse=parse_world,
        # Names are single tokens of the world's tokenizer: per byte, a long name would win by its spelling alone.
        normalise="token",
        forms=("cloze", "letters", "chat") if kind == "letter" else ("short", "chat"),
        must_not_help=must_not_help,
    )


WORLD = _world("world", "Facts of the built-in world, four options", "letter")
WORLD_SHORT = _world("world-short", "Facts of the built-in world, short answers", "short")
WORLD_MULTIHOP = _world("world-multihop", "Two facts of the built-in world in a chain", "letter")
WORLD_CONTROL = _world("world-control", "Questions that no passage of the world answers", "letter", must_not_help=True)

"""What every record saw and cost, beside lm-eval's own results."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from reread.answering.passages import Found
from reread.runs import JsonLines
from reread.types import Hit

NAME = "passages_{time}.jsonl"
"""Timed like lm-eval's own files: a second run in the same folder keeps the first one's."""


@dataclass(slots=True)
class Spent:
    """Totals over everything that was asked."""

    flops: dict[str, float] = field(default_factory=dict)
    n_prompt_tokens: int = 0
    n_tokens: int = 0
    n_missing: int = 0
    """Texts that a server never gave."""

    def add(self, flops: Mapping[str, float], n_prompt_tokens: int, n_tokens: int) -> None:
        for stage, spent in flops.items():
            self.flops[stage] = self.flops.get(stage, 0.0) + spent
        self.n_prompt_tokens += n_prompt_tokens
        self.n_tokens += n_tokens

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class PassageLog:
    """JSON lines: first the settings, then {"task", "doc_id", "queries", "hits", "n_dropped", tokens, "flops"} for each
    context that was read."""

    def __init__(self, path: Path | None, facts: Mapping[str, Any]) -> None:
        self.path = path
        self._facts: Mapping[str, Any] | None = facts

    @classmethod
    def at(cls, path: str | None, folder: Path | None, facts: Mapping[str, Any]) -> PassageLog:
        """The log at `path`, else in the folder; without both nothing is written."""
        if path is not None:
            return cls(Path(path), facts)
        time = datetime.datetime.now().isoformat().replace(":", "-")
        return cls(None if folder is None else folder / NAME.format(time=time), facts)

    def write(
        self,
        key: tuple[str, Any],
        found: Found,
        shown: Sequence[Hit],
        n_dropped: int,
        n_prompt_tokens: int,
        n_tokens: int,
        flops: Mapping[str, float],
    ) -> None:
        """Add one line. shown: the hits whose passages were in the prompt, best first."""
        if self.path is None:
            return
        with JsonLines(self.path) as lines:
            if self._facts is not None:
                lines.append({"settings": dict(self._facts)})
                self._facts = None
            lines.append(
                {
                    "task": key[0],
                    "doc_id": key[1],
                    "queries": list(found.queries),
                    "query_fallback": found.query_fallback,
                    "hits": [
                        {
                            "rank": hit.rank,
                            "score": hit.score,
                            "passage_id": hit.passage.id,
                            "doc_id": hit.passage.doc_id,
                            "source": hit.passage.source,
                            "title": hit.passage.title,
                        }
                        for hit in shown
                    ],
                    "n_dropped": n_dropped,
                    "n_prompt_tokens": n_prompt_tokens,
                    "n_tokens": n_tokens,
                    "flops": dict(flops),
                }
            )

"""A probe small enough for tests: a world of a few hundred articles and two rungs of a few seconds each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reread.ladder import RungConfig, train_rungs
from reread.recipe import Recipe, parse_recipe
from reread.world import World

N_ARTICLES = 200
N_QUESTIONS = 30
RUNGS = (
    RungConfig("tiny-32x1", width=32, n_layers=1, n_tokens=20_000, precision="float32"),
    RungConfig("small-64x1", width=64, n_layers=1, n_tokens=60_000, precision="float32"),
)


def train_tiny_rungs(folder: Path) -> list[Path]:
    """Two checkpoints under `folder`; they know little, and that is enough to see whether the parts fit."""
    world = World(0, N_ARTICLES, n_questions=N_QUESTIONS)
    train_rungs(world.clean_documents, RUNGS, folder, tokenizer="words", vocabulary=2048, n_threads=1)
    return [folder / rung.name for rung in RUNGS]


def tiny_data(rungs: list[Path], **changes: Any) -> dict[str, Any]:
    """The recipe as plain data."""
    return {
        "name": "tiny",
        "corpus": {"world": {"n_articles": N_ARTICLES, "n_questions": N_QUESTIONS}, "chunk_words": 50},
        "readers": [{"name": rung.name, "spec": f"hf:{rung}"} for rung in rungs],
        "benchmarks": [
            {"benchmark": "world", "form": "cloze"},
            {"benchmark": "world-short", "form": "short", "shots": 0, "arms": ["baseline", "sc", "retrieval"]},
        ],
        "arms": ["baseline", "sc", "retrieval", "retrieval+mmr", "docs", "random", "shuffled", "oracle"],
        "reading": {"k": 3, "n_samples": 3, "max_tokens": 6},
        "curve": {"ceiling": 1.0},
        **changes,
    }


def tiny_recipe(rungs: list[Path], **changes: Any) -> Recipe:
    return parse_recipe(tiny_data(rungs, **changes))

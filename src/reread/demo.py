"""The demo: the whole experiment on the built-in world, with the project's own ladder."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from reread.ladder.train import RUNG_FILE
from reread.probe import Stages, run_probe
from reread.recipe import Recipe, parse_recipe
from reread.runs import RunFolder
from reread.world import World, stored_rungs, train_ladder
from reread.world.rungs import LADDER

ARMS = ("baseline", "sc", "retrieval", "retrieval+mmr", "docs", "random", "shuffled", "oracle")
SHORT_ARMS = ("baseline", "sc", "retrieval", "random", "oracle")
CONTROL_ARMS = ("baseline", "retrieval", "random")
PASSAGES = 3
CHUNK_WORDS = 50
"""The rungs read 256 tokens at a time: three passages of this many words and a question fit."""

N_SAMPLES = 4
"""Wordings of a cloze question that vote, and samples of a short answer."""


def run_demo(out: Path, *, train: bool = False, stages: Stages | None = None) -> dict[str, Any]:
    """Run the demo in the folder `out` and return its scores; what is there already is kept.

    train: pre-train the ladder afresh, on the decontaminated corpus, instead of taking the rungs in the package.
    """
    names = [rung.name for rung in LADDER] if train else [rung.name for rung in stored_rungs()]
    recipe = demo_recipe(names, trained=train)
    RunFolder(out).claim(recipe.model_dump(mode="json"))
    if train:
        train_ladder(out / "ladder", stage=stages)
    else:
        for rung in stored_rungs():
            _copy(rung, out / "ladder" / rung.name)
    return run_probe(recipe, out, stages=stages)


def demo_recipe(rungs: list[str], *, trained: bool = False) -> Recipe:
    """The demo as a recipe; the checkpoints lie in the run folder, under ladder/."""
    return parse_recipe(
        {
            "name": "demo-trained" if trained else "demo",
            "corpus": {
                "world": {"n_articles": World.DEMO_ARTICLES, "n_questions": World.DEMO_QUESTIONS},
                "chunk_words": CHUNK_WORDS,
            },
            "readers": [{"name": rung, "spec": f"hf:ladder/{rung}"} for rung in rungs],
            "benchmarks": [
                {"benchmark": "world", "form": "cloze"},
                {"benchmark": "world-short", "form": "short", "shots": 0, "arms": list(SHORT_ARMS)},
                {"benchmark": "world-multihop", "form": "cloze", "arms": list(CONTROL_ARMS)},
                {"benchmark": "world-control", "form": "cloze", "arms": list(CONTROL_ARMS)},
            ],
            "arms": list(ARMS),
            "reading": {"k": PASSAGES, "n_samples": N_SAMPLES, "max_tokens": 8},
            # Every answer stands in the corpus, so a model that kept all of it would make no mistake.
            "curve": {"ceiling": 1.0},
        },
        where="the demo's recipe",
    )


def _copy(rung: Path, target: Path) -> None:
    """The rung in the run folder, so that the folder holds all that made its numbers."""
    if not (target / RUNG_FILE).exists():
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(rung, target)

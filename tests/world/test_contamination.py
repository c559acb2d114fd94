"""The project's own decontamination finds the world's leaked pages: all of them, and nothing else."""

from __future__ import annotations

import pytest

from reread.decontaminate import QuestionIndex, decontaminate
from reread.world import World


@pytest.mark.parametrize(
    ("seed", "n_articles", "n_questions"),
    [
        (8, 1500, 150),
        (0, 4000, 100),
        pytest.param(0, World.DEMO_ARTICLES, World.DEMO_QUESTIONS, id="demo"),
    ],
)
def test_decontamination_drops_the_leaked_pages_and_no_other_document(
    seed: int, n_articles: int, n_questions: int
) -> None:
    world = World(seed, n_articles, n_questions=n_questions)
    index = QuestionIndex([question for questions in world.benchmarks().values() for question in questions])
    cleaned = (c.left for c in decontaminate(world.documents(), index))
    kept = [document.id for document in cleaned if document is not None]
    assert kept == [document.id for document in world.clean_documents()]
    assert len(kept) < len(world)

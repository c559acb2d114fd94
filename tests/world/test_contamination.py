"""The project's own decontamination finds the world's leaked pages: all of them, and nothing else."""

from __future__ import annotations

from reread.decontaminate import QuestionIndex, decontaminate
from reread.world import World


def test_decontamination_finds_the_leaked_pages_and_no_other_document() -> None:
    world = World(seed=8, n_articles=1500, n_questions=150)
    index = QuestionIndex([question for questions in world.benchmarks().values() for question in questions])
    found = {c.document.id for c in decontaminate(world.documents(), index) if c.findings}
    kept = {document.id for document in world.clean_documents()}
    assert found
    assert found == {document.id for document in world.documents()} - kept

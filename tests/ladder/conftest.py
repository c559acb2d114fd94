"""A small corpus and a small recipe, trained in about a second."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from reread.ladder import RungConfig
from reread.types import Document

pytest.importorskip("torch")


@pytest.fixture(scope="session")
def recipe() -> RungConfig:
    return RungConfig("tiny", width=32, n_layers=2, n_tokens=6000, context=32, batch_rows=4, precision="float32")


@pytest.fixture(scope="session")
def corpus() -> list[Document]:
    rng = random.Random(0)
    words = ["amber", "river", "stone", "lantern", "copper", "harbour", "meadow", "thunder"]
    return [
        Document(id=str(i), text=" ".join(rng.choices(words, k=rng.randint(3, 60))), source="test", title=f"Page {i}")
        for i in range(200)
    ]


class Documents:
    """Gives the corpus anew at each call and counts how often it was read."""

    def __init__(self, documents: list[Document]) -> None:
        self.documents = documents
        self.n_readings = 0

    def __call__(self) -> Iterator[Document]:
        self.n_readings += 1
        return iter(self.documents)


@pytest.fixture
def documents(corpus: list[Document]) -> Documents:
    return Documents(corpus)

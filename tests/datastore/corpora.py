"""Generated corpora, and an embedder that needs no model: hashed words, so that like texts are near each other."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from reread.protocols import Vectors
from reread.types import Document

SYLLABLES = ["ba", "ko", "ri", "tu", "me", "na", "so", "li", "pe", "da"]


def random_documents(n: int, seed: int = 0, n_words: int = 40, vocabulary: int = 400) -> list[Document]:
    """Documents of Zipf-distributed made-up words; ids are not in any order of content."""
    rng = np.random.default_rng(seed)
    words = sorted({"".join(rng.choice(SYLLABLES, size=rng.integers(2, 5))) for _ in range(vocabulary)})
    weights = 1 / np.arange(1, len(words) + 1)
    weights /= weights.sum()
    return [
        Document(
            id=f"doc-{seed}-{number}",
            text=" ".join(rng.choice(words, size=rng.integers(3, 2 * n_words), p=weights)),
            source="made.jsonl",
            title=str(rng.choice(words)),
            meta={"n": number},
        )
        for number in range(n)
    ]


def random_queries(n: int, documents: Sequence[Document], seed: int = 1) -> list[str]:
    """Queries of words out of the documents, frequent ones and repeats among them."""
    rng = np.random.default_rng(seed)
    queries = []
    for _ in range(n):
        words = documents[int(rng.integers(len(documents)))].text.split()
        queries.append(" ".join(rng.choice(words, size=rng.integers(1, 9))))
    return queries


class HashEmbedder:
    """A word's vector comes from its checksum; a text's is their sum, at length 1."""

    def __init__(self, dimension: int = 32, spec: str = "test:hash") -> None:
        self.spec = spec
        self.dimension = dimension

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        return self.encode_passages(texts)

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        vectors = np.array([self._sum(text) for text in texts], dtype=np.float32).reshape(len(texts), self.dimension)
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)

    def _sum(self, text: str) -> np.ndarray:
        words = text.lower().split() or [""]
        return np.sum([self._word(word) for word in words], axis=0)

    def _word(self, word: str) -> np.ndarray:
        return _word_vector(word, self.dimension)


class CountingEmbedder(HashEmbedder):
    """Charges an odd number of FLOPs for every word."""

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        self.flops += sum(1_234_567 * len(text.split()) for text in texts)
        return super().encode_passages(texts)


@lru_cache(maxsize=10_000)
def _word_vector(word: str, dimension: int) -> np.ndarray:
    return np.random.default_rng(zlib.crc32(word.encode())).normal(size=dimension)


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its bytes."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


DOCUMENTS = random_documents(300)


def write_corpus(path: Path, documents: list[Document], bad_lines: int = 0) -> Path:
    lines = [json.dumps({"id": d.id, "title": d.title, "text": d.text, **d.meta}) for d in documents]
    for n in range(bad_lines):
        lines.insert(n * len(lines) // bad_lines, "{broken")
    path.write_text("\n".join(lines) + "\n")
    return path


def settings(size: int = 250) -> dict[str, object]:
    return {"chunk_words": 20, "overlap_words": 5, "shard_passages": size}

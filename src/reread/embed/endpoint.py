"""Embedders behind an OpenAI-compatible endpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from reread.embed.unit import qwen3_query_prompt, unit_vectors
from reread.errors import RereadError
from reread.http import JsonClient, split_endpoint
from reread.protocols import Vectors


class EndpointEmbedder:
    """`openai:MODEL@URL`: texts are posted in batches to URL/embeddings; vectors come back at length 1.

    A model named Qwen3-Embedding gets its instruction before queries; other models get every text bare. The server
    does not say how many parameters it ran, so `flops` stays 0.
    """

    def __init__(self, name: str, *, batch_size: int | None = None) -> None:
        self.spec = f"openai:{name}"
        self.flops = 0.0
        self._model, url = split_endpoint(self.spec)
        self._client = JsonClient(url)
        self._batch_size = batch_size or 32
        self._query_prompt = qwen3_query_prompt() if "qwen3-embedding" in self._model.lower() else ""
        self._dimension: int | None = None

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """float32 (n, d), unit length."""
        return self._encode([self._query_prompt + text for text in texts])

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        """float32 (n, d), unit length."""
        return self._encode(list(texts))

    def _encode(self, texts: list[str]) -> Vectors:
        if not texts:
            return np.empty((0, self._dimension or 0), dtype=np.float32)
        parts = []
        for first in range(0, len(texts), self._batch_size):
            batch = texts[first : first + self._batch_size]
            answer = self._client.post(
                "/embeddings", {"model": self._model, "input": batch, "encoding_format": "float"}
            )
            unit = unit_vectors(self._read(answer, len(batch)), batch, self.spec, self._dimension)
            self._dimension = unit.shape[1]
            parts.append(unit)
        return np.concatenate(parts)

    def _read(self, answer: Mapping[str, Any], n: int) -> np.ndarray[Any, np.dtype[np.float64]]:
        try:
            # Servers may answer out of order; `index` says which text a vector is of.
            rows = {int(item["index"]): item["embedding"] for item in answer["data"]}
            if sorted(rows) != list(range(n)):
                raise RereadError(f"{self.spec} gave {len(answer['data'])} vectors for {n} texts")
            return np.array([rows[i] for i in range(n)], dtype=np.float64)
        except (KeyError, TypeError, ValueError) as error:
            raise RereadError(f"{self.spec} did not answer in the shape of /embeddings ({error})") from error

"""Embedders behind an OpenAI-compatible endpoint."""

from __future__ import annotations

import base64
import binascii
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from reread.embed.unit import first_words, qwen3_query_prompt, readable, unit_vectors
from reread.errors import RereadError
from reread.http import JsonClient, Refused, split_endpoint
from reread.protocols import Vectors

BATCH_TEXTS = 32
CONCURRENT_REQUESTS = 8
TOO_MUCH_STATUSES = frozenset({400, 413, 422})
"""What servers answer to a request with too many texts or tokens (and to other faults, which halving does not mend)."""
SPECIAL_TOKENS = 8
"""More than any embedder's tokenizer puts around a text."""


class EndpointEmbedder:
    """`openai:MODEL@URL`: texts are posted in batches, several at once; vectors come back at length 1.

    A model named Qwen3-Embedding gets its instruction before queries; other models get every text bare. A batch that
    the server finds too large is halved, down to single texts. The server does not say how many parameters it ran, so
    `flops` stays 0; `n_tokens` sums the tokens it says it read.

    `max_tokens` is known where the server counts tokens too (vLLM, TEI: /tokenize). Elsewhere it is None, and a text
    that is too long is an error where the server refuses it; a server that cuts texts silently cannot be found out.
    """

    def __init__(self, name: str, *, batch_size: int | None = None) -> None:
        self.spec = f"openai:{name}"
        self.flops = 0.0
        self.n_tokens = 0
        """Tokens that the server says it read so far (usage.total_tokens); 0 where it does not say."""
        self._model, url = split_endpoint(self.spec)
        self._client = JsonClient(url)
        self._batch_size = batch_size or BATCH_TEXTS
        self._query_prompt = qwen3_query_prompt() if "qwen3-embedding" in self._model.lower() else ""
        self._dimension: int | None = None
        self._limit: int | None = None
        self._is_limit_known = False
        self._lock = threading.Lock()

    @property
    def settings(self) -> dict[str, str]:
        """What the vectors of a build come from, beside the spec."""
        return {"backend": "endpoint", "max_tokens": str(self.max_tokens)}

    @property
    def max_tokens(self) -> int | None:
        """The longest text in tokens, where the server says it and can count tokens; else None. Asked once."""
        if not self._is_limit_known:
            limit = self._ask_limit()
            self._limit = limit if limit is not None and self._count("a") is not None else None
            self._is_limit_known = True
        return self._limit

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text by the server's own count; for a text that has fewer bytes than the limit, its bytes.

        No tokenizer in use makes more tokens than bytes, and so most passages need no request. Raises RereadError
        where the server does not count.
        """
        limit = self.max_tokens
        if limit is None:
            raise RereadError(f"{self.spec} does not count tokens; its max_tokens is None")
        counts = []
        for text in map(readable, texts):
            n_bytes = len(text.encode()) + SPECIAL_TOKENS
            count = n_bytes if n_bytes <= limit else self._count(text)
            if count is None:
                raise RereadError(f"{self.spec} stopped counting tokens; is the server up?")
            counts.append(count)
        return counts

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """float32 (n, d), unit length."""
        return self._encode([self._query_prompt + text for text in texts])

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        """float32 (n, d), unit length.

        Raises RereadError where the server fails or refuses a text, BadVectors for NaN and zero vectors.
        """
        return self._encode(texts)

    def _encode(self, texts: Sequence[str]) -> Vectors:
        if not texts:
            return np.empty((0, self._dimension or 0), dtype=np.float32)
        starts = range(0, len(texts), self._batch_size)
        given: list[Vectors] = []
        with ThreadPoolExecutor(CONCURRENT_REQUESTS) as threads:
            waiting: deque[Future[Vectors]] = deque()
            try:
                for first in starts:
                    batch = [readable(text) for text in texts[first : first + self._batch_size]]
                    waiting.append(threads.submit(self._embed, batch, first))
                    if len(waiting) >= 2 * CONCURRENT_REQUESTS:
                        given.append(waiting.popleft().result())
                given.extend(future.result() for future in waiting)
            finally:
                # After a failure, what has not been sent is not sent.
                for future in waiting:
                    future.cancel()
        for vectors in given:
            self._check_dimension(vectors)
        return unit_vectors(np.concatenate(given), texts, self.spec, self._dimension)

    def _embed(self, batch: Sequence[str], first: int) -> Vectors:
        """The vectors of texts first, first + 1, ... as the server gave them, halving what is too much at once."""
        try:
            answer = self._client.post(
                "/embeddings", {"model": self._model, "input": list(batch), "encoding_format": "float"}
            )
        except Refused as refusal:
            if refusal.status not in TOO_MUCH_STATUSES:
                raise
            if len(batch) == 1:
                limit = self.max_tokens
                known = f"; the server's limit is {limit} tokens" if limit else ""
                raise Refused(
                    f"{refusal} — for text {first} ({first_words(batch[0])}, {len(batch[0])} characters){known}",
                    refusal.status,
                    refusal.reason,
                ) from refusal
            half = len(batch) // 2
            parts = [self._embed(batch[:half], first), self._embed(batch[half:], first + half)]
            self._check_dimension(parts[0])
            self._check_dimension(parts[1])
            return np.concatenate(parts)
        vectors = self._read(answer, len(batch))
        usage = answer.get("usage")
        n_tokens = usage.get("total_tokens") if isinstance(usage, dict) else None
        if isinstance(n_tokens, int):
            with self._lock:
                self.n_tokens += n_tokens
        return vectors

    def _read(self, answer: Mapping[str, Any], n: int) -> Vectors:
        try:
            # Servers may answer out of order; `index` says which text a vector is of.
            rows = {int(item["index"]): item["embedding"] for item in answer["data"]}
            if sorted(rows) != list(range(n)):
                raise RereadError(f"{self.spec} gave {len(answer['data'])} vectors for {n} texts")
            with np.errstate(over="ignore"):
                vectors = np.array([_numbers(rows[i]) for i in range(n)], dtype=np.float32)
        except (KeyError, TypeError, ValueError, binascii.Error) as error:
            raise RereadError(f"{self.spec} did not answer in the shape of /embeddings ({error})") from error
        if vectors.ndim != 2:
            raise RereadError(f"{self.spec} gave vectors of shape {vectors.shape} for {n} texts; it needs one each")
        return vectors

    def _check_dimension(self, vectors: Vectors) -> None:
        with self._lock:
            if self._dimension is None:
                self._dimension = vectors.shape[1]
            elif vectors.shape[1] != self._dimension:
                raise RereadError(
                    f"{self.spec} gave {vectors.shape[1]} dimensions after {self._dimension} before; "
                    "it must keep to one"
                )

    def _ask_limit(self) -> int | None:
        """vLLM says it among its models, TEI in /info."""
        models = self._client.look("/v1/models")
        listed = models.get("data") if isinstance(models, dict) else None
        found = [
            model.get("max_model_len")
            for model in (listed if isinstance(listed, list) else [])
            if isinstance(model, dict) and model.get("id") == self._model
        ]
        info = self._client.look("/info") if not any(found) else None
        if isinstance(info, dict):
            found.append(info.get("max_input_length"))
        return next((limit for limit in found if isinstance(limit, int) and limit > 0), None)

    def _count(self, text: str) -> int | None:
        """Tokens of a text by vLLM's or TEI's /tokenize; None where the server has neither."""
        given = self._client.look("/tokenize", {"model": self._model, "prompt": text, "inputs": text})
        if isinstance(given, dict) and isinstance(given.get("count"), int):
            return int(given["count"])
        if isinstance(given, list) and len(given) == 1 and isinstance(given[0], list):
            return len(given[0])
        return None


def _numbers(embedding: Any) -> Any:
    """A vector as a list, or as base64 of little-endian float32, which some servers send unasked."""
    if isinstance(embedding, str):
        return np.frombuffer(base64.b64decode(embedding, validate=True), dtype="<f4")
    return embedding

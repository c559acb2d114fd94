"""Embedders behind an OpenAI-compatible endpoint, and the one way in which JSON is posted to such servers."""

from __future__ import annotations

import importlib.util
import logging
import os
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from reread.embed.unit import qwen3_query_prompt, unit_vectors
from reread.errors import MissingExtra, RereadError, UsageError
from reread.protocols import Vectors

if TYPE_CHECKING:
    import httpx

logger = logging.getLogger(__name__)

ATTEMPTS = 5
FIRST_WAIT_S = 0.5
"""Doubles after every attempt: 7.5 s of waiting in all before giving up."""
TIMEOUT_S = 120.0
RETRIED_STATUSES = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
API_KEY_VARIABLE = "OPENAI_API_KEY"


def split_endpoint(name: str, spec: str) -> tuple[str, str]:
    """(model, URL without a final slash) of MODEL@URL. Raises UsageError where one of them is missing."""
    model, _, url = name.rpartition("@")
    if not model or not url.startswith(("http://", "https://")):
        raise UsageError(f"{spec} is no endpoint; write openai:MODEL@http://HOST:PORT/v1")
    return model, url.rstrip("/")


def make_client() -> httpx.Client:
    """An HTTP client with our time-out, and the key in OPENAI_API_KEY where it is set."""
    if importlib.util.find_spec("httpx") is None:
        raise MissingExtra("httpx", "endpoint", "an openai: endpoint")
    import httpx

    key = os.environ.get(API_KEY_VARIABLE)
    return httpx.Client(timeout=TIMEOUT_S, headers={"Authorization": f"Bearer {key}"} if key else {})


def post_json(client: httpx.Client, url: str, body: Mapping[str, Any], *, first_wait_s: float = FIRST_WAIT_S) -> Any:
    """The JSON that the server answers. Busy or failing servers and time-outs are tried ATTEMPTS times in all.

    Raises RereadError for a refusal, an answer that is no JSON, and after the last attempt.
    """
    import httpx

    problem = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            wait_s = first_wait_s * 2 ** (attempt - 1)
            logger.info("%s: %s; trying again in %.1f s", url, problem, wait_s)
            time.sleep(wait_s)
        try:
            response = client.post(url, json=dict(body))
        except httpx.TransportError as error:
            problem = f"{type(error).__name__}: {error}"
            continue
        if response.status_code in RETRIED_STATUSES:
            problem = f"status {response.status_code}"
            continue
        if response.status_code != 200:
            raise RereadError(f"{url} refused with status {response.status_code}: {response.text[:200]}")
        try:
            return response.json()
        except ValueError as error:
            raise RereadError(f"{url} did not answer with JSON: {response.text[:200]}") from error
    raise RereadError(f"{url} did not answer in {ATTEMPTS} attempts ({problem}); check that the server runs there")


class EndpointEmbedder:
    """`openai:MODEL@URL`: texts are posted in batches to URL/embeddings; vectors come back at length 1.

    A model named Qwen3-Embedding gets its instruction before queries; other models get every text bare. The server
    does not say how many parameters it ran, so `flops` stays 0.
    """

    def __init__(self, name: str, *, batch_size: int = 32, first_wait_s: float = FIRST_WAIT_S) -> None:
        self.spec = f"openai:{name}"
        self.flops = 0.0
        self._model, self._url = split_endpoint(name, self.spec)
        self._client = make_client()
        self._batch_size = batch_size
        self._first_wait_s = first_wait_s
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
            answer = post_json(
                self._client,
                f"{self._url}/embeddings",
                {"model": self._model, "input": batch, "encoding_format": "float"},
                first_wait_s=self._first_wait_s,
            )
            unit = unit_vectors(self._read(answer, len(batch)), len(batch), self.spec, self._dimension)
            self._dimension = unit.shape[1]
            parts.append(unit)
        return np.concatenate(parts)

    def _read(self, answer: Any, n: int) -> np.ndarray[Any, np.dtype[np.float64]]:
        try:
            # Servers may answer out of order; `index` says which text a vector is of.
            rows = {int(item["index"]): item["embedding"] for item in answer["data"]}
            if sorted(rows) != list(range(n)):
                raise RereadError(f"{self.spec} gave {len(answer['data'])} vectors for {n} texts")
            return np.array([rows[i] for i in range(n)], dtype=np.float64)
        except (KeyError, TypeError, ValueError) as error:
            raise RereadError(f"{self.spec} did not answer in the shape of /embeddings ({error})") from error

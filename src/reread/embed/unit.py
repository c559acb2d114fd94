"""What every embedder's vectors go through before anyone sees them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from reread.errors import RereadError
from reread.protocols import Vectors

QWEN3_TASK = "Given a web search query, retrieve relevant passages that answer the query"
"""Qwen3-Embedding's own default task (its model card); it belongs before queries, never before documents."""


def qwen3_query_prompt(task: str = QWEN3_TASK) -> str:
    """Qwen3-Embedding's query prefix; there is no space after the second colon."""
    return f"Instruct: {task}\nQuery:"


def readable(text: str) -> str:
    """The text with lone surrogates, which no tokenizer and no JSON takes, as replacement characters."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def unit_vectors(vectors: npt.NDArray[Any], n_texts: int, spec: str, dimension: int | None) -> Vectors:
    """The vectors as float32 of length 1. Raises RereadError for a wrong shape, NaN, infinity or zero vectors."""
    if vectors.ndim != 2 or len(vectors) != n_texts:
        raise RereadError(f"{spec} gave vectors of shape {vectors.shape} for {n_texts} texts; it needs ({n_texts}, d)")
    if dimension is not None and vectors.shape[1] != dimension:
        raise RereadError(f"{spec} gave {vectors.shape[1]} dimensions after {dimension} before; it must keep to one")
    vectors = vectors.astype(np.float32)
    if not np.isfinite(vectors).all():
        raise RereadError(f"{spec} gave a vector with NaN or infinity; check the model and its precision")
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if len(lengths) and lengths.min() < 1e-6:
        raise RereadError(f"{spec} gave a vector of length zero, which no search can find; check the model")
    return np.ascontiguousarray(vectors / lengths, dtype=np.float32)

"""What every embedder's texts and vectors go through."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from reread.errors import BadVectors, RereadError
from reread.protocols import Vectors

QWEN3_TASK = "Given a web search query, retrieve relevant passages that answer the query"
"""Qwen3-Embedding's own default task (its model card); it belongs before queries, never before documents."""
LEAST_LENGTH = 1e-6
"""Shorter vectors have no direction."""
SHOWN_CHARACTERS = 40
SHOWN_TEXTS = 3


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


def first_words(text: str) -> str:
    """The start of a text for a message, quoted, its control characters escaped."""
    start = ascii(text[:SHOWN_CHARACTERS])
    return f"{start}..." if len(text) > SHOWN_CHARACTERS else start


def unit_vectors(vectors: npt.NDArray[Any], texts: Sequence[str], spec: str, dimension: int | None) -> Vectors:
    """The vectors as float32 of length 1, in place where they are float32 already.

    Raises RereadError for a wrong shape, and BadVectors, which names the texts, for NaN, infinity and length zero.
    """
    if vectors.ndim != 2 or len(vectors) != len(texts):
        raise RereadError(f"{spec} gave vectors of shape {vectors.shape} for {len(texts)} texts; it needs one each")
    if dimension is not None and vectors.shape[1] != dimension:
        raise RereadError(f"{spec} gave {vectors.shape[1]} dimensions after {dimension} before; it must keep to one")
    with np.errstate(over="ignore"):
        vectors = np.ascontiguousarray(vectors, dtype=np.float32)
        lengths = np.linalg.norm(vectors, axis=1)
    # What overflows float32 when squared is no vector of a model either.
    bad = np.flatnonzero(~(np.isfinite(lengths) & (lengths >= LEAST_LENGTH)))
    if len(bad):
        kind = "of length zero" if np.isfinite(lengths[bad]).all() else "with NaN or infinity"
        shown = ", ".join(f"text {row} ({first_words(texts[row])})" for row in bad[:SHOWN_TEXTS])
        more = f" and {len(bad) - SHOWN_TEXTS} more" if len(bad) > SHOWN_TEXTS else ""
        raise BadVectors(
            f"{spec} gave a vector {kind} for {shown}{more}; no search can find it: check the model and its precision",
            bad.tolist(),
        )
    vectors /= lengths[:, None]
    return vectors

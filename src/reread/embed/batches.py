"""Tokenized texts into padded batches of about equal work."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

PAD_MULTIPLE = 16
"""Batches are padded to a multiple of this many tokens. Kernels sum the odd end of a row in another order: with other
lengths bfloat16 vectors moved by up to 9e-4 with their batch; with these, not by a bit (MiniLM, AVX-512)."""

Tokens = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Batch:
    """Texts that go through a model together."""

    rows: list[int]
    """Which texts they are, by their place in the call."""
    ids_NxT: npt.NDArray[np.int64]
    mask_NxT: npt.NDArray[np.int64]
    """1 where a token is, 0 where there is padding."""


def batches(
    tokens: Sequence[Tokens],
    budget_tokens: int,
    *,
    max_tokens: int | None = None,
    max_texts: int | None = None,
    pad_id: int = 0,
    pad_left: bool = False,
) -> Iterator[Batch]:
    """The texts by falling length, cut into batches of at most `budget_tokens`, padding included.

    A text over the budget has a batch to itself. The longest come first, so that too large a budget shows at once and
    the last batches, behind which processors wait for one another, are small. Equal lengths keep their order: the
    same texts always make the same batches. max_tokens: the model's limit, which nothing is padded beyond. max_texts:
    in one batch.
    """
    order = sorted(range(len(tokens)), key=lambda row: -len(tokens[row]))
    first = 0
    while first < len(order):
        n_longest = len(tokens[order[first]])
        longest = -(-max(1, n_longest) // PAD_MULTIPLE) * PAD_MULTIPLE
        longest = max(n_longest, min(longest, max_tokens or longest))
        n_texts = max(1, budget_tokens // longest)
        rows = order[first : first + min(n_texts, max_texts or n_texts)]
        first += len(rows)
        ids = np.full((len(rows), longest), pad_id, dtype=np.int64)
        mask = np.zeros_like(ids)
        for place, row in enumerate(rows):
            n_tokens = len(tokens[row])
            filled = slice(longest - n_tokens, longest) if pad_left else slice(0, n_tokens)
            ids[place, filled] = tokens[row]
            mask[place, filled] = 1
        yield Batch(rows, ids, mask)

"""From documents to batches of tokens: shuffle in a buffer, tokenize, pack whole documents into rows.

Everything streams and follows from the seed, so a resumed run finds its place by passing over what it has
seen.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from reread.errors import CorpusError
from reread.runs import content_seed
from reread.types import Document

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SHUFFLE_BUFFER = 4096
"""Documents held for shuffling; with OPEN_ROWS it bounds the memory of the stream."""
OPEN_ROWS = 16
TOKENIZE_AT_ONCE = 512
IGNORED = -100
"""Target of a position that carries no loss (padding); cross_entropy's own convention."""

Batch = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]


def document_text(document: Document) -> str:
    """A document as it is trained on, and as passages are put before a question: the title on a line of its
    own."""
    return f"{document.title}\n{document.text}" if document.title else document.text


def shuffled(documents: Iterable[Document], seed: int, buffer_size: int = SHUFFLE_BUFFER) -> Iterator[Document]:
    """The documents in an order that a buffer of `buffer_size` can give."""
    rng = random.Random(seed)
    buffer: list[Document] = []
    for document in documents:
        if len(buffer) < buffer_size:
            buffer.append(document)
            continue
        place = rng.randrange(buffer_size)
        buffer[place], document = document, buffer[place]
        yield document
    rng.shuffle(buffer)
    yield from buffer


def token_ids(documents: Iterable[Document], tokenizer: Tokenizer, end: int) -> Iterator[list[int]]:
    """Each document's tokens after an end token: the end of one document is the start of the next."""
    waiting: list[str] = []
    for document in documents:
        waiting.append(document_text(document))
        if len(waiting) == TOKENIZE_AT_ONCE:
            yield from (
                [end, *encoding.ids] for encoding in tokenizer.encode_batch_fast(waiting, add_special_tokens=False)
            )
            waiting = []
    yield from ([end, *encoding.ids] for encoding in tokenizer.encode_batch_fast(waiting, add_special_tokens=False))


def pack(documents: Iterable[list[int]], row_length: int) -> Iterator[list[int]]:
    """Rows of at most `row_length` tokens, each of whole documents where they fit; a longer document is
    split.

    Best fit among OPEN_ROWS open rows; when nothing fits, the fullest row is closed. A page of passages and
    questions is so kept in one row, where the questions can look back at the passages.
    """
    rows: list[list[int]] = []
    for ids in documents:
        for start in range(0, len(ids), row_length):
            piece = ids[start : start + row_length]
            fitting = [row for row in rows if len(row) + len(piece) <= row_length]
            if fitting:
                max(fitting, key=len).extend(piece)
                continue
            if len(rows) >= OPEN_ROWS:
                fullest = max(range(len(rows)), key=lambda i: len(rows[i]))
                yield rows.pop(fullest)
            rows.append(list(piece))
    yield from rows


def batches(
    documents: Callable[[], Iterable[Document]],
    tokenizer: Tokenizer,
    *,
    end: int,
    context: int,
    batch_rows: int,
    seed: int,
) -> Iterator[Batch]:
    """Endless (inputs, targets), int64 (batch_rows, context); the corpus is read again each epoch, shuffled
    anew.

    Padding is the end token in the inputs and IGNORED in the targets. Raises CorpusError on an empty corpus.
    """
    rows: list[list[int]] = []
    epoch = 0
    while True:
        n_before = epoch, len(rows)
        found = False
        stream = shuffled(documents(), content_seed(seed, "epoch", epoch))
        for row in pack(token_ids(stream, tokenizer, end), context + 1):
            found = True
            rows.append(row)
            if len(rows) == batch_rows:
                yield _to_arrays(rows, context, end)
                rows = []
        if not found:
            raise CorpusError(f"the corpus holds no documents to train on (epoch {n_before[0]})")
        epoch += 1


def _to_arrays(rows: list[list[int]], context: int, end: int) -> Batch:
    inputs = np.full((len(rows), context), end, dtype=np.int64)
    targets = np.full((len(rows), context), IGNORED, dtype=np.int64)
    for i, row in enumerate(rows):
        n = min(len(row), context)
        inputs[i, :n] = row[:n]
        targets[i, : len(row) - 1] = row[1:]
    return inputs, targets

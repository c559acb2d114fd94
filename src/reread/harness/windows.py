"""Texts longer than a local reader's context, cut by tokens as lm-evaluation-harness cuts them."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

from reread.protocols import Scored
from reread.reading.likelihood import Tokens, score_tokens, tokenise
from reread.reading.local import HfReader

logger = logging.getLogger(__name__)


def score_cut(reader: HfReader, requests: Sequence[tuple[str, Sequence[str]]]) -> list[Scored]:
    """HfReader.loglikelihood, but a prefix that is too long loses its beginning, for each continuation as much as it
    needs."""
    rows, owners = [], []
    n_cut = 0
    for owner, tokens in enumerate(tokenise(reader, requests)):
        fits = len(tokens.prefix) + max(map(len, tokens.continuations)) - 1 <= reader.max_length
        n_cut += not fits
        for row in [tokens] if fits else [Tokens(tokens.prefix, [own]) for own in tokens.continuations]:
            room = max(1, reader.max_length + 1 - max(map(len, row.continuations)))
            rows.append(Tokens(row.prefix[-room:], row.continuations))
            owners.append(owner)
    if n_cut:
        logger.warning("%d prompts are longer than %s takes; their beginnings are cut off", n_cut, reader.spec)
    parts: list[list[Scored]] = [[] for _ in requests]
    for owner, scored in zip(owners, score_tokens(reader, rows), strict=True):
        parts[owner].append(scored)
    return [own[0] if len(own) == 1 else _joined(own) for own in parts]


def cut_to(reader: HfReader, texts: Sequence[str], room: int) -> list[str]:
    """The texts, without so much of their beginnings that `room` tokens fit behind them."""
    limit = reader.max_length - room
    cut = []
    n_cut = 0
    for text in texts:
        ids = reader.encode_prompts([text])[0] if len(text.encode()) > limit else []
        n_cut += len(ids) > limit
        n_kept = limit
        while len(ids) > limit:  # the text of some tokens may make more tokens by itself
            text = reader.tokenizer.decode(ids[-n_kept:], skip_special_tokens=True)
            ids = reader.encode_prompts([text])[0]
            n_kept -= 1
        cut.append(text)
    if n_cut:
        logger.warning("%d prompts are longer than %s takes; their beginnings are cut off", n_cut, reader.spec)
    return cut


def rolling_logprob(reader: HfReader, text: str) -> float:
    """Log-probability (nats) of the whole text: every token once, in windows that each fill the reader's context.

    The first window follows the BOS token (else EOS); the last one reaches back to be full, scoring only what is left.
    """
    ids = reader.encode([text])[0]
    size = reader.max_length
    windows = []
    for start in range(0, len(ids), size):
        end = min(start + size, len(ids))
        before = ids[max(0, end - size - 1) : start] if start else [reader.prefix_token]
        windows.append(Tokens(before, [ids[start:end]]))
    # One at a time: all of a window's logits are held at once.
    return math.fsum(score_tokens(reader, [window])[0].logprobs[0] for window in windows)


def _joined(parts: Sequence[Scored]) -> Scored:
    """One request's continuations that were scored apart."""
    return Scored(
        logprobs=tuple(value for part in parts for value in part.logprobs),
        n_tokens=tuple(n for part in parts for n in part.n_tokens),
        n_prompt_tokens=max(part.n_prompt_tokens for part in parts),
        n_computed_tokens=sum(part.n_computed_tokens for part in parts),
        greedy=tuple(value for part in parts for value in part.greedy or ()),
    )

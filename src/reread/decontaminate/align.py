"""The loops of fuzzy search, in the subset of Python that numba compiles; also runnable as they stand (slowly).

`seed_hits` looks short runs of tokens up; `candidates` finds where several of one question lie on nearly one diagonal;
`align` compares the question with the text there, token by token.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from reread.decontaminate.kernels import SLOT_MIX

WORD, NUMBER, VARIABLE = range(3)
"""Classes of tokens: letters, digits, one letter alone."""
_MATCH, _CHANGED, _LEFT_OUT, _PUT_IN = range(4)
_S33, _S6, _S63, _ONE, _ZERO = np.uint64(33), np.uint64(6), np.uint64(63), np.uint64(1), np.uint64(0)


def seed_hits(
    windows: Any, bits: Any, keys: Any, ids: Any, first: Any, owners: Any, offsets: Any, out_row: Any, out_diagonal: Any
) -> int:
    """For every place in the text where a stored seed begins: the rows that own it, and on which diagonal (text
    position minus position in the row). Returns how many; more than len(out_row) means that the rest did not fit."""
    n_out = 0
    last_bit, last_slot = np.uint64(len(bits) * 64 - 1), np.uint64(len(keys) - 1)
    for position in range(len(windows)):
        window = windows[position]
        mixed = window * SLOT_MIX
        mixed = mixed ^ (mixed >> _S33)
        bit = mixed & last_bit
        if (bits[bit >> _S6] >> (bit & _S63)) & _ONE == _ZERO:
            continue
        slot = mixed & last_slot
        while keys[slot] != window and keys[slot] != _ZERO:
            slot = (slot + _ONE) & last_slot
        if keys[slot] == _ZERO:
            continue
        seed = ids[slot]
        for place in range(first[seed], first[seed + 1]):
            if n_out < len(out_row):
                out_row[n_out] = owners[place]
                out_diagonal[n_out] = position - offsets[place]
            n_out += 1
    return n_out


def candidates(rows: Any, diagonals: Any, lengths: Any, needed: Any, slack: Any, out: Any) -> int:
    """Of hits sorted by row and diagonal, the runs that hold as many as the row needs on `slack` diagonals: row,
    lowest and highest diagonal. Returns how many (never more than hits)."""
    n_out = 0
    start = 0
    while start < len(rows):
        row = rows[start]
        stop = start
        while stop < len(rows) and rows[stop] == row and diagonals[stop] - diagonals[start] <= slack[row]:
            stop += 1
        if stop - start >= needed[row]:
            out[n_out, 0], out[n_out, 1], out[n_out, 2] = row, diagonals[start], diagonals[stop - 1]
            n_out += 1
            start = stop
        else:
            start += 1
    return n_out


def align(
    found: Any,
    n_found: int,
    first: Any,
    row_tokens: Any,
    row_classes: Any,
    row_weights: Any,
    text_tokens: Any,
    text_classes: Any,
    slack: Any,
    out: Any,
    scores: Any,
) -> None:
    """Compare each candidate's row with the text about its diagonals: the cheapest way from one to the other.

    A token left out or changed costs its weight, one put in the row's mean weight, a number changed to a number or a
    variable to a variable half, so that they are held against each other. Fills for every candidate `out` (text from,
    text to, row from, row to, changed numbers and variables, equal words) and `scores` (1 − cost / weight of the row
    with changed numbers at full cost, and at none).
    """
    longest = 0
    for i in range(n_found):
        row = found[i, 0]
        longest = max(longest, first[row + 1] - first[row])
    width = 0
    for i in range(n_found):
        width = max(width, found[i, 2] - found[i, 1] + longest + 2 * slack[found[i, 0]])
    cost = np.zeros((2, width + 2), np.float64)
    steps = np.zeros((longest + 1, width + 2), np.uint8)
    for i in range(n_found):
        row = found[i, 0]
        begin, length = first[row], first[row + 1] - first[row]
        low = max(0, found[i, 1] - slack[row])
        high = min(len(text_tokens), found[i, 2] + length + slack[row])
        n_text = high - low
        total = 0.0
        for a in range(length):
            total += row_weights[begin + a]
        put_in = total / length
        for b in range(n_text + 1):
            cost[0, b] = 0.0
        for a in range(1, length + 1):
            now, before = a & 1, (a - 1) & 1
            weight = row_weights[begin + a - 1]
            token, kind = row_tokens[begin + a - 1], row_classes[begin + a - 1]
            cost[now, 0] = cost[before, 0] + weight
            steps[a, 0] = _LEFT_OUT
            for b in range(1, n_text + 1):
                if text_tokens[low + b - 1] == token:
                    best, step = cost[before, b - 1], _MATCH
                else:
                    change = 0.5 * weight if kind != WORD and text_classes[low + b - 1] == kind else weight
                    best, step = cost[before, b - 1] + change, _CHANGED
                if cost[before, b] + weight < best:
                    best, step = cost[before, b] + weight, _LEFT_OUT
                if cost[now, b - 1] + put_in < best:
                    best, step = cost[now, b - 1] + put_in, _PUT_IN
                cost[now, b] = best
                steps[a, b] = step
        last = length & 1
        end = 0
        for b in range(1, n_text + 1):
            if cost[last, b] < cost[last, end]:
                end = b
        a, b = length, end
        spent, spent_on_slots = 0.0, 0.0
        n_slots, n_words = 0, 0
        text_from, text_to, row_from, row_to = -1, -1, length, 0
        while a > 0:
            step = steps[a, b]
            if step == _PUT_IN:
                spent += put_in
                b -= 1
                continue
            a -= 1
            if step == _LEFT_OUT:
                spent += row_weights[begin + a]
                continue
            b -= 1
            if step == _CHANGED:
                if row_classes[begin + a] != WORD and text_classes[low + b] == row_classes[begin + a]:
                    n_slots += 1
                    spent_on_slots += row_weights[begin + a]
                else:
                    spent += row_weights[begin + a]
            else:
                n_words += row_classes[begin + a] == WORD
                text_from, row_from = b, a
                if text_to < 0:
                    text_to, row_to = b + 1, a + 1
        out[i, 0], out[i, 1] = low + text_from, low + text_to
        out[i, 2], out[i, 3] = row_from, row_to
        out[i, 4], out[i, 5] = n_slots, n_words
        scores[i, 0] = 1.0 - (spent + spent_on_slots) / total
        scores[i, 1] = 1.0 - spent / total


class Kernels(NamedTuple):
    """The loops above, compiled."""

    seed_hits: Callable[..., int]
    candidates: Callable[..., int]
    align: Callable[..., None]


@functools.cache
def compiled() -> Kernels:
    """The loops, compiled on first use; see kernels.compiled."""
    import numba

    def compile_all(cache: bool) -> Kernels:
        compile_loop = numba.njit(cache=cache, nogil=True)
        return Kernels(compile_loop(seed_hits), compile_loop(candidates), compile_loop(align))

    try:
        return compile_all(cache=True)
    except RuntimeError:
        return compile_all(cache=False)

"""The inner loops of exact vector search, compiled by numba. Import this module inside functions: it loads numba.

Half-precision numbers come as their bits (uint16), as numba knows no float16. The loops release the interpreter's
lock; numba keeps the machine code on disk for the next process.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np

CHUNK = 64
"""Scores looked at together: nearly always none of them is good enough, and the largest tells that."""


def loop(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function compiled, on first use."""
    try:
        compiled: Callable[..., Any] = numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:
        # No folder to cache in (a read-only installation without a home): compile in every process.
        compiled = numba.njit(nogil=True)(function)
    return compiled


@loop
def to_bfloat16(halves: Any, out: Any) -> None:
    """float16 bits → bfloat16 bits, to the nearest, ties to even; below 2^-14 to 0 or 2^-14, whichever is nearer.

    Sixteen-bit arithmetic throughout: half the registers of float32's, and the reason that this pass costs little.
    """
    for i in range(halves.size):
        bits = halves[i]
        m = np.uint16(bits & np.uint16(0x7FFF))
        even = np.uint16(np.uint16(m >> np.uint16(3)) & np.uint16(1))
        rounded = np.uint16(np.uint16(m + np.uint16(np.uint16(3) + even)) >> np.uint16(3))
        r = np.uint16(rounded + np.uint16(112 << 7))
        if m < np.uint16(0x400):
            r = np.uint16(0x3880) if m >= np.uint16(0x200) else np.uint16(0)
        out[i] = np.uint16(r | np.uint16(bits & np.uint16(0x8000)))


@loop
def to_float32(halves: Any, out: Any) -> None:
    """float16 bits → float32 bits, exactly; infinities and NaN become large numbers (see `block_facts`)."""
    for i in range(halves.size):
        bits = np.uint32(halves[i])
        m = bits & np.uint32(0x7FFF)
        if m >= np.uint32(0x400):
            r = (m << np.uint32(13)) + np.uint32(112 << 23)
        else:
            r = np.float32(m * np.float32(2.0**-24)).view(np.uint32)
        out[i] = ((bits & np.uint32(0x8000)) << np.uint32(16)) | r


@loop
def block_facts(halves: Any, singles: Any, brains: Any) -> tuple[float, float]:
    """(largest length of a row, largest distance of a row from its bfloat16 form); infinite for a NaN or infinity.

    halves (n, d): float16 bits. singles, brains (d,): scratch.
    """
    longest, farthest = 0.0, 0.0
    for i in range(halves.shape[0]):
        row = halves[i]
        top = np.uint16(0)
        for j in range(row.size):
            m = np.uint16(row[j] & np.uint16(0x7FFF))
            top = m if m > top else top
        if top >= np.uint16(0x7C00):
            return np.inf, np.inf
        to_float32(row, singles)
        to_bfloat16(row, brains)
        exact = singles.view(np.float32)
        length, distance = np.zeros(16, np.float32), np.zeros(16, np.float32)
        whole = row.size - row.size % 16
        for j in range(0, whole, 16):
            for lane in range(16):
                x = exact[j + lane]
                off = x - np.uint32(np.uint32(brains[j + lane]) << np.uint32(16)).view(np.float32)
                length[lane] += x * x
                distance[lane] += off * off
        for j in range(whole, row.size):
            x = exact[j]
            off = x - np.uint32(np.uint32(brains[j]) << np.uint32(16)).view(np.float32)
            length[0] += x * x
            distance[0] += off * off
        longest = max(longest, length.sum())
        farthest = max(farthest, distance.sum())
    return np.sqrt(longest), np.sqrt(farthest)


@loop
def _least(floor: Any, error: Any, unit: Any, shift: Any) -> tuple[Any, Any]:
    """The smallest measured score whose upper bound reaches the floor, a hair lower; and its bits where positive."""
    least = floor - error
    least = least / (1.0 + unit) if least > 0 else least / (1.0 - unit)
    least -= 1e-6 * abs(least)
    raw = np.int64(np.float32(least).view(np.uint32) >> np.uint32(shift)) if least > 0 else np.int64(0)
    return least, raw


@loop
def _compact(q: Any, k: Any, floors: Any, rows: Any, lows: Any, highs: Any, counts: Any) -> None:
    count = counts[q]
    if count >= k:
        floors[q] = max(floors[q], np.partition(lows[q, :count], count - k)[count - k])
    kept = 0
    for place in range(count):
        if highs[q, place] >= floors[q]:
            rows[q, kept], lows[q, kept], highs[q, kept] = rows[q, place], lows[q, place], highs[q, place]
            kept += 1
    counts[q] = kept


@loop
def keep_best(
    bits: Any,
    shift: Any,
    unit: Any,
    first: Any,
    hidden: Any,
    errors: Any,
    k: Any,
    floors: Any,
    rows: Any,
    lows: Any,
    highs: Any,
    counts: Any,
    start: Any,
) -> int:
    """Adds a block's rows that may be among a query's k best; returns where it stopped, query · n + row.

    bits (q, n): the block's scores, float32 bits shifted right by `shift` (0: float32, 16: bfloat16). first: the
    global number of the block's row 0. hidden: bool (n,) or empty. A score is off by at most
    errors[query] + unit·|score|. floors: the k-th best score of a query is known to be at least this.
    rows, lows, highs (q, room): the rows kept, each with its score's bounds, counts[query] of them. start: where to
    begin. A return below q · n says that query's room is full: take its rows out, then go on from there.
    """
    n_queries, n = bits.shape
    room = rows.shape[1]
    for q in range(start // n, n_queries):
        line = bits[q]
        at = start % n if q == start // n else 0
        least, raw = _least(floors[q], errors[q], unit, shift)
        while at < n:
            end = min(at + CHUNK, n)
            if least > 0:
                top = line[at]
                for c in range(at + 1, end):
                    top = line[c] if line[c] > top else top
                if top < raw:
                    at = end
                    continue
            if room - counts[q] < CHUNK:
                _compact(q, k, floors, rows, lows, highs, counts)
                if room - counts[q] < CHUNK:
                    return q * n + at
                least, raw = _least(floors[q], errors[q], unit, shift)
            for c in range(at, end):
                score = np.float64(np.uint32(np.uint32(line[c]) << np.uint32(shift)).view(np.float32))
                if score >= least and not (hidden.size and hidden[c]):
                    off = errors[q] + unit * abs(score)
                    place = counts[q]
                    rows[q, place] = first + c
                    lows[q, place] = score - off
                    highs[q, place] = score + off
                    counts[q] = place + 1
            at = end
        if counts[q] >= 2 * k + 32:
            _compact(q, k, floors, rows, lows, highs, counts)
    return n_queries * n


@loop
def exact_scores(halves: Any, rows: Any, queries: Any, query_of: Any, out: Any) -> None:
    """out[i] = halves[rows[i]] · queries[query_of[i]] in float64, summed in one order: eight lanes, then the lanes.

    Every product is exact (11 + 24 bits), so that neither fused multiply-adds nor the cut of the store change a bit.
    """
    d = halves.shape[1]
    singles = np.empty(d, np.uint32)
    exact = singles.view(np.float32)
    whole = d - d % 8
    for i in range(rows.size):
        to_float32(halves[rows[i]], singles)
        query = queries[query_of[i]]
        lanes = np.zeros(8)
        for j in range(0, whole, 8):
            for lane in range(8):
                lanes[lane] += np.float64(exact[j + lane]) * query[j + lane]
        for j in range(whole, d):
            lanes[j - whole] += np.float64(exact[j]) * query[j]
        out[i] = ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) + ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]))

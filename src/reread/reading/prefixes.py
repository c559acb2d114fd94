"""Which rows of tokens begin alike, and where keeping what they share saves passes through a model."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

LEAST_SEGMENT = 16
"""A shared stretch below this many tokens (a BOS token, a template's head) is not worth a pass of its own."""
MAX_CUTS = 4
"""Each further cut of a path keeps one more copy of the cache of what stands before it."""


@dataclass(frozen=True, slots=True)
class Group:
    """Rows that begin with the same tokens."""

    cuts: tuple[int, ...]
    """Lengths, growing, at which the cache of the common beginning is kept; empty where nothing is shared."""
    sample: int
    """A row that has the common beginning."""
    members: list[int] = field(default_factory=list)
    """Rows that share `cuts[-1]` tokens and no kept longer beginning; may be empty above other groups."""

    @property
    def length(self) -> int:
        """Tokens of the common beginning."""
        return self.cuts[-1] if self.cuts else 0


def group_by_prefix(rows: Sequence[Sequence[int]], least_saved: int) -> list[Group]:
    """Groups of rows that share a beginning, every row in exactly one, a group before those within it.

    A beginning is kept where it spares at least `least_saved` tokens: (rows - 1) x (its length beyond the
    beginning kept around it). Every row has at least one token left behind its group's beginning.
    """
    order = sorted(range(len(rows)), key=lambda i: list(rows[i]))
    shared = [n_shared(rows[a], rows[b]) for a, b in itertools.pairwise(order)]
    groups: list[Group] = []
    # Intervals of the sorted rows; the last pushed comes first, so a group's own parts follow it at once.
    waiting: list[tuple[int, int, Group | None]] = [(0, len(order), None)] if order else []
    while waiting:
        first, end, owner = waiting.pop()
        if end - first > 1:
            common = min(shared[first : end - 1])
            cuts = owner.cuts if owner else ()
            segment = common - (cuts[-1] if cuts else 0)
            pays = segment >= LEAST_SEGMENT and (end - first - 1) * segment >= least_saved
            if pays and len(cuts) < MAX_CUTS:
                owner = Group((*cuts, common), order[first])
                groups.append(owner)
        if owner is None:
            owner = Group((), order[first])
            groups.append(owner)
        if end - first == 1:
            owner.members.append(order[first])
            continue
        starts = [first, *(i + 1 for i in range(first, end - 1) if shared[i] == common)]
        ends = [*starts[1:], end]
        waiting.extend((a, b, owner) for a, b in zip(reversed(starts), reversed(ends), strict=True))
    return groups


def n_shared(a: Sequence[int], b: Sequence[int]) -> int:
    """Tokens at the beginning that two rows have in common, leaving both at least one of their own."""
    longest = min(len(a), len(b)) - 1
    for i in range(longest):
        if a[i] != b[i]:
            return i
    return max(0, longest)

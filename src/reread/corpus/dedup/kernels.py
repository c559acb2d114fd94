"""The loops over sketches, compiled by numba. Imported where they are used: the first call of all takes seconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    try:
        return numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:
        # Neither the package's folder nor the user's cache can be written: compile for this process alone.
        return numba.njit(nogil=True)(function)


@_compiled
def agreement(a: Any, b: Any) -> int:
    """On how many functions two sketches agree."""
    same = 0
    for i in range(len(a)):
        same += a[i] == b[i]
    return same


@_compiled
def root(clusters: Any, document: int) -> int:
    """The first document of the cluster, halving the way there (union-find)."""
    while clusters[document] != document:
        clusters[document] = clusters[clusters[document]]
        document = clusters[document]
    return document


@_compiled
def join(documents: Any, starts: Any, sketches: Any, clusters: Any, least: int, most_leaders: int) -> None:
    """Join the clusters of documents of one group (documents[starts[g] : starts[g + 1]]) that agree on `least`."""
    leaders = np.empty(most_leaders, dtype=np.int64)
    for group in range(len(starts) - 1):
        n_leaders = 0
        for place in range(starts[group], starts[group + 1]):
            document = documents[place]
            own = root(clusters, document)
            is_joined = False
            for number in range(n_leaders):
                other = root(clusters, leaders[number])
                if other == own:
                    is_joined = True
                    break
                if agreement(sketches[document], sketches[leaders[number]]) >= least:
                    clusters[max(own, other)] = min(own, other)
                    is_joined = True
                    break
            if not is_joined and n_leaders < most_leaders:
                leaders[n_leaders] = document
                n_leaders += 1


@_compiled
def flatten(clusters: Any) -> None:
    """Every document points at the first of its cluster."""
    for document in range(len(clusters)):
        clusters[document] = root(clusters, document)


@_compiled
def elect(members: Any, starts: Any, sketches: Any, least: int) -> Any:
    """(kept, agreement) of each member of each cluster, in order; kept: the one it repeats, or −1 where it stays."""
    kept = np.full(len(members), -1, dtype=np.int64)
    agreements = np.zeros(len(members), dtype=np.int64)
    staying = np.empty(len(members), dtype=np.int64)
    for group in range(len(starts) - 1):
        n_staying = 0
        for place in range(starts[group], starts[group + 1]):
            for number in range(n_staying):
                same = agreement(sketches[members[place]], sketches[staying[number]])
                if same >= least:
                    kept[place] = staying[number]
                    agreements[place] = same
                    break
            if kept[place] < 0:
                staying[n_staying] = members[place]
                n_staying += 1
    return kept, agreements

"""Views: the ways in which one arm looks at one question.

A view is one prompt. An arm that does not vote has one view. An arm that votes has up to n: a reader that generates
draws samples from its views; a reader scored by log-likelihood is deterministic, so its views must differ, and they
do in what may not matter to the answer: the order of the lettered options, the wording of a cloze question, the part
of the passages that a bag holds. Everything random comes from a seed made of the question's own content.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from reread.answering.arms import Arm
from reread.answering.settings import Settings
from reread.runs import content_seed
from reread.types import Hit, Question

SAMPLED_FORMS = ("short", "chat")
"""Prompt forms in which the reader writes its answer; in the others the options' likelihoods are read."""


@dataclass(frozen=True, slots=True)
class View:
    """One way to put a question."""

    hits: tuple[Hit, ...]
    wording: str | None = None
    """Another wording of the question; None is its own text."""
    option_order: tuple[int, ...] | None = None
    """Published positions in the order shown; None is the published order."""
    n_draws: int = 1
    """Samples drawn from this view; always 1 where log-likelihoods are read."""
    group: int = 0
    """Which group of passages it shows, counted from the best; one for all but `docs`."""


def views_of(question: Question, hits: Sequence[Hit], arm: Arm, settings: Settings) -> list[View]:
    """The arm's views of a question. A cloze question without other wordings has one: nothing in it can vary.

    `docs` looks at each group of hits alone (and at the bare question where nothing was found): consecutive hits by
    rank, so that the best stand together and the last group may be smaller.
    """
    if arm.n_samples is not None:
        settings = replace(settings, n_samples=arm.n_samples)
    if arm.docs:
        starts = range(0, len(hits), arm.group)
        groups = [tuple(hits[start : start + arm.group]) for start in starts] or [()]
        return [
            replace(view, group=number)
            for number, shown in enumerate(groups)
            for view in _varied(question, shown, settings, vary=True, bag=False)
        ]
    return _varied(question, tuple(hits), settings, vary=arm.vote, bag=arm.bag)


def _varied(question: Question, hits: tuple[Hit, ...], settings: Settings, *, vary: bool, bag: bool) -> list[View]:
    sampled = settings.form in SAMPLED_FORMS
    wordings = _wordings(question) if vary and settings.form == "cloze" else [None]
    lettered = vary and settings.form == "letters"
    if bag or lettered:
        n_views = settings.n_samples
    else:
        n_views = min(settings.n_samples, len(wordings))
    views = []
    for number in range(n_views):
        order, shown = None, hits
        if lettered or bag:
            draw = random.Random(content_seed(settings.seed, question.id, question.text, number))
            # First the order: it is the same whether or not there are bags.
            order = _permutation(question, draw, number) if lettered else None
            shown = _bag(hits, settings.bag_frac, draw) if bag else hits
        views.append(
            View(
                hits=shown,
                wording=wordings[number % len(wordings)],
                option_order=order,
                n_draws=settings.n_samples if vary and sampled and not bag else 1,
            )
        )
    return views


def _wordings(question: Question) -> list[str | None]:
    """The question's own text first, then its other wordings."""
    return [None, *question.meta.get("wordings", ())]


def _permutation(question: Question, draw: random.Random, number: int) -> tuple[int, ...] | None:
    """The published order first, then seeded permutations."""
    if question.choices is None or number == 0:
        return None
    order = list(range(len(question.choices)))
    draw.shuffle(order)
    return tuple(order)


def _bag(hits: tuple[Hit, ...], bag_frac: float, draw: random.Random) -> tuple[Hit, ...]:
    """A random part of the hits, at least one, in their own order (bagging: Breiman 1996)."""
    size = max(1, math.ceil(len(hits) * bag_frac))
    if size >= len(hits):
        return hits
    return tuple(hits[index] for index in sorted(draw.sample(range(len(hits)), size)))

"""The world's things and facts, computed when asked for: nothing is stored, so a world of any size costs no
memory.

A thing is a kind and an index; a fact is a thing, a relation and an object. All of it follows from the seed
by hash.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from functools import lru_cache

from reread.runs import content_seed
from reread.world.names import NamePool, make_pools
from reread.world.schema import KINDS, SCHEMA, VALUES, Relation

N_CONTROL_PER_KIND = 200
"""Indexes set aside for things that no document names; the control benchmark asks about them. A longer control
goes on after the once-only things, so that the names of a world do not hang on the number of questions."""


@dataclass(frozen=True, slots=True)
class Thing:
    kind: str
    index: int


@dataclass(frozen=True, slots=True)
class Fact:
    subject: Thing
    relation: int
    """Position in SCHEMA[kind]."""

    @property
    def schema(self) -> Relation:
        return SCHEMA[self.subject.kind][self.relation]


class Facts:
    """Names, popularity and objects of every thing in a world.

    Indexes below `n_per_kind` are the encyclopedia's, by popularity; the next N_CONTROL_PER_KIND are in no
    document; those after them are once-only: each is met on one exercise page and nowhere else. Where `n_control`
    asks for more than the indexes set aside, the rest of the control follows the once-only things.
    """

    def __init__(
        self, seed: int, n_things: int, n_once: int, n_notable: int, n_targets: int, n_control: int = 0
    ) -> None:
        self.seed = seed
        self.n_things = n_things
        self.n_per_kind = -(-n_things // len(KINDS))
        self.n_targets = min(n_targets, self.n_per_kind)
        self._first_once = self.n_per_kind + N_CONTROL_PER_KIND
        self._first_after_once = self._first_once + -(-n_once // len(KINDS))
        n_further_control = max(0, -(-n_control // len(KINDS)) - N_CONTROL_PER_KIND)
        n_names = self._first_after_once + n_further_control + 1
        self._pools: dict[str, NamePool] = make_pools(KINDS, n_names, n_notable, seed)
        self._object = lru_cache(maxsize=65_536)(self._draw_object)

    def by_popularity(self, rng: random.Random, shift: float) -> Thing:
        """A thing drawn by Zipf's law with exponent 1: the r-th has weight about 1 / (r + shift).

        The law's distribution function is inverted in closed form, so no table grows with the world.
        """
        top = self.n_things
        rank = int((shift + 1) * math.exp(rng.random() * math.log((top + shift + 1) / (shift + 1))) - shift - 1)
        rank = min(rank, top - 1)
        return Thing(KINDS[rank % len(KINDS)], rank // len(KINDS))

    def control(self, number: int) -> Thing:
        """The number-th thing that no document names."""
        place = number // len(KINDS)
        if place < N_CONTROL_PER_KIND:
            return Thing(KINDS[number % len(KINDS)], self.n_per_kind + place)
        return Thing(KINDS[number % len(KINDS)], self._first_after_once + place - N_CONTROL_PER_KIND)

    def once_only(self, number: int) -> Thing:
        """The number-th thing that one exercise page alone speaks of."""
        return Thing(KINDS[number % len(KINDS)], self._first_once + number // len(KINDS))

    def name(self, thing: Thing) -> str:
        return self._pools[thing.kind].name(thing.index)

    def object_name(self, fact: Fact) -> str:
        """The fact's object, as it is written."""
        return self._object(fact)

    def _draw_object(self, fact: Fact) -> str:
        draw = content_seed(self.seed, "fact", fact.subject.kind, fact.subject.index, fact.relation)
        return self.target_name(fact.schema.target, draw % self.n_options(fact.schema.target))

    def n_options(self, target: str) -> int:
        """How many different objects relations with this target have."""
        return len(VALUES[target]) if target in VALUES else self.n_targets

    def target_name(self, target: str, number: int) -> str:
        return VALUES[target][number] if target in VALUES else self.name(Thing(target, number))

    def object_thing(self, fact: Fact) -> Thing | None:
        """The object as a thing, where it is one."""
        target = fact.schema.target
        if target in VALUES:
            return None
        draw = content_seed(self.seed, "fact", fact.subject.kind, fact.subject.index, fact.relation)
        return Thing(target, draw % self.n_options(target))

    def vocabulary(self) -> set[str]:
        """Every word of every name."""
        return {w for p in self._pools.values() for part in (p.notable, p.given, p.stems) for w in part}

"""Names from syllables: nothing is copied from anywhere, and a name never means anything.

Each kind of thing has two pools of stems. Notable things bear one word of their own ("Varlon"); the others
bear a given word and a stem that they share with others of their kind ("Mira Soldan"). So a modest vocabulary
names any number of things, and a retriever meets namesakes, as it does in a real encyclopedia.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from reread.runs import content_seed


def _letters(text: str) -> tuple[str, ...]:
    return tuple(text.split())


ONSETS = _letters("b br c ch d dr f fl g gr h j k kl l m n p pr qu r s sh st t tr v w y z")
VOWELS = _letters("a e i o u ai ea ou")
CODAS = _letters("l n r s t m nd rn x th")


def syllable_words(n: int, seed: int, *, n_syllables: int = 2, suffixes: Sequence[str] = ("",)) -> list[str]:
    """`n` different lower-case words of `n_syllables` syllables, each ending in one of the suffixes.

    Words that other calls with another seed make may coincide with these; `NamePool` keeps its own apart.
    """
    rng = random.Random(content_seed("words", seed, n_syllables, *suffixes))
    words: dict[str, None] = {}
    while len(words) < n:
        # A longer word every time the short ones run thin, so that any number can be had.
        length = n_syllables + (len(words) > 20_000) + (len(words) > 400_000)
        body = "".join(rng.choice(ONSETS) + rng.choice(VOWELS) for _ in range(length))
        words[body + rng.choice(CODAS) + rng.choice(suffixes)] = None
    return list(words)


@dataclass(frozen=True, slots=True)
class NamePool:
    """The names of one kind: index i → a name that no other index has."""

    notable: tuple[str, ...]
    """One-word names, for the first indexes."""
    given: tuple[str, ...]
    stems: tuple[str, ...]
    order: tuple[int, ...]
    """A shuffled order of the (given, stem) pairs' stems, so that neighbours do not share a stem."""

    def __len__(self) -> int:
        return len(self.notable) + len(self.given) * len(self.stems)

    def name(self, index: int) -> str:
        """The name of the index-th thing; raises IndexError past the pool's size."""
        if index < len(self.notable):
            return self.notable[index]
        rest = index - len(self.notable)
        round_, column = divmod(rest, len(self.stems))
        if round_ >= len(self.given):
            raise IndexError(f"this pool has {len(self)} names, not {index + 1}")
        # Each round over the stems gives every stem another given word; the offset mixes them.
        return f"{self.given[(round_ + self.order[column]) % len(self.given)]} {self.stems[column]}"


def make_pools(kinds: Sequence[str], n_names: int, n_notable: int, seed: int, n_given: int = 80) -> dict[str, NamePool]:
    """A pool of at least `n_names` names for each kind; kinds and parts of names share no word."""
    n_stems = max(120, -(-max(0, n_names - n_notable) // n_given))
    per_kind = n_notable + n_given + n_stems
    words = [word.capitalize() for word in syllable_words(per_kind * len(kinds), seed)]
    pools: dict[str, NamePool] = {}
    for i, kind in enumerate(kinds):
        mine = words[i * per_kind : (i + 1) * per_kind]
        rng = random.Random(content_seed("order", seed, kind))
        order = tuple(rng.randrange(n_given) for _ in range(n_stems))
        pools[kind] = NamePool(
            notable=tuple(mine[:n_notable]),
            given=tuple(mine[n_notable : n_notable + n_given]),
            stems=tuple(mine[n_notable + n_given :]),
            order=order,
        )
    return pools

"""The world's benchmarks: questions drawn by how often their fact is mentioned.

world           four options, one fact
world-short     the same kind of facts, answered in words, scored by exact match after normalisation
world-multihop  four options, two facts from two articles
world-control   four options about things that no document names: nothing can help, chance is the honest score
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reread.runs import content_seed
from reread.types import Question
from reread.world.entities import Fact
from reread.world.schema import KINDS, SCHEMA

if TYPE_CHECKING:
    from reread.world.encyclopedia import World

BENCHMARKS = ("world", "world-short", "world-multihop", "world-control")
LETTERS = "ABCD"
N_ASKED = 2
"""Facts held out for each question asked for: one in `world`, another in `world-short`."""


@dataclass(frozen=True)
class QuestionSet:
    """The facts that the benchmarks ask about."""

    single: tuple[Fact, ...]
    short: tuple[Fact, ...]
    control: tuple[Fact, ...]
    held_out: frozenset[Fact]
    """Facts no exercise page may ask about (their articles state them all the same)."""
    leaks: dict[int, tuple[Fact, ...]]
    """Exercise page → benchmark facts that it prints all the same: the contamination there is to find."""

    @classmethod
    def draw(cls, world: World, n: int, leaked_frac: float) -> QuestionSet:
        """Draw articles evenly and a fact of each: facts come up as often as mentioned, and are stated."""
        rng = random.Random(content_seed(world.seed, "questions"))
        drawn: dict[Fact, None] = {}
        tries = 0
        while len(drawn) < N_ASKED * n and tries < 200 * n:
            drawn[rng.choice(world.plan(rng.randrange(world.n_articles)).facts)] = None
            tries += 1
        facts = list(drawn)
        rng.shuffle(facts)
        single, short = tuple(facts[: len(facts) // 2]), tuple(facts[len(facts) // 2 :])
        n_leaked = min(world.n_pages, int(leaked_frac * len(facts)))
        numbers = rng.sample(range(world.n_pages), n_leaked)
        leaks: dict[int, tuple[Fact, ...]] = {
            page: (fact,) for page, fact in zip(numbers, rng.sample(facts, n_leaked), strict=True)
        }
        control = tuple(
            Fact(thing := world.facts.control(i), (i // len(KINDS)) % len(SCHEMA[thing.kind])) for i in range(n)
        )
        return cls(single, short, control, frozenset(facts), leaks)

    def build(self, world: World) -> dict[str, list[Question]]:
        """Word the questions and name the articles that state their facts, in one pass over the articles'
        plans."""
        hops = list(self._draw_hops(world))
        wanted = {fact for pair in hops for fact in pair} | self.held_out
        stated: dict[Fact, list[str]] = {}
        for number in range(world.n_articles):
            for fact in world.plan(number).facts:
                if fact in wanted:
                    stated.setdefault(fact, []).append(f"world-{number:06d}")
        both_stated = [pair for pair in hops if pair[0] in stated and pair[1] in stated]
        single = [_question(world, "world", i, (fact,), stated) for i, fact in enumerate(self.single)]
        short = [_question(world, "world-short", i, (fact,), stated) for i, fact in enumerate(self.short)]
        multihop = [
            _question(world, "world-multihop", i, pair, stated)
            for i, pair in enumerate(both_stated[: len(self.single)])
        ]
        control = [_question(world, "world-control", i, (fact,), stated) for i, fact in enumerate(self.control)]
        return {"world": single, "world-short": short, "world-multihop": multihop, "world-control": control}

    def _draw_hops(self, world: World) -> Iterator[tuple[Fact, Fact]]:
        """Pairs of facts where the second is about the first's object; more than needed, some are not
        stated."""
        rng = random.Random(content_seed(world.seed, "hops"))
        seen: set[tuple[Fact, Fact]] = set()
        for _ in range(100 * len(self.single)):
            if len(seen) >= 2 * len(self.single):
                return
            first = rng.choice(world.plan(rng.randrange(world.n_articles)).facts)
            bridge = world.facts.object_thing(first)
            if bridge is None:
                continue
            pair = (first, Fact(bridge, rng.randrange(len(SCHEMA[bridge.kind]))))
            if pair not in seen:
                seen.add(pair)
                yield pair


def _question(
    world: World, benchmark: str, number: int, chain: tuple[Fact, ...], stated: dict[Fact, list[str]]
) -> Question:
    fact, facts = chain[-1], world.facts
    if len(chain) == 1:
        subject = facts.name(fact.subject)
    else:
        subject = _noun_phrase(world, chain[0])
    wordings = [wording.format(S=subject, O="") for wording in fact.schema.exercises]
    gold = facts.object_name(fact)
    question_id = f"{benchmark}-{number:05d}"
    choices: tuple[str, ...] | None = None
    answers: tuple[str, ...] = (gold,)
    if benchmark != "world-short":
        choices, letter = _options(world, fact, gold, question_id, number)
        answers = (letter,)
    documents = [doc_id for one in chain for doc_id in stated.get(one, ())]
    meta: dict[str, object] = {
        "wordings": wordings[1:],
        "relation": fact.schema.name,
        "n_mentions": len(documents),
    }
    if documents:
        meta["gold_doc_ids"] = documents
    if len(chain) > 1:
        meta["gold_doc_ids_by_hop"] = [stated.get(one, []) for one in chain]
    return Question(
        id=question_id,
        benchmark=benchmark,
        subject=fact.subject.kind,
        text=wordings[0],
        choices=choices,
        answers=answers,
        meta=meta,
    )


def _noun_phrase(world: World, fact: Fact) -> str:
    """ "the author of Varlon", from the relation's own exercise wording."""
    stem = fact.schema.exercises[0].format(S=world.facts.name(fact.subject), O="")
    return stem[0].lower() + stem[1:].rsplit(" is", 1)[0]


def _options(world: World, fact: Fact, gold: str, question_id: str, number: int) -> tuple[tuple[str, ...], str]:
    """Four options of one type, the right one in each place equally often."""
    rng = random.Random(content_seed(world.seed, question_id))
    target = fact.schema.target
    others: dict[str, None] = {}
    while len(others) < 3:
        other = world.facts.target_name(target, rng.randrange(world.facts.n_options(target)))
        if other != gold:
            others[other] = None
    # Blocks of four questions hold each place once, in a shuffled order.
    places = list(range(4))
    random.Random(content_seed(world.seed, "places", question_id.rsplit("-", 1)[0], number // 4)).shuffle(places)
    place = places[number % 4]
    options = list(others)
    options.insert(place, gold)
    return tuple(options), LETTERS[place]

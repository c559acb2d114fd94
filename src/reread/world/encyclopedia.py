"""The world itself: a stream of articles and exercise pages, and the questions whose answers they hold."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from reread.errors import UsageError
from reread.runs import content_seed
from reread.types import Document, Question
from reread.world.entities import Fact, Facts, Thing
from reread.world.questions import BENCHMARKS, LETTERS, N_ASKED, QuestionSet
from reread.world.schema import FILLERS, PRONOUNS, SCHEMA

SOURCE = "world.jsonl"
ZIPF_SHIFT = 10.0
"""Zipf-Mandelbrot shift: keeps the first few things from filling the encyclopedia; the tail keeps exponent
1."""
PASSAGES_ON_A_PAGE = (0, 0, 0, 0, 1, 1, 2, 3, 3, 3)
ONCE_ONLY_ON_A_PAGE = 2
"""Passages of a page, at most, on things that no other document speaks of: there, only reading helps."""
HELD_OUT_FRAC = 0.5
"""Share of the facts stated that the benchmarks may ask about at most: exercise pages ask about the others."""
LEAKED_FRAC = 0.06
"""Share of the benchmark questions that an exercise page prints word for word, with the answer."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What one article says, before it is worded."""

    subject: Thing
    facts: tuple[Fact, ...]


class World:
    """An encyclopedia with exercises, deterministic from its arguments and streamed at any size.

    n_articles: encyclopedia articles; `pages_per_article` exercise pages are strewn among them. Articles are
    about things drawn by Zipf's law, so the popular ones have many articles, each stating some of their facts
    in words of its own, and a large share of the things has one article or none.
    Raises UsageError for fewer than 100 articles or one question, for too few things to make four options of, and
    for more questions than the articles state facts for.
    """

    DEMO_ARTICLES = 20_000
    DEMO_QUESTIONS = 500

    def __init__(
        self,
        seed: int = 0,
        n_articles: int = DEMO_ARTICLES,
        *,
        n_questions: int = DEMO_QUESTIONS,
        pages_per_article: float = 0.5,
        n_things: int | None = None,
        n_notable: int = 120,
        n_targets: int = 100,
    ) -> None:
        if n_articles < 100:
            raise UsageError(f"a world needs at least 100 articles, not {n_articles}")
        if n_questions < 1:
            raise UsageError(f"a world needs at least one question, not {n_questions}")
        self.seed = seed
        self.n_articles = n_articles
        self.n_questions = n_questions
        self.n_pages = int(n_articles * pages_per_article)
        self.facts = Facts(
            seed,
            n_things=n_things or n_articles,
            n_once=ONCE_ONLY_ON_A_PAGE * self.n_pages,
            n_notable=n_notable,
            n_targets=n_targets,
            n_control=n_questions,
        )
        if self.facts.n_targets < len(LETTERS):
            raise UsageError(
                f"a world needs at least {len(LETTERS)} things of each kind to make options of, not "
                f"{self.facts.n_targets}; raise n_things or n_targets"
            )
        self._check_questions()

    def __len__(self) -> int:
        """Documents in the corpus."""
        return self.n_articles + self.n_pages

    def _check_questions(self) -> None:
        """Refuse more questions than leave the exercise pages something to ask; reads no more articles than needed."""
        needed = math.ceil(N_ASKED * self.n_questions / HELD_OUT_FRAC)
        stated: set[Fact] = set()
        for number in range(self.n_articles):
            stated.update(self.plan(number).facts)
            if len(stated) >= needed:
                return
        most = int(HELD_OUT_FRAC * len(stated)) // N_ASKED
        raise UsageError(
            f"{self.n_questions} questions are too many for a world of {self.n_articles} articles, which state "
            f"{len(stated)} facts; ask at most {most}, or take more articles"
        )

    # Articles -------------------------------------------------------------------------------------------------

    def plan(self, number: int) -> Plan:
        """What the number-th article is about and which facts it states."""
        rng = random.Random(content_seed(self.seed, "article", number))
        return self._plan(self.facts.by_popularity(rng, ZIPF_SHIFT), rng)

    def _plan(self, subject: Thing, rng: random.Random) -> Plan:
        n_relations = len(SCHEMA[subject.kind])
        stated = rng.sample(range(n_relations), rng.choice((3, 3, 4, 4, 5)))
        return Plan(subject, tuple(Fact(subject, relation) for relation in stated))

    def _word(self, plan: Plan, rng: random.Random) -> str:
        """The article's sentences: the first names the subject, later ones may use a pronoun."""
        name, pronoun = self.facts.name(plan.subject), PRONOUNS[plan.subject.kind]
        sentences: list[str] = []
        for fact in plan.facts:
            wording = rng.choice(fact.schema.articles)
            subject = pronoun if sentences and rng.random() < 0.25 else name
            sentences.append(wording.format(S=subject, O=self.facts.object_name(fact)))
        if rng.random() < 0.2:
            sentences.append(rng.choice(FILLERS).format(S=name))
        return " ".join(f"{sentence}." for sentence in sentences)

    def article(self, number: int) -> tuple[str, str]:
        """(title, text) of the number-th article."""
        plan = self.plan(number)
        return self.facts.name(plan.subject), self._word(plan, random.Random(content_seed(self.seed, "words", number)))

    # Exercise pages -------------------------------------------------------------------------------------------

    def page(self, number: int) -> str:
        """The number-th exercise page: passages, a blank line, then questions with their answers, one a line.

        Two pages in five are short revision pages with questions alone. On the others most questions are on
        the passages; some, and on a sixth of them all, are on other articles of the encyclopedia, so the
        passages do not always help. No page asks what a benchmark asks, but for the leaked share.
        """
        rng = random.Random(content_seed(self.seed, "page", number))
        n_passages = rng.choice(PASSAGES_ON_A_PAGE)
        passages: list[str] = []
        about: list[Fact] = []
        n_once = 0
        for _ in range(n_passages):
            if n_once < ONCE_ONLY_ON_A_PAGE and rng.random() < 0.6:
                subject = self.facts.once_only(ONCE_ONLY_ON_A_PAGE * number + n_once)
                n_once += 1
            else:
                subject = self.facts.by_popularity(rng, ZIPF_SHIFT)
            plan = self._plan(subject, rng)
            about.extend(plan.facts)
            passages.append(f"{self.facts.name(subject)}\n{self._word(plan, rng)}")
        rng.shuffle(about)
        n_questions = 5 if passages else rng.choice((1, 2, 3, 4))
        n_elsewhere = rng.choice((0, 0, 0, 1, 2, 5)) if passages else n_questions
        asked = [fact for fact in about[: n_questions - n_elsewhere] if fact not in self.question_set.held_out]
        asked.extend(self._other_facts(rng, n_elsewhere))
        asked = list(dict.fromkeys(asked))
        asked.extend(self.question_set.leaks.get(number, ()))
        rng.shuffle(asked)
        lines = []
        for fact in asked:
            leaked = fact in self.question_set.held_out
            wording = fact.schema.exercises[0] if leaked else rng.choice(fact.schema.exercises)
            stem = wording.format(S=self.facts.name(fact.subject), O="")
            lines.append(f"{stem} {self.facts.object_name(fact)}.")
        return "\n\n".join([*passages, "\n".join(lines)] if lines else passages)

    def _other_facts(self, rng: random.Random, n: int) -> Iterator[Fact]:
        """n facts, by mention, that no benchmark asks about."""
        while n:
            fact = rng.choice(self.plan(rng.randrange(self.n_articles)).facts)
            if fact not in self.question_set.held_out:
                yield fact
                n -= 1

    # The corpus and its questions -----------------------------------------------------------------------------

    def documents(self) -> Iterator[Document]:
        """The corpus in order: articles (title, text) with the exercise pages (no title) spread evenly among
        them."""
        page = 0
        for number in range(self.n_articles):
            title, text = self.article(number)
            yield Document(id=f"world-{number:06d}", text=text, source=SOURCE, title=title, meta={"type": "article"})
            while page < self.n_pages * (number + 1) // self.n_articles:
                yield Document(
                    id=f"world-page-{page:06d}",
                    text=self.page(page),
                    source=SOURCE,
                    meta={"type": "exercises"},
                )
                page += 1

    def clean_documents(self) -> Iterator[Document]:
        """The corpus without the documents that print a benchmark question with its answer: what is trained
        on."""
        questions = [*self.questions("world"), *self.questions("world-short")]
        leaked = {f"{question.text} {self._right_answer(question)}." for question in questions}
        for document in self.documents():
            if leaked.isdisjoint(document.text.split("\n")):
                yield document

    @staticmethod
    def _right_answer(question: Question) -> str:
        if question.choices is None:
            return question.answers[0]
        return question.choices["ABCD".index(question.answers[0])]

    @cached_property
    def question_set(self) -> QuestionSet:
        """The facts asked about, and where they leak; drawn without a pass over the corpus."""
        return QuestionSet.draw(self, self.n_questions, LEAKED_FRAC)

    @cached_property
    def _questions(self) -> dict[str, list[Question]]:
        return self.question_set.build(self)

    def questions(self, benchmark: str | None = None, n: int | None = None) -> list[Question]:
        """The questions of one benchmark (default `world`), the first n where n is given."""
        name = benchmark or "world"
        if name not in BENCHMARKS:
            raise UsageError(f"the world has no benchmark {name!r}; it has {', '.join(BENCHMARKS)}")
        return self._questions[name][:n]

    def benchmarks(self) -> dict[str, list[Question]]:
        """Every benchmark by name."""
        return dict(self._questions)

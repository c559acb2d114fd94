"""The world: what a user of its corpus and its questions relies on."""

from __future__ import annotations

import itertools
import re
import time
import tracemalloc
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest

from reread.errors import UsageError
from reread.types import Document, Question
from reread.world.encyclopedia import LEAKED_FRAC, World
from reread.world.schema import KINDS, SCHEMA, VALUES


@pytest.fixture(scope="module")
def world() -> World:
    return World(seed=3, n_articles=4000, n_questions=400)


@pytest.fixture(scope="module")
def documents(world: World) -> dict[str, Document]:
    return {document.id: document for document in world.documents()}


def gold(question: Question) -> str:
    """The right answer in words."""
    if question.choices is None:
        return question.answers[0]
    return question.choices["ABCD".index(question.answers[0])]


def subject_of(question: Question) -> str:
    """The thing asked about: the capitalised words after the question's first."""
    return " ".join(re.findall(r"(?<!^)\b[A-Z]\w+", question.text))


def test_equal_arguments_give_equal_worlds() -> None:
    one, other = World(5, 300, n_questions=50), World(5, 300, n_questions=50)
    assert list(one.documents()) == list(other.documents())
    assert one.benchmarks() == other.benchmarks()


def test_the_seed_matters() -> None:
    one, other = World(5, 300, n_questions=50), World(6, 300, n_questions=50)
    assert {d.text for d in one.documents()}.isdisjoint(d.text for d in other.documents() if d.title)
    assert one.benchmarks() != other.benchmarks()


def test_documents_have_unique_ids_and_the_promised_number(world: World, documents: dict[str, Document]) -> None:
    assert len(documents) == len(world) == sum(1 for _ in world.documents())


def test_memory_does_not_grow_with_the_part_of_the_corpus_that_was_read() -> None:
    world = World(0, 300_000, n_questions=50)
    stream = world.documents()
    tracemalloc.start()
    try:
        consume(stream, 500)
        early = tracemalloc.get_traced_memory()[0]
        consume(stream, 3000)
        late = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    # The cache of objects (bounded) is all that may grow: a few hundred bytes an entry, not the documents.
    assert late - early < 3000 * 2_000


def consume(stream: Iterator[Document], n: int) -> None:
    for _ in itertools.islice(stream, n):
        pass


def test_mentions_follow_zipfs_law(world: World) -> None:
    counts = Counter(world.plan(number).subject for number in range(world.n_articles))
    by_rank = np.zeros(world.facts.n_things)
    for thing, n in counts.items():
        rank = thing.index * len(KINDS) + KINDS.index(thing.kind)
        by_rank[rank] = n
    # Sums over octaves of the ranks: equal for exponent 1, once the shift is small beside the rank.
    octaves = [by_rank[2**i : 2 ** (i + 1)].sum() for i in range(6, 10)]
    slope = np.polyfit(np.arange(6, 10), np.log2(octaves), 1)[0]
    assert abs(slope) < 0.15
    assert sum(1 for n in counts.values() if n == 1) > 0.2 * len(counts)


def test_every_single_fact_question_is_answered_by_each_document_it_names(
    world: World, documents: dict[str, Document]
) -> None:
    for question in [*world.questions("world"), *world.questions("world-short")]:
        assert question.meta["gold_doc_ids"]
        for doc_id in question.meta["gold_doc_ids"]:
            document = documents[doc_id]
            assert document.title == subject_of(question)
            assert re.search(rf"\b{gold(question)}\b", document.text)


def test_a_multihop_answer_needs_two_articles(world: World, documents: dict[str, Document]) -> None:
    questions = world.questions("world-multihop")
    assert len(questions) >= 400
    for question in questions:
        first, second = question.meta["gold_doc_ids_by_hop"]
        bridge = documents[second[0]].title
        assert documents[first[0]].title == subject_of(question)
        assert all(bridge in documents[doc_id].text for doc_id in first)
        assert all(documents[doc_id].title == bridge for doc_id in second)
        assert all(gold(question) in documents[doc_id].text for doc_id in second)


@pytest.mark.parametrize("n_questions", [400, 1500])
def test_no_document_names_what_the_control_asks_about(n_questions: int) -> None:
    world = World(seed=3, n_articles=4000, n_questions=n_questions)
    asked = {subject_of(question) for question in world.questions("world-control")}
    assert len(asked) == n_questions
    text = "\n".join(f"{d.title}\n{d.text}" for d in world.documents())
    named = set(re.findall(r"\b[A-Z]\w+(?: [A-Z]\w+)?", text))
    assert named >= {d.title for d in world.documents()} - {""}
    assert not asked & named


def test_the_right_option_stands_equally_often_at_each_place(world: World) -> None:
    for name in ("world", "world-control"):
        counts = Counter(question.answers[0] for question in world.questions(name))
        assert max(counts.values()) - min(counts.values()) <= 1


def test_options_are_four_different_things_of_one_type(world: World) -> None:
    types = {value: target for target, values in VALUES.items() for value in values}
    names = {world.facts.target_name(kind, i): kind for kind in KINDS for i in range(world.facts.n_options(kind))}
    for question in itertools.chain.from_iterable(
        world.questions(name) for name in ("world", "world-multihop", "world-control")
    ):
        assert question.choices is not None
        assert len(set(question.choices)) == 4
        assert len({types.get(choice) or names[choice] for choice in question.choices}) == 1


def test_no_article_words_a_fact_as_a_question_does(documents: dict[str, Document]) -> None:
    stems = [w.split("{S}")[0] for k in SCHEMA.values() for r in k for w in r.exercises if not w.startswith("{S}")]
    articles = [d.text for d in documents.values() if d.title]
    assert not [stem for stem in stems if any(stem in text for text in articles)]


def test_the_documented_share_of_questions_leaks_and_no_more(world: World, documents: dict[str, Document]) -> None:
    questions = [*world.questions("world"), *world.questions("world-short")]
    lines = {line for d in documents.values() for line in d.text.split("\n")}
    leaked = [q for q in questions if any(f"{stem} {gold(q)}." in lines for stem in (q.text, *q.meta["wordings"]))]
    assert len(leaked) == int(LEAKED_FRAC * len(questions))


def test_the_clean_stream_drops_the_leaking_pages_alone(world: World, documents: dict[str, Document]) -> None:
    kept = {document.id for document in world.clean_documents()}
    dropped = [documents[doc_id].text for doc_id in documents if doc_id not in kept]
    questions = [*world.questions("world"), *world.questions("world-short")]
    printed = {f"{q.text} {gold(q)}." for q in questions}
    assert len(dropped) == int(LEAKED_FRAC * len(questions))
    assert all(printed & set(text.split("\n")) for text in dropped)


def test_passages_about_once_only_things_stand_on_one_page_alone(documents: dict[str, Document]) -> None:
    titles = Counter(d.title for d in documents.values() if d.title)
    on_pages: Counter[str] = Counter()
    for d in documents.values():
        if not d.title:
            on_pages.update({part.split("\n")[0] for part in d.text.split("\n\n")[:-1]})
    n_once = sum(1 for name, n in on_pages.items() if n == 1 and name not in titles)
    assert n_once > 0.3 * sum(on_pages.values())


def test_the_demo_fits_a_modest_vocabulary() -> None:
    world = World()
    words = set(world.facts.vocabulary())
    for kind in SCHEMA.values():
        for relation in kind:
            words.update(re.findall(r"\w+", " ".join((*relation.articles, *relation.exercises))))
    words.update(itertools.chain.from_iterable(VALUES.values()))
    assert len(words) <= 3000


def test_names_of_a_large_world_are_distinct() -> None:
    world = World(1, 200_000, n_questions=50)
    for kind in KINDS:
        names = {world.facts._pools[kind].name(i) for i in range(world.facts.n_per_kind)}
        assert len(names) == world.facts.n_per_kind


def test_more_questions_than_the_articles_have_facts_for_are_refused_at_once() -> None:
    started = time.monotonic()
    with pytest.raises(UsageError, match="500 questions are too many for a world of 100 articles") as refused:
        World(0, 100, n_questions=500)
    assert time.monotonic() - started < 1
    most = int(re.findall(r"at most (\d+)", str(refused.value))[0])
    with pytest.raises(UsageError, match="too many"):
        World(0, 100, n_questions=most + 1)


@pytest.mark.parametrize("seed", range(3))
def test_the_most_questions_that_a_world_takes_can_be_asked(seed: int) -> None:
    with pytest.raises(UsageError, match="ask at most") as refused:
        World(seed, 100, n_questions=10_000)
    most = int(re.findall(r"at most (\d+)", str(refused.value))[0])
    world = World(seed, 100, n_questions=most)
    assert [len(world.questions(name)) for name in ("world", "world-short")] == [most, most]
    assert sum(1 for _ in world.documents()) == len(world)


def test_a_world_without_things_for_four_options_or_without_questions_is_refused() -> None:
    with pytest.raises(UsageError, match="at least 4 things of each kind to make options of, not 3"):
        World(0, 100, n_questions=5, n_things=15)
    with pytest.raises(UsageError, match="at least one question, not 0"):
        World(0, 100, n_questions=0)


def test_too_small_a_world_and_an_unknown_benchmark_are_refused(world: World) -> None:
    with pytest.raises(UsageError, match="at least 100 articles, not 3"):
        World(0, 3)
    with pytest.raises(UsageError, match="no benchmark 'worlds'"):
        world.questions("worlds")

"""A question's life, top to bottom. Start here.

passages  →  views  →  prompts  →  samples  →  votes  →  answer
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from reread.answering.arms import Arm
from reread.answering.consistency import most_consistent
from reread.answering.passages import Found, PassageFinder
from reread.answering.settings import Settings
from reread.answering.views import SAMPLED_FORMS, View, views_of
from reread.answering.voting import elect, tally
from reread.errors import ReaderError, UsageError
from reread.protocols import Reader, Scored, Scorer, Solver
from reread.questions import LETTERS
from reread.reading.prompts import Prompt, build_prompt, generation_limits, option_scores
from reread.runs import content_seed
from reread.types import Answer, Question, Sample

TIE = 1e-9
"""Probabilities nearer than this, relatively, differ by rounding alone."""


@dataclass(frozen=True, slots=True)
class Stack:
    """The parts that an arm puts together."""

    reader: Reader | Solver
    finder: PassageFinder
    settings: Settings
    scorer: Scorer
    exemplars: Mapping[str, Sequence[Question]]
    """Solved questions to show first, by subject ("" for a benchmark whose exemplars serve every subject)."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One view of one question as the reader gets it."""

    place: int
    """Of the question among those answered together."""
    question: Question
    view: View
    prompt: Prompt


@dataclass(frozen=True, slots=True)
class Reading:
    """What one view gave: its samples, and what it says of every answer."""

    view: View
    samples: tuple[Sample, ...]
    distribution: Mapping[str, float]
    """Answer → probability, from the options' likelihoods or from the samples' votes."""
    prompt_flops: float = 0.0
    sample_flops: float = 0.0
    bits_per_byte: float | None = None
    n_dropped: int = 0
    """Passages that did not fit the prompt."""


def answer(questions: Sequence[Question], arm: Arm, stack: Stack, others: Sequence[Question] = ()) -> list[Answer]:
    """What `arm` answers to each question, in order.

    others: the whole benchmark, from which `shuffled` takes another question. Raises ReaderError where the reader
    cannot do what the prompt form asks for.
    """
    if isinstance(stack.reader, Solver) and (arm.vote or arm.bag or arm.docs):
        raise UsageError(f"the reader {stack.reader.spec} draws no samples, so the arm {arm.name} means nothing to it")
    found = stack.finder.find(questions, arm, others)
    if isinstance(stack.reader, Solver):
        return [_solve(q, f, arm, stack.reader) for q, f in zip(questions, found, strict=True)]
    views = [views_of(q, f.hits, arm, stack.settings) for q, f in zip(questions, found, strict=True)]
    readings = read_views(questions, views, arm, stack)
    return [_vote(q, f, r, arm, stack.scorer) for q, f, r in zip(questions, found, readings, strict=True)]


def _vote(question: Question, found: Found, readings: Sequence[Reading], arm: Arm, scorer: Scorer) -> Answer:
    """Let the samples of all views vote; under `docs`, those of the document that the others agree with."""
    trusted = _trusted(readings) if arm.docs and readings else readings
    samples = [sample for reading in trusted for sample in reading.samples]
    votes = tally(samples, scorer.same)
    winner, confidence = elect(votes, samples, scorer.same)
    return Answer(
        question_id=question.id,
        arm=arm.name,
        hits=found.hits,
        samples=tuple(sample for reading in readings for sample in reading.samples),
        votes=votes,
        answer=winner,
        confidence=confidence,
        flops={
            "search": found.search_flops,
            "rerank": found.rerank_flops,
            "prompt": math.fsum(reading.prompt_flops for reading in readings),
            "samples": math.fsum(reading.sample_flops for reading in readings),
        },
        bits_per_byte=readings[0].bits_per_byte if readings else None,
        n_dropped=max((reading.n_dropped for reading in readings), default=0),
    )


def _trusted(readings: Sequence[Reading]) -> list[Reading]:
    """The readings of the most consistent document (each reading of `docs` saw one document)."""
    by_document: dict[str, list[Reading]] = {}
    for reading in readings:
        by_document.setdefault(reading.view.hits[0].passage.id if reading.view.hits else "", []).append(reading)
    documents = list(by_document.values())
    best = most_consistent([_mean([reading.distribution for reading in own]) for own in documents])
    return documents[best or 0]


def _mean(distributions: Sequence[Mapping[str, float]]) -> dict[str, float]:
    answers = dict.fromkeys(answer for distribution in distributions for answer in distribution)
    return {a: sum(d.get(a, 0.0) for d in distributions) / len(distributions) for a in answers}


def _solve(question: Question, found: Found, arm: Arm, solver: Solver) -> Answer:
    """The option that the hits support best; where several are supported alike, a seeded draw among them."""
    if question.choices is None:
        raise UsageError(f"the reader {solver.spec} chooses among options, and question {question.id} has none")
    support = solver.choose(question, found.hits)
    best = [index for index, value in enumerate(support) if value == max(support)]
    chosen = best[content_seed("no opinion", question.id, question.text) % len(best)]
    letter = LETTERS[chosen]
    sample = Sample(question.choices[chosen], letter, n_prompt_tokens=0, n_tokens=0)
    flops = {"search": found.search_flops, "rerank": found.rerank_flops, "prompt": 0.0, "samples": 0.0}
    return Answer(question.id, arm.name, found.hits, (sample,), {letter: 1.0}, letter, 1 / len(best), flops)


# Reading ------------------------------------------------------------------------------------------------------------


def read_views(
    questions: Sequence[Question], views: Sequence[Sequence[View]], arm: Arm, stack: Stack
) -> list[list[Reading]]:
    """For each question, the readings of its views; equal prompts are read once."""
    reader = stack.reader
    assert isinstance(reader, Reader)
    asked: list[Asked] = []
    readings: list[list[Reading]] = [[] for _ in questions]
    for place, (question, own) in enumerate(zip(questions, views, strict=True)):
        for view in own:
            prompt = _prompt(question, view, stack, reader)
            if _fits(prompt, question, stack.settings, reader):
                asked.append(Asked(place, question, view, prompt))
            else:
                readings[place].append(Reading(view, (), {}, n_dropped=prompt.n_dropped))
    read = _generate if stack.settings.form in SAMPLED_FORMS else _score_options
    for one, reading in zip(asked, read(asked, arm, stack, reader), strict=True):
        readings[one.place].append(reading)
    return readings


def _prompt(question: Question, view: View, stack: Stack, reader: Reader) -> Prompt:
    settings = stack.settings
    exemplars = stack.exemplars.get(question.subject) or stack.exemplars.get("") or ()
    return build_prompt(
        question,
        view.hits,
        form=settings.form,
        exemplars=exemplars,
        option_order=view.option_order,
        wording=view.wording,
        budget_tokens=_budget(question, settings, reader),
        count_tokens=getattr(reader, "count_tokens", None),
        control_tokens=getattr(reader, "control_tokens", ()),
    )


def _budget(question: Question, settings: Settings, reader: Reader) -> int | None:
    """Tokens that a prompt may take: the recipe's, and never so many that the answer has no room left."""
    context: int | None = getattr(reader, "max_length", None)
    if context is None:
        return settings.budget_tokens
    if settings.form in SAMPLED_FORMS:
        room = min(settings.max_tokens, generation_limits(question, settings.form)[1])
    else:
        # A token holds at least one byte.
        room = max((len(choice.encode()) for choice in question.choices or ()), default=0) + 2
    fits = max(1, context - min(room, context // 2))
    return min(settings.budget_tokens or fits, fits)


def _fits(prompt: Prompt, question: Question, settings: Settings, reader: Reader) -> bool:
    """Whether the reader can take the prompt at all; a question longer than its context cannot be read."""
    budget = _budget(question, settings, reader)
    count = getattr(reader, "count_tokens", None)
    if budget is None or count is None or len(prompt.text.encode()) <= budget:
        return True
    return bool(count(prompt.text) <= budget)


def _score_options(asked: Sequence[Asked], arm: Arm, stack: Stack, reader: Reader) -> list[Reading]:
    if "loglikelihood" not in reader.can:
        raise ReaderError(
            f"the reader {reader.spec} gives no log-likelihoods to score options by; use the form chat or short"
        )
    requests = list(dict.fromkeys((one.prompt.text, one.prompt.continuations) for one in asked))
    scored = dict(zip(requests, reader.loglikelihood(requests), strict=True))
    return [_option_reading(one, scored[one.prompt.text, one.prompt.continuations], reader) for one in asked]


def _option_reading(one: Asked, scored: Scored, reader: Reader) -> Reading:
    """The option that the reader finds likeliest, and its distribution over all of them (in published letters)."""
    question, prompt = one.question, one.prompt
    cloze = prompt.form == "cloze"
    scores = option_scores(scored.logprobs, scored.n_tokens, prompt.continuations, normalise=prompt.normalise)
    sizes = [len(text.strip().encode()) for text in prompt.continuations]
    # Scores a byte or a token are put back on the scale of whole options: the softmax is that of a typical option.
    units = {"byte": sizes, "token": scored.n_tokens, "sum": [1]}[prompt.normalise]
    scale = sum(units) / len(units)
    best = max(scores)
    weights = [math.exp(scale * (score - best)) for score in scores]
    shown = range(len(scores)) if cloze or prompt.option_order is None else prompt.option_order
    distribution = {LETTERS[position]: w / sum(weights) for position, w in zip(shown, weights, strict=True)}
    # Options that the reader cannot tell apart (unknown words, say) are drawn among: the first would be favoured.
    likeliest = [name for name in sorted(distribution) if distribution[name] > max(distribution.values()) * (1 - TIE)]
    letter = likeliest[content_seed("no opinion", question.id, question.text) % len(likeliest)]
    gold = next((i for i, position in enumerate(shown) if LETTERS[position] in question.answers), None)
    sample = Sample(
        text=(question.choices or ())[LETTERS.index(letter)],
        vote=letter,
        n_prompt_tokens=scored.n_prompt_tokens,
        n_tokens=sum(scored.n_tokens),
        logprob=math.log(distribution[letter]),
    )
    n_prompt = scored.n_prompt_tokens
    n_further = max(0, scored.n_computed_tokens - n_prompt)
    mean_tokens = sum(scored.n_tokens) / len(scored.n_tokens)
    return Reading(
        one.view,
        (sample,),
        distribution,
        prompt_flops=_forward_flops(reader, n_prompt, n_prompt / 2),
        sample_flops=_forward_flops(reader, n_further, n_prompt + mean_tokens / 2),
        bits_per_byte=-scored.logprobs[gold] / (max(1, sizes[gold]) * math.log(2))
        if cloze and gold is not None
        else None,
        n_dropped=prompt.n_dropped,
    )


def _generate(asked: Sequence[Asked], arm: Arm, stack: Stack, reader: Reader) -> list[Reading]:
    """Samples for every view. A reader draws from its prompt, so views with equal prompts share one request.

    They share it in turn: two bags that hold the same passages get different samples, not the same one twice.
    """
    if "generate" not in reader.can:
        raise ReaderError(f"the reader {reader.spec} cannot generate; use the form cloze or letters")
    # How many samples each prompt must give: enough for the question that asks it most.
    wanted: dict[tuple[int, str], int] = {}
    for one in asked:
        wanted[one.place, one.prompt.text] = wanted.get((one.place, one.prompt.text), 0) + one.view.n_draws
    draws: dict[str, int] = {}
    for (_, text), n in wanted.items():
        draws[text] = max(n, draws.get(text, 0))
    limits = {one.prompt.text: (one.prompt.stop, one.prompt.max_tokens) for one in asked}
    drawn: dict[str, list[Sample]] = {}
    for n, (stop, max_tokens) in dict.fromkeys((draws[text], limits[text]) for text in draws):
        texts = [text for text in draws if draws[text] == n and limits[text] == (stop, max_tokens)]
        given = reader.generate(
            texts,
            n=n,
            temperature=stack.settings.temperature if arm.vote or arm.docs else 0.0,
            max_tokens=min(max_tokens, stack.settings.max_tokens),
            seed=stack.settings.seed,
            stop=stop,
        )
        drawn.update(zip(texts, given, strict=True))
    taken: dict[tuple[int, str], int] = {}
    readings = []
    for one in asked:
        first = taken.get((one.place, one.prompt.text), 0)
        taken[one.place, one.prompt.text] = first + one.view.n_draws
        samples = drawn[one.prompt.text][first : first + one.view.n_draws]
        readings.append(_sampled_reading(one, samples, stack.scorer, reader))
    return readings


def _sampled_reading(one: Asked, samples: Sequence[Sample], scorer: Scorer, reader: Reader) -> Reading:
    voted = tuple(replace(sample, vote=scorer.extract(sample.text, one.question)) for sample in samples)
    votes = tally(voted, scorer.same)
    # The first sample of a prefill carries the prompt's tokens, those that cost no further prefill carry none.
    prefills = [sample.n_prompt_tokens for sample in samples if sample.n_prompt_tokens]
    n_prompt = max(prefills, default=0)
    return Reading(
        one.view,
        voted,
        {name: count / len(voted) for name, count in votes.items()},
        prompt_flops=math.fsum(_forward_flops(reader, n, n / 2) for n in prefills),
        sample_flops=math.fsum(_forward_flops(reader, s.n_tokens, n_prompt + s.n_tokens / 2) for s in samples),
        n_dropped=one.prompt.n_dropped,
    )


def _forward_flops(reader: Reader, n_tokens: float, context: float) -> float:
    """FLOPs of n_tokens tokens that each attend to `context`; 0 where the reader's size is not known (an endpoint)."""
    forward = getattr(reader, "forward_flops", None)
    return float(forward(n_tokens, context)) if forward and n_tokens else 0.0

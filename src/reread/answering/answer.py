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
from reread.reading.prompts import LETTERS, Prompt, build_prompt, option_scores
from reread.runs import content_seed
from reread.types import Answer, Question, Sample


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
class Reading:
    """What one view gave: its samples, and what it says of every answer."""

    view: View
    samples: tuple[Sample, ...]
    distribution: Mapping[str, float]
    """Answer → probability, from the options' likelihoods or from the samples' votes."""
    prompt_flops: float
    sample_flops: float
    bits_per_byte: float | None = None


def answer(questions: Sequence[Question], arm: Arm, stack: Stack, others: Sequence[Question] = ()) -> list[Answer]:
    """What `arm` answers to each question, in order.

    others: the whole benchmark, from which `shuffled` takes another question. Raises ReaderError where the reader
    cannot do what the prompt form asks for.
    """
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
    prompts = [[_prompt(q, view, stack, reader) for view in own] for q, own in zip(questions, views, strict=True)]
    if stack.settings.form in SAMPLED_FORMS:
        return _generate(questions, views, prompts, arm, stack, reader)
    return _score_options(questions, views, prompts, reader)


def _prompt(question: Question, view: View, stack: Stack, reader: Reader) -> Prompt:
    settings = stack.settings
    exemplars = stack.exemplars.get(question.subject) or stack.exemplars.get("") or ()
    context = getattr(reader, "max_length", None)
    budget = settings.budget_tokens or context
    if context is not None and budget is not None:
        reserve = settings.max_tokens if settings.form in SAMPLED_FORMS else _longest_option(question)
        budget = min(budget, max(1, context - min(reserve, context // 2)))
    return build_prompt(
        question,
        view.hits,
        form=settings.form,
        exemplars=exemplars,
        option_order=view.option_order,
        wording=view.wording,
        budget_tokens=budget,
        count_tokens=getattr(reader, "count_tokens", None),
        control_tokens=getattr(reader, "control_tokens", ()),
    )


def _longest_option(question: Question) -> int:
    """Room for the longest option: a token holds at least one byte."""
    return max((len(choice.encode()) for choice in question.choices or ()), default=0) + 2


def _score_options(
    questions: Sequence[Question],
    views: Sequence[Sequence[View]],
    prompts: Sequence[Sequence[Prompt]],
    reader: Reader,
) -> list[list[Reading]]:
    if "loglikelihood" not in reader.can:
        raise ReaderError(
            f"the reader {reader.spec} gives no log-likelihoods to score options by; use the form chat or short"
        )
    requests = list(dict.fromkeys((p.text, p.continuations) for own in prompts for p in own))
    scored = dict(zip(requests, reader.loglikelihood(requests), strict=True))
    return [
        [
            _option_reading(question, view, prompt, scored[prompt.text, prompt.continuations], reader)
            for view, prompt in zip(own_views, own_prompts, strict=True)
        ]
        for question, own_views, own_prompts in zip(questions, views, prompts, strict=True)
    ]


def _option_reading(question: Question, view: View, prompt: Prompt, scored: Scored, reader: Reader) -> Reading:
    """The option that the reader finds likeliest, and its distribution over all of them (in published letters)."""
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
    letter = min(distribution, key=lambda name: (-distribution[name], name))
    gold = next((i for i, position in enumerate(shown) if LETTERS[position] in question.answers), None)
    sample = Sample(
        text=(question.choices or ())[LETTERS.index(letter)],
        vote=letter,
        n_prompt_tokens=scored.n_prompt_tokens,
        n_tokens=sum(scored.n_tokens),
        logprob=math.log(distribution[letter]),
    )
    return Reading(
        view,
        (sample,),
        distribution,
        prompt_flops=_forward_flops(reader, scored.n_prompt_tokens, 0),
        sample_flops=_forward_flops(
            reader, max(0, scored.n_computed_tokens - scored.n_prompt_tokens), scored.n_prompt_tokens
        ),
        bits_per_byte=-scored.logprobs[gold] / (max(1, sizes[gold]) * math.log(2))
        if cloze and gold is not None
        else None,
    )


def _generate(
    questions: Sequence[Question],
    views: Sequence[Sequence[View]],
    prompts: Sequence[Sequence[Prompt]],
    arm: Arm,
    stack: Stack,
    reader: Reader,
) -> list[list[Reading]]:
    if "generate" not in reader.can:
        raise ReaderError(f"the reader {reader.spec} cannot generate; use the form cloze or letters")
    flat = [
        (place, question, view, prompt)
        for place, (question, own_views, own_prompts) in enumerate(zip(questions, views, prompts, strict=True))
        for view, prompt in zip(own_views, own_prompts, strict=True)
    ]
    readings: list[list[Reading]] = [[] for _ in questions]
    several = arm.vote or arm.docs
    # One call for prompts that are asked alike; in practice one call, since a benchmark has one form.
    for kind in dict.fromkeys((view.n_draws, prompt.stop, prompt.max_tokens) for _, _, view, prompt in flat):
        alike = [entry for entry in flat if (entry[2].n_draws, entry[3].stop, entry[3].max_tokens) == kind]
        n_draws, stop, max_tokens = kind
        drawn = reader.generate(
            [prompt.text for _, _, _, prompt in alike],
            n=n_draws,
            temperature=stack.settings.temperature if several else 0.0,
            max_tokens=min(max_tokens, stack.settings.max_tokens),
            seed=stack.settings.seed,
            stop=stop,
        )
        for (place, question, view, _), samples in zip(alike, drawn, strict=True):
            readings[place].append(_sampled_reading(question, view, samples, stack.scorer, reader))
    return readings


def _sampled_reading(
    question: Question, view: View, samples: Sequence[Sample], scorer: Scorer, reader: Reader
) -> Reading:
    voted = tuple(replace(sample, vote=scorer.extract(sample.text, question)) for sample in samples)
    votes = tally(voted, scorer.same)
    n_prompt = sum(sample.n_prompt_tokens for sample in samples)
    return Reading(
        view,
        voted,
        {name: count / len(voted) for name, count in votes.items()},
        prompt_flops=_forward_flops(reader, n_prompt, 0),
        sample_flops=_forward_flops(reader, sum(sample.n_tokens for sample in samples), n_prompt),
    )


def _forward_flops(reader: Reader, n_tokens: float, context: float) -> float:
    """FLOPs of n_tokens after `context` others; 0 where the reader's size is not known (an endpoint)."""
    forward = getattr(reader, "forward_flops", None)
    return float(forward(n_tokens, context + n_tokens / 2)) if forward and n_tokens else 0.0

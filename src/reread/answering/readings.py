"""From views to what a reader made of them: prompts, samples or likelihoods, and their cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from reread.answering.arms import Arm
from reread.answering.stack import Stack
from reread.answering.views import SAMPLED_FORMS, View
from reread.errors import ReaderError
from reread.protocols import Reader, Scored, Solver
from reread.questions import LETTERS
from reread.reading.prompts import Prompt, build_prompt, generation_limits, option_scores, published_letter
from reread.runs import content_seed
from reread.types import Hit, Question, Sample

LETTER_TOKENS = 4
"""Most tokens of a letter; some tokenizers write a space as one of its own."""
TIE = 1e-9
"""Probabilities nearer than this, relatively, differ by rounding alone."""


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
    """What one view gave."""

    view: View
    samples: tuple[Sample, ...]
    likelihoods: Mapping[str, float] | None = None
    """Option → probability, where likelihoods were read."""
    kept: tuple[Hit, ...] = ()
    """The hits whose passages fitted the prompt, best first."""
    prompt_flops: float = 0.0
    sample_flops: float = 0.0
    bits_per_byte: float | None = None
    n_dropped: int = 0
    """Passages that did not fit the prompt."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """What was asked before of the questions that are answered together; the rounds of adaptive sampling go on from
    it."""

    n_drawn: dict[tuple[int, str], int] = field(default_factory=dict)
    """How many samples (or whether likelihoods) a prompt gave to a question, by the question's place and the prompt."""
    scored: dict[tuple[str, tuple[str, ...]], Scored] = field(default_factory=dict)
    """Prompt and continuations → their log-likelihoods."""
    chosen: dict[tuple[str, tuple[str, ...]], list[Sample]] = field(default_factory=dict)
    """Prompt and letters → what a reader held to them wrote; empty where it did not answer."""


def distribution_of(readings: Sequence[Reading], names: Mapping[str, str]) -> dict[str, float]:
    """What readings say together: answer → its probability, the mean over them.

    From the options' likelihoods, or from the shares of the samples; what is missing from 1 is unparsed. names:
    answer → that of its class, so that documents which spell an answer differently agree.
    """
    weights: dict[str, list[float]] = {}
    for reading in readings:
        if reading.likelihoods is not None:
            for answer, probability in reading.likelihoods.items():
                weights.setdefault(answer, []).append(probability)
        else:
            for sample in reading.samples:
                if sample.vote is not None:
                    weights.setdefault(names[sample.vote], []).append(1 / len(reading.samples))
    return {answer: math.fsum(own) / len(readings) for answer, own in weights.items()}


def read_views(
    questions: Sequence[Question],
    views: Sequence[Sequence[View]],
    arm: Arm,
    stack: Stack,
    earlier: Earlier | None = None,
) -> list[list[Reading]]:
    """For each question, the readings of its views; equal prompts are read once.

    earlier: what was asked of these questions before; brought up to date. Raises ReaderError where the reader cannot
    do what the prompt form asks for.
    """
    earlier = Earlier() if earlier is None else earlier
    reader = stack.reader
    assert not isinstance(reader, Solver)
    asked: list[Asked] = []
    places: list[list[Reading | None]] = [[] for _ in questions]
    for place, (question, own) in enumerate(zip(questions, views, strict=True)):
        budget = _budget(question, stack, reader)
        for view in own:
            prompt = _prompt(question, view, stack, reader, budget)
            if _fits(prompt, reader, budget):
                asked.append(Asked(place, question, view, prompt))
                places[place].append(None)
            else:
                places[place].append(Reading(view, (), n_dropped=prompt.n_dropped))
    if stack.settings.form in SAMPLED_FORMS:
        read = iter(_generate(asked, arm, stack, reader, earlier.n_drawn))
    elif chooses_letters(stack.settings.form, reader):
        read = iter(_choose_letters(asked, stack, reader, earlier))
    else:
        read = iter(_score_options(asked, reader, earlier))
    return [[next(read) if reading is None else reading for reading in own] for own in places]


def chooses_letters(form: str, reader: Reader) -> bool:
    """Whether options are read by having the reader write one of their letters: it gives no likelihoods, but its
    server can hold a reply to them."""
    return form == "letters" and "loglikelihood" not in reader.can and bool(getattr(reader, "takes_choices", False))


def forward_flops(reader: Reader, n_tokens: float, context: float) -> float:
    """FLOPs of n_tokens tokens that each attend to `context`; 0 where the reader's size is not known (an endpoint)."""
    forward = getattr(reader, "forward_flops", None)
    return float(forward(n_tokens, context)) if forward and n_tokens else 0.0


# Prompts ------------------------------------------------------------------------------------------------------------


def _prompt(question: Question, view: View, stack: Stack, reader: Reader, budget: int | None) -> Prompt:
    settings = stack.settings
    exemplars = stack.exemplars.get(question.subject) or stack.exemplars.get("") or ()
    return build_prompt(
        question,
        view.hits,
        form=settings.form,
        layout=settings.layout,
        exemplars=exemplars,
        option_order=view.option_order,
        wording=view.wording,
        budget_tokens=budget,
        count_tokens=getattr(reader, "count_tokens", None),
        control_tokens=getattr(reader, "control_tokens", ()),
    )


def _budget(question: Question, stack: Stack, reader: Reader) -> int | None:
    """Tokens that a prompt may take: the recipe's, and never so many that the answer has no room left."""
    settings = stack.settings
    context: int | None = getattr(reader, "max_length", None)
    if context is None:
        return settings.budget_tokens
    if settings.form in SAMPLED_FORMS:
        room = _answer_tokens(generation_limits(question, settings.form)[1], stack, reader)
    else:
        # A token holds at least one byte.
        room = max((len(choice.encode()) for choice in question.choices or ()), default=0) + 2
    fits = max(1, context - min(room, context // 2))
    return min(settings.budget_tokens or fits, fits)


def _answer_tokens(limit: int, stack: Stack, reader: Reader) -> int:
    """Most tokens of a generation whose form takes `limit`: no more than half of the reader's context."""
    context: int | None = getattr(reader, "max_length", None)
    most = min(limit, stack.settings.max_tokens)
    return most if context is None else max(1, min(most, context // 2))


def _fits(prompt: Prompt, reader: Reader, budget: int | None) -> bool:
    """Whether the reader can take the prompt at all; a question longer than its context cannot be read."""
    count = getattr(reader, "count_tokens", None)
    # A prompt that keeps a passage was made to fit. Bytes tell nothing: a chat template's tokens come on top.
    return budget is None or count is None or bool(prompt.kept_hits) or bool(count(prompt.text) <= budget)


# Likelihoods --------------------------------------------------------------------------------------------------------


def _score_options(asked: Sequence[Asked], reader: Reader, earlier: Earlier) -> list[Reading]:
    if asked and "loglikelihood" not in reader.can:
        raise ReaderError(
            f"the reader {reader.spec} gives no log-likelihoods to score options by; use the form chat or short"
        )
    wanted = dict.fromkeys((one.prompt.text, one.prompt.continuations) for one in asked)
    new = [request for request in wanted if request not in earlier.scored]
    if new:
        earlier.scored.update(zip(new, reader.loglikelihood(new), strict=True))
    readings = []
    for one in asked:
        reading = _option_reading(one, earlier.scored[one.prompt.text, one.prompt.continuations], reader)
        # Another question pays for the same prompt as if it were alone; a view that repeats its own question's is free.
        mark = one.place, one.prompt.text
        readings.append(_free(reading) if mark in earlier.n_drawn else reading)
        earlier.n_drawn[mark] = 1
    return readings


def _free(reading: Reading) -> Reading:
    """The same reading, paid for before."""
    samples = tuple(replace(sample, n_prompt_tokens=0, n_tokens=0) for sample in reading.samples)
    return replace(reading, samples=samples, prompt_flops=0.0, sample_flops=0.0)


def _option_reading(one: Asked, scored: Scored, reader: Reader) -> Reading:
    """The option that the reader finds likeliest, and its distribution over all of them (in published letters)."""
    question, prompt = one.question, one.prompt
    scores = option_scores(scored.logprobs, scored.n_tokens, prompt.continuations, normalise=prompt.normalise)
    sizes = [len(text.strip().encode()) for text in prompt.continuations]
    # Scores a byte or a token are put back on the scale of whole options: the softmax is that of a typical option.
    units = {"byte": sizes, "token": scored.n_tokens, "sum": [1]}[prompt.normalise]
    scale = sum(units) / len(units)
    if any(math.isnan(score) or score == math.inf for score in scores):
        raise ReaderError(f"the reader {reader.spec} gave NaN or infinity as a log-likelihood; its weights are damaged")
    best = max(scores)
    # Where no option is possible at all (minus infinity, from a server), none is likelier.
    weights = [math.exp(scale * (score - best)) if best > -math.inf else 1.0 for score in scores]
    # Letters stand for the options in the order shown, a cloze's continuations are the options as published.
    order = prompt.option_order if prompt.form == "letters" else None
    shown = [LETTERS[position] for position in order or range(len(scores))]
    likelihoods = {letter: weight / sum(weights) for letter, weight in zip(shown, weights, strict=True)}
    # Options that the reader cannot tell apart (unknown words, say) are drawn among: the first would be favoured.
    likeliest = [name for name in sorted(likelihoods) if likelihoods[name] > max(likelihoods.values()) * (1 - TIE)]
    letter = likeliest[content_seed("no opinion", question.id, question.text) % len(likeliest)]
    gold = next((place for place, name in enumerate(shown) if name in question.answers), None)
    sample = Sample(
        text=(question.choices or ())[LETTERS.index(letter)],
        vote=letter,
        n_prompt_tokens=scored.n_prompt_tokens,
        n_tokens=sum(scored.n_tokens),
        logprob=math.log(likelihoods[letter]),
    )
    n_prompt = scored.n_prompt_tokens
    n_further = max(0, scored.n_computed_tokens - n_prompt)
    mean_tokens = sum(scored.n_tokens) / len(scored.n_tokens)
    bits_per_byte = None
    if prompt.form == "cloze" and gold is not None:
        bits_per_byte = -scored.logprobs[gold] / (max(1, sizes[gold]) * math.log(2))
    return Reading(
        one.view,
        (sample,),
        likelihoods,
        kept=prompt.kept_hits,
        prompt_flops=forward_flops(reader, n_prompt, n_prompt / 2),
        sample_flops=forward_flops(reader, n_further, n_prompt + mean_tokens / 2),
        bits_per_byte=bits_per_byte,
        n_dropped=prompt.n_dropped,
    )


# Letters, from a server that can be held to them ----------------------------------------------------------------------


def _choose_letters(asked: Sequence[Asked], stack: Stack, reader: Reader, earlier: Earlier) -> list[Reading]:
    """The letter that the reader writes at temperature 0 where it can write nothing else: its likeliest option."""
    wanted = dict.fromkeys((one.prompt.text, one.prompt.continuations) for one in asked)
    alike: dict[tuple[str, ...], list[str]] = {}
    for text, letters in wanted:
        if (text, letters) not in earlier.chosen:
            alike.setdefault(letters, []).append(text)
    for letters, texts in alike.items():
        # A chat reply begins with the letter; a completion goes on behind "Answer:" as the solved examples do.
        choices = [letter.strip() for letter in letters] if getattr(reader, "chat", False) else list(letters)
        held: Any = reader  # the protocol knows no choices
        given = held.generate(texts, max_tokens=LETTER_TOKENS, seed=stack.settings.seed, choices=choices)
        earlier.chosen.update(((text, letters), own[:1]) for text, own in zip(texts, given, strict=True))
    readings = []
    for one in asked:
        samples = []
        for sample in earlier.chosen[one.prompt.text, one.prompt.continuations]:
            shown = sample.text.strip()
            known = f" {shown}" in one.prompt.continuations
            samples.append(replace(sample, vote=published_letter(one.prompt, shown) if known else None))
        n = max((sample.n_prompt_tokens for sample in samples), default=0)
        reading = Reading(
            one.view,
            tuple(samples),
            kept=one.prompt.kept_hits,
            prompt_flops=forward_flops(reader, n, n / 2),
            sample_flops=math.fsum(forward_flops(reader, s.n_tokens, n + s.n_tokens / 2) for s in samples),
            n_dropped=one.prompt.n_dropped,
        )
        mark = one.place, one.prompt.text
        readings.append(_free(reading) if mark in earlier.n_drawn else reading)
        earlier.n_drawn[mark] = 1
    return readings


# Samples ------------------------------------------------------------------------------------------------------------


def _generate(
    asked: Sequence[Asked], arm: Arm, stack: Stack, reader: Reader, taken: dict[tuple[int, str], int]
) -> list[Reading]:
    """Samples for every view. A reader draws from its prompt, so views with equal prompts share one request.

    They share it in turn: two bags that hold the same passages get different samples, not the same one twice.
    """
    if asked and "generate" not in reader.can:
        raise ReaderError(f"the reader {reader.spec} cannot generate; use the form cloze or letters")
    firsts = []  # the number of each view's first sample among those of its prompt
    spans: dict[str, tuple[int, int]] = {}  # the numbers that each prompt must give, for all questions that ask it
    for one in asked:
        text = one.prompt.text
        first = taken.get((one.place, text), 0)
        firsts.append(first)
        taken[one.place, text] = end = first + one.view.n_draws
        low, high = spans.get(text, (first, end))
        spans[text] = min(low, first), max(high, end)
    limits = {one.prompt.text: (one.prompt.stop, one.prompt.max_tokens) for one in asked}
    alike: dict[tuple[int, int, tuple[str, ...], int], list[str]] = {}
    for text, span in spans.items():
        alike.setdefault((*span, *limits[text]), []).append(text)
    drawn: dict[str, list[Sample]] = {}
    for (low, high, stop, max_tokens), texts in alike.items():
        given = reader.generate(
            texts,
            n=high - low,
            temperature=stack.settings.temperature if arm.vote or arm.docs else 0.0,
            max_tokens=_answer_tokens(max_tokens, stack, reader),
            seed=stack.settings.seed,
            stop=stop,
            **({"first": low} if low else {}),  # a reader need not know the word until rounds ask for it
        )
        drawn.update(zip(texts, given, strict=True))
    readings = []
    for one, first in zip(asked, firsts, strict=True):
        own = drawn[one.prompt.text]
        start = first - spans[one.prompt.text][0]
        # The first sample of a prefill carries the prompt's tokens, those that cost no further prefill carry none.
        n_prompt = max((sample.n_prompt_tokens for sample in own), default=0)
        readings.append(_sampled_reading(one, own[start : start + one.view.n_draws], n_prompt, stack, reader))
    return readings


def _sampled_reading(one: Asked, samples: Sequence[Sample], n_prompt: int, stack: Stack, reader: Reader) -> Reading:
    voted = tuple(replace(sample, vote=stack.scorer.extract(sample.text, one.question)) for sample in samples)
    prefills = [sample.n_prompt_tokens for sample in samples if sample.n_prompt_tokens]
    return Reading(
        one.view,
        voted,
        kept=one.prompt.kept_hits,
        prompt_flops=math.fsum(forward_flops(reader, n, n / 2) for n in prefills),
        sample_flops=math.fsum(forward_flops(reader, s.n_tokens, n_prompt + s.n_tokens / 2) for s in samples),
        n_dropped=one.prompt.n_dropped,
    )

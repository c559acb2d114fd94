"""Votes: which answers are one, who wins, and how surely. An unparsed sample has no vote; ties break the same way
every time.

Self-consistency (Wang et al. 2023, arXiv 2203.11171): the majority over *extracted answers*, not over outputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from reread.types import Sample

Same = Callable[[str, str], bool]


def classes_of(answers: Iterable[str], same: Same | None = None) -> dict[str, str]:
    """Every different answer → the name of its class, which is the class's answer that comes first.

    same: whether two answers are one (0.5 and \\frac12); equal strings by default. Judges of mathematics are neither
    symmetric nor transitive (50 is 50\\%, 50\\% is 0.5, but 50 is not 0.5), so the classes are the connected components
    of `same(shorter, longer)` (equally long: in alphabetical order): a function of the set of answers alone, whatever
    their order, and one comparison a pair at most. An answer more can join classes and never splits one.
    """
    first = {answer: place for place, answer in enumerate(dict.fromkeys(answers))}
    if same is None or len(first) < 2:
        return {answer: answer for answer in first}
    classes: list[list[str]] = []
    for answer in sorted(first, key=lambda text: (len(text), text)):
        apart, joined = [], [answer]
        for known in classes:
            if any(same(member, answer) for member in known):
                joined += known
            else:
                apart.append(known)
        classes = [*apart, joined]
    names = {member: min(own, key=first.__getitem__) for own in classes for member in own}
    return {answer: names[answer] for answer in first}


def tally(samples: Sequence[Sample], names: Mapping[str, str] | None = None) -> dict[str, float]:
    """How many samples voted for each answer, in order of first appearance. names: answer → that of its class."""
    votes: dict[str, float] = {}
    for sample in samples:
        if sample.vote is not None:
            name = names[sample.vote] if names else sample.vote
            votes[name] = votes.get(name, 0.0) + 1.0
    return votes


def elect(
    votes: Mapping[str, float], samples: Sequence[Sample], names: Mapping[str, str] | None = None
) -> tuple[str | None, float | None]:
    """The winner and its share of the votes; (None, None) where nobody voted.

    Ties go to the answer whose samples are likelier in sum (where the reader gives a log-probability for every sample
    of the tied answers), then to the one that appeared first.
    """
    if not votes:
        return None, None
    most = max(votes.values())
    tied = [answer for answer, count in votes.items() if count == most]
    if len(tied) > 1:
        logprobs = {answer: logprobs_of(answer, samples, names) for answer in tied}
        if not any(None in own for own in logprobs.values()):
            tied.sort(key=lambda answer: -math.fsum(value for value in logprobs[answer] if value is not None))
    return tied[0], most / math.fsum(votes.values())


def logprobs_of(answer: str, samples: Sequence[Sample], names: Mapping[str, str] | None = None) -> list[float | None]:
    """The log-probability of every sample that voted for the answer's class; None where the reader gave none."""
    own = (s for s in samples if s.vote is not None and (names[s.vote] if names else s.vote) == answer)
    return [None if s.logprob is None or math.isnan(s.logprob) else s.logprob for s in own]

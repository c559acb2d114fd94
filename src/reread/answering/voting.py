"""Votes: who wins, and how surely. An unparsed sample has no vote; ties break the same way every time.

Self-consistency (Wang et al. 2023, arXiv 2203.11171): the majority over *extracted answers*, not over outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from reread.types import Sample


def tally(samples: Sequence[Sample], same: Callable[[str, str], bool] | None = None) -> dict[str, float]:
    """How many samples voted for each answer, in order of first appearance.

    same: whether two answers are one (0.5 and \\frac12); equal strings by default. An answer joins the first class
    whose first member it equals.
    """
    votes: dict[str, float] = {}
    for sample in samples:
        if sample.vote is None:
            continue
        name = sample.vote if same is None or sample.vote in votes else _class_of(sample.vote, votes, same)
        votes[name] = votes.get(name, 0.0) + 1.0
    return votes


def _class_of(answer: str, votes: dict[str, float], same: Callable[[str, str], bool]) -> str:
    return next((known for known in votes if same(known, answer)), answer)


def elect(
    votes: dict[str, float], samples: Sequence[Sample], same: Callable[[str, str], bool] | None = None
) -> tuple[str | None, float | None]:
    """The winner and its share of the votes; (None, None) where nobody voted.

    Ties go to the answer whose samples are likelier in sum (where the reader gives log-probabilities), then to the
    one that appeared first.
    """
    if not votes:
        return None, None
    most = max(votes.values())
    tied = [answer for answer, count in votes.items() if count == most]
    if len(tied) > 1:
        support = dict.fromkeys(tied, 0.0)
        for sample in samples:
            if sample.vote is None or sample.logprob is None:
                continue
            name = sample.vote if sample.vote in support or same is None else _class_of(sample.vote, support, same)
            if name in support:
                support[name] += sample.logprob
        counted = {answer for answer in tied if any(s.vote == answer and s.logprob is not None for s in samples)}
        if counted == set(tied):
            tied.sort(key=lambda answer: -support[answer])
    return tied[0], most / sum(votes.values())

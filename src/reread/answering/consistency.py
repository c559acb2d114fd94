"""Inter-document consistency: which document do the answers speak for?

Each document (or group of them) answers the question alone, several times; that gives it a distribution over answers.
Two draws, one from this document and one from another, agree with probability sum_a p(a) q(a); two draws from the same
document agree with sum_a p(a)^2. A document's score is the mean of its agreement with itself and its mean agreement
with the others, as the paper describes the idea (Fang et al. 2026); its formula is not printed there, so this one is
ours. A reader scored by log-likelihood gives its distribution over the options directly, which is the exact expectation
of the sampled one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def document_scores(distributions: Sequence[Mapping[str, float]]) -> list[float]:
    """The consistency, in [0, 1], of each document's answers.

    distributions: for each document, answer → probability; what is missing from 1 is unparsed and agrees with nothing.
    """
    scores = []
    for index, own in enumerate(distributions):
        itself = agreement(own, own)
        others = [agreement(own, other) for place, other in enumerate(distributions) if place != index]
        scores.append((itself + sum(others) / len(others)) / 2 if others else itself)
    return scores


def agreement(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    """Probability that a draw from each is the same answer."""
    return sum(share * other.get(answer, 0.0) for answer, share in one.items())


def most_consistent(distributions: Sequence[Mapping[str, float]]) -> int | None:
    """The place of the document to trust; ties go to the better-ranked (earlier) one; None where no one answered."""
    scores = document_scores(distributions)
    answered = [place for place, distribution in enumerate(distributions) if distribution]
    return min(answered, key=lambda place: (-scores[place], place)) if answered else None

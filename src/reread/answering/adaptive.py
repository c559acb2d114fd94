"""Adaptive sampling: draw until the vote is settled, no further.

*Exactly* (confidence 1): once no sequence of the samples left can change the winner. With v1 votes for the leader,
v2 for the runner-up and r samples left that is v1 > v2 + r; at v1 = v2 + r the tie rule decides, so it is settled only
where the leader surely wins the tie. Where answers to come could show two of the rivals to be one (mathematics, judged
answers), the rivals' votes count together. The winner is that of all samples, provably; n draws are never exceeded.

*At a confidence C* (Aggarwal et al. 2023, Adaptive-Consistency, arXiv 2305.11860, the Beta criterion): once

    P(p1 > p2 | v1, v2) = 1 - I_1/2(v1 + 1, v2 + 1) = sum_{j=0}^{v1} C(v1 + v2 + 1, j) / 2^(v1 + v2 + 1) >= C

with a uniform prior on the leader's share of the votes that go to leader or runner-up.

Departure: they draw one sample at a time. Here a round draws as many as could settle the question at the earliest, were
all of them the leader's: it stops at the same sample in fewer rounds. As a later round reads its prompt anew, a round
goes on until its samples are worth the prefills that the draws left would repeat. So the method pays where samples are
long beside their prompt; short answers to long prompts are cheapest drawn all at once.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from reread.answering.arms import Arm
from reread.answering.readings import Earlier, Reading, read_views
from reread.answering.stack import Stack
from reread.answering.views import View
from reread.answering.voting import Same, classes_of, elect, logprobs_of, tally
from reread.scoring import kind_of
from reread.types import Question


def read_in_rounds(
    questions: Sequence[Question], views: Sequence[Sequence[View]], arm: Arm, stack: Stack
) -> list[list[Reading]]:
    """The readings of each question's views, in order, up to where its vote is settled.

    All unsettled questions of a round are read together. What is drawn is the beginning of what read_views draws.
    """
    confidence = stack.settings.adaptive
    assert confidence is not None
    draws = [[view for view in own for _ in range(view.n_draws)] for own in views]
    readings: list[list[Reading]] = [[] for _ in questions]
    n_drawn = [0] * len(questions)
    earlier = Earlier()
    while True:
        needed = [
            draws_to_settle(own, len(plan) - n, confidence, same=stack.scorer.same, may_merge=_may_merge(q, stack))
            for q, own, plan, n in zip(questions, readings, draws, n_drawn, strict=True)
        ]
        wanted = [
            worth_a_round(plan[n:], least, own)
            for plan, n, least, own in zip(draws, n_drawn, needed, readings, strict=True)
        ]
        if not any(wanted):
            return readings
        parts = [
            [replace(own[0], n_draws=len(own)) for own in _runs(plan[n : n + more])]
            for plan, n, more in zip(draws, n_drawn, wanted, strict=True)
        ]
        for place, new in enumerate(read_views(questions, parts, arm, stack, earlier)):
            readings[place] += new
            n_drawn[place] += wanted[place]


def draws_to_settle(
    readings: Sequence[Reading],
    n_left: int,
    confidence: float,
    *,
    same: Same | None = None,
    may_merge: bool = False,
) -> int:
    """The fewest further samples after which the vote can be settled; 0 where it is, or where none are left."""
    samples = [sample for reading in readings for sample in reading.samples]
    names = classes_of((sample.vote for sample in samples if sample.vote is not None), same)
    votes = tally(samples, names)
    leader, _ = elect(votes, samples, names)
    # Without log-probabilities a tie goes to the answer that appeared first. Nothing is known before the first vote.
    by_appearance = leader is not None and None in logprobs_of(leader, samples, names)
    for n_more in range(n_left):
        hoped = {**votes, leader or "": votes.get(leader or "", 0.0) + n_more}
        if hoped[leader or ""] and is_settled(
            hoped, leader or "", n_left - n_more, confidence, by_appearance=by_appearance, may_merge=may_merge
        ):
            return n_more
    return n_left


def worth_a_round(left: Sequence[View], least: int, readings: Sequence[Reading]) -> int:
    """How many of the draws left to make now: at least `least`, and until their tokens are as many as those of the
    prompts that the draws after them would need again. Tokens are as in the readings so far."""
    samples = [sample for reading in readings for sample in reading.samples]
    if not least or not samples:
        return least
    n_prompt = max(sample.n_prompt_tokens for sample in samples)
    n_tokens = sum(sample.n_tokens for sample in samples) / len(samples)
    shown = [(tuple(hit.passage.id for hit in view.hits), view.option_order, view.wording) for view in left]
    enough = (n for n in range(least, len(left)) if n * n_tokens >= n_prompt * len({*shown[:n]} & {*shown[n:]}))
    return next(enough, len(left))


def is_settled(
    votes: Mapping[str, float],
    leader: str,
    n_left: int,
    confidence: float,
    *,
    by_appearance: bool = False,
    may_merge: bool = False,
) -> bool:
    """Whether the leader stays the winner, whatever the samples left say, or stands with the confidence asked for.

    votes: in order of first appearance. by_appearance: a tie goes to the answer that appeared first, not to the
    likelier one.
    """
    own = votes[leader]
    rivals = [count for answer, count in votes.items() if answer != leader]
    if may_merge:
        settled = own > math.fsum(rivals) + n_left
    else:
        most = max(rivals, default=0.0) + n_left
        order = list(votes)
        rivalling = [answer for answer in order if answer != leader and votes[answer] + n_left == own]
        wins_ties = by_appearance and all(order.index(leader) < order.index(answer) for answer in rivalling)
        settled = own > most or (own == most and wins_ties)
    return settled or (confidence < 1 and stands_with(own, max(rivals, default=0.0)) >= confidence)


def stands_with(leader: float, second: float) -> float:
    """Probability, in (0, 1), that the leader is likelier than the runner-up, given their votes (formula above)."""
    n = int(leader) + int(second) + 1
    return sum(math.comb(n, j) for j in range(int(leader) + 1)) / 2**n


def _runs(draws: Sequence[View]) -> list[list[View]]:
    """Consecutive draws from one view together."""
    return [list(own) for _, own in itertools.groupby(draws, key=id)]


def _may_merge(question: Question, stack: Stack) -> bool:
    """Whether a further answer can show two classes to be one: other kinds compare normal forms."""
    kind = kind_of(question)
    return kind == "latex" or (kind == "short" and stack.settings.judge)

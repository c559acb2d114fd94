"""The closed book at the price of the open one: which self-consistency arm an arm with passages is to be held against.

More samples buy accuracy too, so an arm that retrieves is compared with the closed-book arm that drew as many samples
a question, and with the one whose inference FLOPs a question are nearest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from reread.answering.arms import Arm, parse_arm
from reread.errors import UsageError

NEAR = 1.25
"""FLOPs within this factor are called matched."""


def known_arm(name: str) -> Arm | None:
    """The arm of a run folder's answers; None for a name that this version does not know."""
    try:
        return parse_arm(name)
    except UsageError:
        return None


def matched_pairs(arms: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """{a: closed-book arm, b: arm with retrieved passages, by: "samples" or "flops", ...}, for the arms of one rung.

    By samples: the voting closed-book arm with as many samples a question as b, where there is one. By FLOPs: the
    nearest closed-book arm, voting or not, with `flops_ratio` (b's over a's) and `wanted`, the arm `sc+nN` that would
    match (None where it cannot be told, or where a matches within a factor of NEAR already).
    """
    known = {name: found for name in arms if (found := known_arm(name)) is not None}
    closed = {name: arms[name] for name, arm in known.items() if arm.passages == "none"}
    voting = {name: score for name, score in closed.items() if known[name].vote}
    pairs: list[dict[str, Any]] = []
    for arm, score in arms.items():
        if arm not in known or known[arm].passages != "retrieved":
            continue
        drawn = score.get("samples_per_question")
        if drawn and drawn > 1:
            alike = (name for name, own in voting.items() if own.get("samples_per_question") == drawn)
            pairs += [{"a": name, "b": arm, "by": "samples"} for name in list(alike)[:1]]
        flops = score.get("flops_per_question")
        priced = {name: own["flops_per_question"] for name, own in closed.items() if own.get("flops_per_question")}
        if flops and priced:
            nearest = min(priced, key=lambda name: abs(math.log(flops / priced[name])))
            ratio = flops / priced[nearest]
            wanted = None if 1 / NEAR <= ratio <= NEAR else samples_to_match(flops, voting)
            pairs.append({"a": nearest, "b": arm, "by": "flops", "flops_ratio": ratio, "wanted": wanted})
    return pairs


def samples_to_match(flops: float, voting: Mapping[str, Mapping[str, Any]]) -> str | None:
    """The arm `sc+nN` whose FLOPs a question would come nearest to `flops`, told from a voting closed-book arm.

    Where answers are generated, the prompt is read once and each sample costs its own tokens; where likelihoods are
    read, every view reads its prompt.
    """
    for score in voting.values():
        drawn, stages = score.get("samples_per_question"), score.get("flops_by_stage") or {}
        if not drawn:
            continue
        fixed, per_sample = stages.get("prompt", 0.0), stages.get("samples", 0.0) / drawn
        if not per_sample:
            fixed, per_sample = 0.0, fixed / drawn
        if per_sample:
            n = max(1, min(9999, round((flops - fixed) / per_sample)))
            return f"sc+n{n}"
    return None

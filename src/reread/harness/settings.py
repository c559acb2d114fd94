"""What `--model_args` may say, checked before a reader or a store is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_args

from reread.answering.arms import Arm, parse_arm
from reread.answering.passages import CONSISTENCY
from reread.answering.settings import Settings
from reread.errors import UsageError
from reread.reading import Layout
from reread.retrieval import SEARCH_KINDS, QueryMaking

ORDERS = ("best_last", "best_first")
VOTE = "a task with `repeats` whose filters take the majority (such as gsm8k_cot_self_consistency)"


@dataclass(frozen=True, slots=True)
class Setup:
    """How requests are answered."""

    arm: Arm
    settings: Settings
    retriever: str
    query_field: str | None

    @property
    def shows_passages(self) -> bool:
        return self.arm.passages != "none"


def setup(
    *,
    arm: Any,
    has_store: bool,
    rerank: str | None,
    retriever: str,
    query_field: Any,
    order: str,
    numbered: bool | None,
    titles: bool,
    numbers: dict[str, Any],
) -> Setup:
    """The checked settings. arm: None is `retrieval` with a store, else `baseline`. numbers: fields of Settings.

    Raises UsageError for what is unknown, impossible or missing.
    """
    parsed = parse_arm(str(arm) if arm is not None else "retrieval" if has_store else "baseline")
    check_arm(parsed)
    if parsed.passages != "none" and not has_store:
        raise UsageError(f"the arm {parsed.name} shows passages; name the store to find them in (store=DIR)")
    if parsed.rerank and rerank is None:
        raise UsageError(f"the arm {parsed.name} reranks; name the reranker (rerank=ce:MODEL)")
    if parsed.rerank and rerank == CONSISTENCY:
        raise UsageError(
            "the reranker consistency compares extracted answers, and lm-eval extracts them itself, after its model "
            "has answered; name another one (rerank=ce:MODEL), or run it with reread eval"
        )
    if retriever not in SEARCH_KINDS:
        raise UsageError(f"retriever {retriever!r} is not known; use one of {', '.join(SEARCH_KINDS)}")
    if order not in ORDERS:
        raise UsageError(f"order {order!r} is not known; use {' or '.join(ORDERS)}")
    for name, kind, low in (("k", int, 1), ("fetch_k", int, 1), ("budget_tokens", int, 1), ("seed", int, None)):
        value = numbers.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, kind) or value < (low or value)):
            raise UsageError(
                f"{name} must be a whole number{'' if low is None else f' of at least {low}'}, not {value!r}"
            )
    for name in ("bag_frac", "mmr_lambda"):
        value = numbers[name]
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise UsageError(f"{name} must be a number from 0 to 1, not {value!r}")
    for name, value in (("titles", titles), ("numbered", numbered)):
        if not isinstance(value, bool | None):
            raise UsageError(f"{name} must be true or false, not {value!r}")
    making = numbers["query"]
    if making not in get_args(QueryMaking):
        raise UsageError(f"query {making!r} is not known; use one of {', '.join(get_args(QueryMaking))}")
    settings = Settings(form="short", layout=Layout(order=order, numbered=numbered, titles=titles), **numbers)
    return Setup(parsed, settings, retriever, None if query_field is None else str(query_field))


def check_arm(arm: Arm) -> None:
    """Raise UsageError for an arm that lm-eval's requests cannot carry."""
    if arm.docs:
        raise UsageError(
            f"the arm {arm.name} compares extracted answers of single passages, and lm-eval extracts answers itself, "
            "after its model has answered; run it with reread eval"
        )
    if arm.passages == "oracle":
        raise UsageError(
            f"the arm {arm.name} shows the passage known to hold the answer, and lm-eval's records name none; "
            "run it with reread eval"
        )


def check_votes(arm: Arm, *, generates: bool, repeats: int = 1, temperature: float = 0.0) -> None:
    """Raise UsageError where the arm votes and the task's requests leave nothing to vote on.

    A vote needs several samples of one record. lm-eval asks for them by a task's `repeats`, and its filters take the
    majority of the extracted answers; a log-likelihood is asked for once.
    """
    if not (arm.vote or arm.bag):
        return
    if not generates:
        raise UsageError(
            f"the arm {arm.name} votes over samples, and this task asks for log-likelihoods, whose prompts and options "
            f"are lm-eval's own; run it with reread eval, or use {VOTE}"
        )
    if repeats < 2:
        raise UsageError(
            f"the arm {arm.name} votes over samples, and this task asks for one of each record; use {VOTE}, or run it "
            "with reread eval"
        )
    if arm.vote and not arm.bag and temperature == 0:
        raise UsageError(
            f"the arm {arm.name} votes over samples, and this task asks for greedy ones, which are all the same; "
            "set --gen_kwargs do_sample=true,temperature=0.7"
        )

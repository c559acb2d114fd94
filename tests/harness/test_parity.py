"""`reread` beside lm-eval's own hf backend, on the same checkpoint and task files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lm_eval_tasks import CHOICE, local_task

SOLVED: dict[str, Any] = {"fewshot_split": "test", "num_fewshot": 3, "description": "Questions about places.\n\n"}
LAST_WORD: dict[str, Any] = {
    "output_type": "loglikelihood",
    "doc_to_text": "{{question}}",
    "doc_to_target": " {{gold}}",
    "metric_list": [{"metric": "acc"}, {"metric": "perplexity"}],
}
WRITTEN: dict[str, Any] = {
    "output_type": "generate_until",
    "doc_to_text": "{{question}}",
    "doc_to_target": "{{gold}}",
    "generation_kwargs": {"until": ["\n", ". "], "max_gen_toks": 12},
    "metric_list": [{"metric": "exact_match", "ignore_case": True}],
}
WHOLE: dict[str, Any] = {
    "output_type": "loglikelihood_rolling",
    "doc_to_text": "",
    "doc_to_target": "{{text}}",
    "metric_list": [{"metric": "word_perplexity"}, {"metric": "bits_per_byte"}],
}
MUTUAL: dict[str, Any] = {**CHOICE, "metric_list": [{"metric": "acc_mutual_info"}]}
ALONE: dict[str, Any] = {**CHOICE, "doc_to_text": ""}


def responses(results: dict[str, Any], task: str) -> list[list[Any]]:
    """What the model answered to every request, record by record."""
    samples = sorted(results["samples"][task], key=lambda sample: sample["doc_id"])
    return [[response[0] for response in sample["resps"]] for sample in samples]


def same(a: Any, b: Any) -> bool:
    if isinstance(a, tuple | list):
        return all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, float) and not isinstance(a, bool):
        return a == pytest.approx(b, rel=1e-5, abs=2e-4)
    return bool(a == b)


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("choice", CHOICE),
        ("few_shots", {**CHOICE, **SOLVED}),
        ("mutual_information", MUTUAL),
        ("no_context", ALONE),
        ("last_word", LAST_WORD),
        ("written", WRITTEN),
    ],
)
def test_without_retrieval_every_response_is_that_of_the_hf_backend(
    tmp_path: Path,
    rows: list[dict[str, Any]],
    rung: Path,
    evaluate: Callable[..., dict[str, Any]],
    name: str,
    config: dict[str, Any],
) -> None:
    task = local_task(tmp_path, name, rows, **config)
    theirs = evaluate("hf", {"pretrained": str(rung), "device": "cpu", "dtype": "float32"}, [task], batch_size=3)
    ours = evaluate("reread", {"reader": f"hf:{rung}", "arm": "baseline", "device": "cpu"}, [task])
    for mine, peer in zip(responses(ours, name), responses(theirs, name), strict=True):
        assert same(mine, peer), (mine, peer)
    assert ours["n-samples"][name]["effective"] == len(rows)
    assert same(
        [value for key, value in ours["results"][name].items() if ",none" in key and "stderr" not in key],
        [value for key, value in theirs["results"][name].items() if ",none" in key and "stderr" not in key],
    )


def test_greedy_continuations_are_told_as_by_the_hf_backend(
    tmp_path: Path, rows: list[dict[str, Any]], rung: Path, evaluate: Callable[..., dict[str, Any]]
) -> None:
    """What a model writes itself is greedy, and what follows it by one other word is not."""
    first = evaluate("reread", {"reader": f"hf:{rung}"}, [local_task(tmp_path, "first", rows, **WRITTEN)])
    written = [own[0] for own in responses(first, "first")]
    copies = [
        {"question": row["question"], "gold": (text + end).strip()}
        for row, text in zip(rows, written, strict=True)
        for end in ("", " harbour")
        if text.strip()
    ]
    task = local_task(tmp_path, "again", copies, **LAST_WORD)
    theirs = evaluate("hf", {"pretrained": str(rung), "device": "cpu", "dtype": "float32"}, [task], batch_size=3)
    ours = evaluate("reread", {"reader": f"hf:{rung}"}, [task])
    told = [own[0][1] for own in responses(ours, "again")]
    assert told == [own[0][1] for own in responses(theirs, "again")]
    assert {True, False} == set(told)


def test_whole_texts_longer_than_the_context_have_the_hf_backends_likelihood(
    tmp_path: Path, rung: Path, rows: list[dict[str, Any]], evaluate: Callable[..., dict[str, Any]]
) -> None:
    text = " ".join(row["question"] + " " + row["gold"] + "." for row in rows)
    texts = [{"text": text}, {"text": rows[0]["question"]}, {"text": text[: len(text) // 3]}]
    task = local_task(tmp_path, "whole", texts, **WHOLE)
    settings = {"device": "cpu", "dtype": "float32", "max_length": 64}
    theirs = evaluate("hf", {"pretrained": str(rung), **settings}, [task], batch_size=1)
    ours = evaluate("reread", {"reader": f"hf:{rung}", **settings}, [task])
    assert same(responses(ours, "whole"), responses(theirs, "whole"))


def test_contexts_longer_than_the_model_lose_their_beginnings_as_in_the_hf_backend(
    tmp_path: Path, rung: Path, rows: list[dict[str, Any]], evaluate: Callable[..., dict[str, Any]]
) -> None:
    long = [
        {**row, "question": " ".join(other["question"] for other in rows[:8]) + row["question"]} for row in rows[:6]
    ]
    settings = {"device": "cpu", "dtype": "float32", "max_length": 40}
    task = local_task(tmp_path, "long", long, **CHOICE)
    theirs = evaluate("hf", {"pretrained": str(rung), **settings}, [task], batch_size=1)
    ours = evaluate("reread", {"reader": f"hf:{rung}", **settings}, [task])
    assert same(responses(ours, "long"), responses(theirs, "long"))

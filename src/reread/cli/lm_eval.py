"""`reread lm-eval`: lm-evaluation-harness' tasks, with retrieval."""

from __future__ import annotations

from typing import Annotated, Any

import typer

SETTINGS: dict[str, Any] = {"ignore_unknown_options": True, "help_option_names": ["--help"]}
"""Everything but --help is lm-eval's; its own help is under -h."""


def lm_eval(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="LM_EVAL_OPTIONS...",
            help="lm-eval's own options and commands, as they are (run -h lists them).",
            show_default=False,
        ),
    ],
) -> None:
    """Run tasks of lm-evaluation-harness with reread as the model: its prompts and metrics, with passages.

    Example: `reread lm-eval --model_args reader=hf:MODEL,store=STORE,arm=retrieval+k5 --tasks arc_easy,mmlu
    --num_fewshot 5 --output_path results`

    `--model_args` takes reader, store, arm (baseline, retrieval, rerank, random, shuffled, with +mmr, +kN, +QUERY; for
    tasks with repeats also +sc and +bag), retriever, rerank, query, query_field, k, fetch_k, mmr_lambda, order, titles,
    numbered, budget_tokens, seed, log, and the reader's own settings. What each record saw goes to passages_*.jsonl
    beside lm-eval's results.
    """
    from reread.harness.command import hand_over

    hand_over(arguments)

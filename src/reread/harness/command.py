"""Handing over to lm-eval's own command line, with reread among its models."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from reread.errors import MissingExtra, UsageError

MODEL = "reread"
TARGET = "reread.harness.model:RereadLM"
ITS_CHECKS = ("lm_eval.config", "lm_eval._cli", "lm_eval.evaluator", "lm_eval.tasks")
"""Modules of lm-eval whose ValueErrors are about the call."""


def register() -> None:
    """Make `reread` a model of lm-eval's; releases that discover plug-ins do so by themselves (pyproject.toml)."""
    # Its own models come first: it looks for them only as long as it knows none.
    import lm_eval.models  # noqa: F401
    from lm_eval.api.registry import model_registry

    if MODEL not in model_registry:
        model_registry.register(MODEL, target=TARGET)


def hand_over(arguments: Sequence[str]) -> None:
    """Run lm-eval's command line with these arguments; a run's model is reread, and its log goes to the results.

    Raises UsageError where another model is named and where lm-eval refuses the call, MissingExtra without lm-eval.
    SystemExit, with lm-eval's own status, is let through.
    """
    try:
        from lm_eval._cli import HarnessCLI
        from lm_eval.utils import setup_logging
    except ImportError as error:
        raise MissingExtra("lm-eval", "lm-eval", "reread lm-eval") from error
    register()
    setup_logging()
    with _argv([MODEL + " lm-eval", *arguments]):
        parser = HarnessCLI()
        parsed = parser.parse_args()
        try:
            if parsed.command == "run":
                _prepare(parsed)
            parser.execute(parsed)
        except (ValueError, TypeError, FileNotFoundError) as error:
            if not _is_about_the_call(error.__traceback__):
                raise
            raise UsageError(f"lm-eval: {' '.join(str(error).split())}") from error


def _prepare(parsed: Namespace) -> None:
    """Name the model, the folder that its results go to, and where its log goes."""
    from reread.harness.model import RereadLM

    config = _config(parsed.config)
    model = parsed.model or config.get("model") or MODEL
    if model != MODEL:
        raise UsageError(f"reread lm-eval runs the model reread, not {model!r}; use lm-eval itself for other models")
    parsed.model = MODEL
    given = parsed.model_args or config.get("model_args") or {}
    if isinstance(given, str):
        from lm_eval.utils import simple_parse_args_string

        given = simple_parse_args_string(given)
    if not isinstance(given, Mapping):
        raise UsageError(f"model_args must be settings (reader=…,store=…,arm=…), not {given!r}")
    name = " ".join(str(part) for part in (given.get("reader"), given.get("arm")) if part)
    # lm-eval names the folder of a model's results by one of a few arguments, else at random.
    parsed.model_args = {"model": name or MODEL, **given}
    output = parsed.output_path or config.get("output_path")
    folder = None if output is None else Path(output)
    RereadLM.log_folder = folder.parent if folder is not None and folder.suffix == ".json" else folder


def _config(path: str | None) -> dict[str, Any]:
    if path is None:
        return {}
    from lm_eval.config.evaluate_config import EvaluatorConfig

    loaded: dict[str, Any] = EvaluatorConfig.load_yaml_config(path)
    return loaded


def _is_about_the_call(traceback: TracebackType | None) -> bool:
    """Whether an error was raised by those parts of lm-eval that check what was asked."""
    module = ""
    while traceback is not None:
        module = str(traceback.tb_frame.f_globals.get("__name__", ""))
        traceback = traceback.tb_next
    return module.startswith(ITS_CHECKS)


@contextmanager
def _argv(words: Sequence[str]) -> Iterator[None]:
    before = sys.argv
    sys.argv = list(words)
    try:
        yield
    finally:
        sys.argv = before

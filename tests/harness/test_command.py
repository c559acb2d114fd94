"""`reread lm-eval` as a command: lm-eval's own command line, with reread as its model."""

from __future__ import annotations

import functools
import json
import logging
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from lm_eval_tasks import CHOICE, local_task

pytest.importorskip("lm_eval")
pytest.importorskip("torch")

from reread.cli import run
from reread.harness.command import TARGET

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _quick_and_clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Without the 9 s in which lm-eval indexes its own tasks, and without its log handler on an earlier stderr."""
    import lm_eval.tasks
    import lm_eval.utils

    index = functools.partial(lm_eval.tasks.TaskManager, include_defaults=False)
    monkeypatch.setattr(lm_eval.tasks, "TaskManager", index)
    monkeypatch.setattr(lm_eval.utils, "_LOGGING_CONFIGURED", False)
    yield
    logger = logging.getLogger("lm_eval")
    for handler in list(logger.handlers):
        logger.removeHandler(handler)


def results_in(folder: Path) -> dict[str, Any]:
    (path,) = folder.rglob("results_*.json")
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def test_retrieval_improves_a_task_whose_answers_stand_in_the_store(
    tmp_path: Path, rows: list[dict[str, Any]], rung: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = local_task(tmp_path, "world", rows, **CHOICE)
    accuracy = {}
    for arm in ("baseline", "retrieval+k5", "random+k5"):
        out = tmp_path / arm
        model_args = f"reader=hf:{rung},store={store},arm={arm}"
        assert run(["lm-eval", "--model_args", model_args, "--tasks", str(task), "-o", str(out), "-s"]) == 0
        assert "|world" in capsys.readouterr().out.replace(" ", "")
        found = results_in(out)
        accuracy[arm] = found["results"]["world"]["acc,none"]
        assert found["config"]["reread"]["arm"] == arm
        assert found["config"]["reread"]["spent"]["flops"]["prompt"] > 0
        (log,) = out.glob("passages_*.jsonl")
        records = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()][1:]
        assert [record["doc_id"] for record in records] == list(range(len(rows)))
        n_found = {len(record["hits"]) + record["n_dropped"] for record in records}
        assert n_found == {0 if arm == "baseline" else 5}
    assert accuracy["baseline"] <= 0.3  # four options, of a world that the rung has never read of
    assert accuracy["retrieval+k5"] >= accuracy["baseline"] + 0.2
    assert accuracy["random+k5"] <= accuracy["baseline"] + 0.1


def test_a_configuration_file_says_the_same_as_options(
    tmp_path: Path, rows: list[dict[str, Any]], rung: Path, store: Path
) -> None:
    task = local_task(tmp_path, "world", rows[:8], **CHOICE)
    config = {
        "tasks": [str(task)],
        "model_args": {"reader": f"hf:{rung}", "store": str(store), "arm": "retrieval+k2"},
        "output_path": str(tmp_path / "out"),
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    assert run(["lm-eval", "run", "--config", str(tmp_path / "run.yaml")]) == 0
    assert results_in(tmp_path / "out")["config"]["reread"]["arm"] == "retrieval+k2"
    assert list((tmp_path / "out").glob("passages_*.jsonl"))
    (tmp_path / "run.yaml").write_text(yaml.safe_dump({**config, "model": "hf"}), encoding="utf-8")
    assert run(["lm-eval", "run", "--config", str(tmp_path / "run.yaml")]) == 2


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--model", "hf", "--model_args", "pretrained=x", "--tasks", "TASK"], "not 'hf'"),
        (["--model_args", "reader=hf:RUNG", "--tasks", "no_such_task_at_all"], "no_such_task_at_all"),
        (["--model_args", "reader=hf:RUNG", "--limit", "2"], "task"),
        (["--tasks", "TASK", "--limit", "2"], "no reader"),
        (["--model_args", "reader=hf:RUNG,arm=retrieval", "--tasks", "TASK"], "name the store"),
        (["--model_args", "reader=hf:RUNG,arm=retrieval,store=nowhere", "--tasks", "TASK"], "nowhere"),
        (["--model_args", "reader=hf:RUNG,arm=unheard-of", "--tasks", "TASK"], "unknown arm"),
        (["--model_args", "reader=hf:RUNG,arm=sc", "--tasks", "TASK"], "votes over samples"),
        (["--model_args", "reader=hf:RUNG,colour=red", "--tasks", "TASK"], "colour"),
        (["--model_args", "reader=hf:RUNG", "--tasks", "TASK", "--apply_chat_template"], "no chat template"),
        (["--model_args", "reader=hf:RUNG", "--tasks", "TASK", "--log_samples"], "output_path"),
        (["run", "--config", "nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_misuse_is_one_sentence_and_exits_2(
    arguments: list[str],
    reason: str,
    tmp_path: Path,
    rows: list[dict[str, Any]],
    rung: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    task = local_task(tmp_path, "world", rows[:3], **CHOICE)
    words = [word.replace("TASK", str(task)).replace("RUNG", str(rung)) for word in arguments]
    assert run(["lm-eval", *words]) == 2
    captured = capsys.readouterr()
    last = captured.err.strip().splitlines()[-1]
    assert last.startswith("reread: ") and reason in last
    assert "Traceback" not in captured.err
    assert captured.out.strip() == "" or captured.out.startswith("EvaluatorConfig")


def test_what_lm_evals_parser_refuses_exits_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["lm-eval", "run", "--no-such-option"]) == 2
    assert "--no-such-option" in capsys.readouterr().err


def test_lm_evals_own_help_and_other_commands_are_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["lm-eval", "run", "-h"]) == 0
    assert "--num_fewshot" in capsys.readouterr().out
    assert run(["lm-eval", "validate", "--tasks", "no_such_task_at_all"]) != 0


def test_releases_that_discover_models_find_it() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"]["lm_eval.models"] == {"reread": TARGET}
    module, _, name = TARGET.partition(":")
    from importlib import import_module

    from lm_eval.api.model import LM

    assert issubclass(getattr(import_module(module), name), LM)


@pytest.mark.slow
def test_the_command_itself_runs_a_task(tmp_path: Path, rows: list[dict[str, Any]], rung: Path, store: Path) -> None:
    task = local_task(tmp_path, "world", rows[:4], **CHOICE)
    words = ["--model_args", f"reader=hf:{rung},store={store}", "--tasks", str(task), "-o", str(tmp_path / "out.json")]
    done = subprocess.run(
        [sys.executable, "-m", "reread", "lm-eval", *words], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert "world" in done.stdout
    assert len(list(tmp_path.glob("passages_*.jsonl"))) == 1

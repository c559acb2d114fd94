"""A small encyclopedia in a store, a stored rung that reads it, and lm-eval tasks over local files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reread.datastore import build
from reread.harness.command import register
from reread.world import write_world
from reread.world.rungs import stored_rungs

N_ARTICLES = 300
N_QUESTIONS = 40


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "datasets"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("TQDM_DISABLE", "1")


@pytest.fixture(scope="session")
def rung() -> Path:
    return stored_rungs()[-1]


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    write_world(folder, seed=7, n_articles=N_ARTICLES, n_questions=N_QUESTIONS)
    return folder


@pytest.fixture(scope="session")
def store(world: Path) -> Path:
    folder = world / "store"
    build([str(world / "corpus.jsonl")], folder, chunk_words=50)
    return folder


@pytest.fixture(scope="session")
def rows(world: Path) -> list[dict[str, Any]]:
    """The world's choice questions, with the right option's text as `gold`."""
    found = [json.loads(line) for line in (world / "world.jsonl").read_text().splitlines()][:N_QUESTIONS]
    return [
        {"question": row["question"], "choices": row["choices"], "gold": row["choices"]["ABCD".index(row["answer"])]}
        if isinstance(row["answer"], str)
        else {"question": row["question"], "choices": row["choices"], "gold": row["choices"][row["answer"]]}
        for row in found
    ]


@pytest.fixture
def evaluate() -> Callable[..., dict[str, Any]]:
    """lm-eval's own evaluation of tasks (YAML files), with samples."""
    lm_eval = pytest.importorskip("lm_eval")
    pytest.importorskip("torch")
    from lm_eval.tasks import TaskManager
    from lm_eval.tasks._yaml_loader import load_yaml

    def run(model: str, model_args: dict[str, Any], tasks: list[Path], **settings: Any) -> dict[str, Any]:
        register()
        found = lm_eval.simple_evaluate(
            model=model,
            model_args=model_args,
            tasks=[load_yaml(str(task), resolve_func=True) for task in tasks],
            task_manager=TaskManager(include_defaults=False),
            bootstrap_iters=0,
            log_samples=True,
            **settings,
        )
        assert found is not None
        return dict(found)

    return run

from pathlib import Path
from typing import Any

import pytest
import yaml

from reread.errors import RecipeError
from reread.recipe import load_recipe, parse_recipe

MINIMAL: dict[str, Any] = {
    "name": "x",
    "corpus": {"paths": ["corpus.jsonl"]},
    "readers": [{"spec": "lexical"}],
    "benchmarks": [{"benchmark": "mmlu:questions.jsonl"}],
}


def write(folder: Path, data: Any) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(data if isinstance(data, str) else yaml.safe_dump(data), encoding="utf-8")
    return path


def test_an_unknown_key_names_the_nearest_right_one(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"unknown key 'reading\.n_sample'; did you mean 'n_samples'"):
        load_recipe(write(tmp_path, {**MINIMAL, "reading": {"n_sample": 3}}))
    with pytest.raises(RecipeError, match=r"unknown key 'benchmarks\.0\.shot'; did you mean 'shots'"):
        load_recipe(write(tmp_path, {**MINIMAL, "benchmarks": [{"benchmark": "mmlu", "shot": 5}]}))
    with pytest.raises(RecipeError, match=r"unknown key 'benchmark'; did you mean 'benchmarks'"):
        load_recipe(write(tmp_path, {**MINIMAL, "benchmark": []}))


def test_a_missing_key_and_a_wrong_value_are_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="'readers' is missing"):
        load_recipe(write(tmp_path, {key: value for key, value in MINIMAL.items() if key != "readers"}))
    with pytest.raises(RecipeError, match=r"reading\.k.*given: 0"):
        load_recipe(write(tmp_path, {**MINIMAL, "reading": {"k": 0}}))


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "a: [", "\x00"])
def test_a_file_that_is_no_recipe_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(RecipeError):
        load_recipe(write(tmp_path, text))


def test_a_missing_recipe_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no recipe"):
        load_recipe(tmp_path / "none.yaml")


def test_paths_are_taken_from_the_recipes_folder_and_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CORPORA", "/big/disk")
    monkeypatch.delenv("NOTHING", raising=False)
    (tmp_path / "rung").mkdir()
    data = {
        **MINIMAL,
        "corpus": {"paths": ["a/*.jsonl", "${CORPORA}/b", "${NOTHING:-c}/d"]},
        "readers": [{"spec": "hf:rung"}, {"spec": "hf:EleutherAI/pythia-70m", "train_flops": "1.24e20"}],
    }
    recipe = load_recipe(write(tmp_path, data))
    assert recipe.corpus.paths == (f"{tmp_path}/a/*.jsonl", "/big/disk/b", f"{tmp_path}/c/d")
    assert recipe.benchmarks[0].benchmark == f"mmlu:{tmp_path}/questions.jsonl"
    assert [reader.spec for reader in recipe.readers] == [f"hf:{tmp_path}/rung", "hf:EleutherAI/pythia-70m"]
    assert recipe.readers[1].train_flops == 1.24e20
    data["corpus"] = {"paths": ["${NOTHING}/d"]}
    with pytest.raises(RecipeError, match="NOTHING"):
        load_recipe(write(tmp_path, data))


def test_the_hash_changes_with_anything_that_could_change_a_number() -> None:
    recipe = parse_recipe(MINIMAL)
    assert recipe.folder_name() == parse_recipe(MINIMAL).folder_name()
    assert recipe.folder_name() != parse_recipe({**MINIMAL, "seed": 1}).folder_name()


def test_a_corpus_is_files_or_a_world() -> None:
    with pytest.raises(RecipeError, match="either paths"):
        parse_recipe({**MINIMAL, "corpus": {}})
    with pytest.raises(RecipeError, match="either paths"):
        parse_recipe({**MINIMAL, "corpus": {"paths": ["a"], "world": {}}})


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parent.parent / "recipes").glob("*.yaml")), ids=lambda p: p.stem
)
def test_every_ready_made_recipe_is_valid(path: Path) -> None:
    from reread.answering.arms import parse_arms
    from reread.benchmarks import get_spec

    recipe = load_recipe(path)
    assert recipe.name == path.stem
    for benchmark in recipe.benchmarks:
        get_spec(benchmark.benchmark.partition(":")[0])
        parse_arms(benchmark.arms or recipe.arms)

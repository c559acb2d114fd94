"""Training learns, stops and goes on, and leaves a checkpoint that others can read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from reread.errors import CorpusError, RunFolderError, UsageError
from reread.ladder import RungConfig, pretrain, pretrain_ladder, train_rungs
from reread.ladder.model import logits
from reread.ladder.train import CHECKPOINT, learning_rate_scale

from .conftest import Documents


class Killed(BaseException):
    pass


def kill_after(n_calls: int):  # type: ignore[no-untyped-def]
    calls = [0]

    def progress(done: int, total: int | None) -> None:
        calls[0] += 1
        if calls[0] > n_calls:
            raise Killed

    return progress


def test_a_killed_run_goes_on_and_ends_with_the_uninterrupted_weights(
    tmp_path: Path, documents: Documents, recipe: RungConfig
) -> None:
    whole = pretrain(documents, recipe, tmp_path / "whole", tokenizer="words", n_threads=1)
    for n_calls in (7, 20):
        with pytest.raises(Killed):
            pretrain(
                documents, recipe, tmp_path / "cut", tokenizer="words", n_threads=1,
                checkpoint_every_s=0.0, progress=kill_after(n_calls),
            )  # fmt: skip
        assert (tmp_path / "cut" / CHECKPOINT / "state.json").exists()
        assert not (tmp_path / "cut" / "rung.json").exists()
    cut = pretrain(documents, recipe, tmp_path / "cut", tokenizer="words", n_threads=1)
    one, other = (load_file(str(tmp_path / name / "model.safetensors")) for name in ("whole", "cut"))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert (cut["n_tokens"], cut["n_steps"], cut["loss"]) == (whole["n_tokens"], whole["n_steps"], whole["loss"])
    assert not (tmp_path / "cut" / CHECKPOINT).exists()


def test_training_lowers_the_loss_below_that_of_word_frequencies(tmp_path: Path, recipe: RungConfig) -> None:
    from reread.types import Document

    cycle = [Document(id="0", text="one two three four five six seven eight " * 30, source="test")]
    record = pretrain(lambda: cycle * 50, replace(recipe, n_tokens=20_000), tmp_path / "r", tokenizer="words")
    # Frequencies alone cost log(8) = 2.08 nats a word; the order is certain.
    assert record["loss"] < 0.7


def test_the_saved_rung_loads_with_transformers_auto_classes(
    tmp_path: Path, documents: Documents, recipe: RungConfig
) -> None:
    pretrain(documents, recipe, tmp_path / "r", tokenizer="words")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "r")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "r")
    ids = tokenizer("Page 3\namber river stone", return_tensors="pt")["input_ids"]
    assert ids[0, 0] == tokenizer.eos_token_id == model.config.eos_token_id
    assert tokenizer("amber", add_special_tokens=False)["input_ids"] == [ids[0, 4]]
    weights = load_file(str(tmp_path / "r" / "model.safetensors"))
    with torch.no_grad():
        torch.testing.assert_close(model(ids).logits, logits(weights, ids, recipe), atol=2e-4, rtol=1e-4)
    layer = model.model.layers[0].self_attn
    assert layer.q_norm.weight.mean() > 2 and layer.k_norm.weight.mean() < 2


def test_a_saved_rung_takes_no_longer_prompts_than_it_was_trained_on(
    tmp_path: Path, documents: Documents, recipe: RungConfig
) -> None:
    pretrain(documents, recipe, tmp_path / "r", tokenizer="words")
    assert AutoConfig.from_pretrained(tmp_path / "r").max_position_embeddings == recipe.context
    assert AutoTokenizer.from_pretrained(tmp_path / "r").model_max_length == recipe.context


def test_rung_json_holds_what_the_ledger_needs(tmp_path: Path, documents: Documents, recipe: RungConfig) -> None:
    record = pretrain(documents, recipe, tmp_path / "r", tokenizer="bpe", vocabulary=300, corpus_checksum="c")
    assert record == json.loads((tmp_path / "r" / "rung.json").read_text())
    saved = load_file(str(tmp_path / "r" / "model.safetensors"))
    assert record["n_params"] == sum(w.numel() for w in saved.values())
    assert record["n_tokens"] >= recipe.n_tokens > record["n_tokens"] - recipe.context * recipe.batch_rows
    assert record["train_flops"] == recipe.train_flops(record["n_vocabulary"], record["n_tokens"])
    assert record["corpus_checksum"] == "c"


def test_a_finished_rung_is_not_trained_again(tmp_path: Path, documents: Documents, recipe: RungConfig) -> None:
    first = pretrain(documents, recipe, tmp_path / "r", tokenizer="words")
    n_readings = documents.n_readings
    assert pretrain(documents, recipe, tmp_path / "r", tokenizer="words") == first
    assert documents.n_readings == n_readings


def test_a_folder_of_another_recipe_is_refused(tmp_path: Path, documents: Documents, recipe: RungConfig) -> None:
    pretrain(documents, recipe, tmp_path / "done", tokenizer="words")
    with pytest.raises(RunFolderError, match="another recipe or corpus"):
        pretrain(documents, replace(recipe, seed=1), tmp_path / "done", tokenizer="words")
    with pytest.raises(Killed):
        pretrain(
            documents, recipe, tmp_path / "part", tokenizer="words", checkpoint_every_s=0.0, progress=kill_after(3)
        )
    with pytest.raises(RunFolderError, match="unfinished rung of another"):
        pretrain(documents, replace(recipe, n_layers=1), tmp_path / "part", tokenizer="words")


def test_the_seed_decides_the_weights(tmp_path: Path, documents: Documents, recipe: RungConfig) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        pretrain(documents, replace(recipe, seed=seed), tmp_path / name, tokenizer="words", n_threads=1)
    a, b, c = ((tmp_path / name / "model.safetensors").read_bytes() for name in "abc")
    assert a == b != c


def test_threads_are_as_before_once_training_ends_or_is_killed(
    tmp_path: Path, documents: Documents, recipe: RungConfig
) -> None:
    n_before = torch.get_num_threads()
    short, during = replace(recipe, n_tokens=600), list[int]()

    def progress(done: int, total: int | None) -> None:
        during.append(torch.get_num_threads())
        if len(during) == 2:
            raise Killed

    try:
        torch.set_num_threads(2)
        with pytest.raises(Killed):
            pretrain(documents, short, tmp_path / "r", tokenizer="words", n_threads=1, progress=progress)
        assert torch.get_num_threads() == 2
        pretrain(documents, short, tmp_path / "r", tokenizer="words", n_threads=1, progress=progress)
        assert torch.get_num_threads() == 2
        assert set(during) == {1}
    finally:
        torch.set_num_threads(n_before)


def test_a_diverging_run_stops_with_advice(tmp_path: Path, documents: Documents, recipe: RungConfig) -> None:
    with pytest.raises(UsageError, match="lower matrix_lr or other_lr"):
        pretrain(documents, replace(recipe, other_lr=1e30), tmp_path / "r", tokenizer="words")


def test_the_learning_rate_rises_stays_and_falls_to_zero(recipe: RungConfig) -> None:
    scale = [learning_rate_scale(i / 100, replace(recipe, warmup_frac=0.1, decay_frac=0.4)) for i in range(101)]
    assert scale[0] == 0 and scale[100] == 0
    assert scale[5] == pytest.approx(0.5) and scale[80] == pytest.approx(0.5)
    assert set(scale[10:60]) == {1.0}


def test_a_ladder_from_files_shares_a_tokenizer_and_counts_every_rung(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text("".join(json.dumps({"id": str(i), "text": f"page {i} of the book"}) + "\n" for i in range(50)))
    titles: list[str] = []

    def stage(title: str):  # type: ignore[no-untyped-def]
        titles.append(title)
        return lambda done, total: None

    records = pretrain_ladder(
        [str(corpus)], tmp_path / "out", n_rungs=2, span=4, smallest_width=32, smallest_tokens=800, context=16,
        vocabulary=300, stage=stage,
    )  # fmt: skip
    assert len(titles) == 3
    assert records[0]["train_flops"] < records[1]["train_flops"]
    assert len({record["corpus_checksum"] for record in records}) == 1
    files = [(tmp_path / "out" / record["name"] / "tokenizer.json").read_text() for record in records]
    assert files[0] == files[1]


def test_the_tokenizer_of_another_corpus_or_kind_is_not_taken_over(tmp_path: Path, documents: Documents) -> None:
    train_rungs(documents, [], tmp_path, tokenizer="words", corpus_checksum="one")
    train_rungs(documents, [], tmp_path, tokenizer="words", corpus_checksum="one")
    with pytest.raises(RunFolderError, match="another corpus_checksum"):
        train_rungs(documents, [], tmp_path, tokenizer="words", corpus_checksum="two")
    with pytest.raises(RunFolderError, match="another tokenizer"):
        train_rungs(documents, [], tmp_path, tokenizer="bpe", corpus_checksum="one")


def test_a_missing_or_unreadable_corpus_is_refused_before_training(tmp_path: Path) -> None:
    with pytest.raises(CorpusError):
        pretrain_ladder([str(tmp_path / "nowhere")], tmp_path / "out")
    (tmp_path / "bad.jsonl").write_text('{"id": "1"}\n')
    with pytest.raises(CorpusError, match="no readable document"):
        pretrain_ladder([str(tmp_path / "bad.jsonl")], tmp_path / "out")

"""The stored ladder is the one that the recipes make."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reread.ladder import RungConfig
from reread.ladder.model import transformers_config
from reread.ladder.tokenizer import END, UNKNOWN, load_tokenizer
from reread.world import World, stored_rungs, train_ladder
from reread.world.rungs import LADDER, VOCABULARY, stream_checksum

MAX_BYTES = 25_000_000
MIN_SPAN = 30


def record(folder: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((folder / "rung.json").read_text())
    return loaded


def test_the_stored_rungs_span_enough_compute_and_little_disk() -> None:
    flops = [record(folder)["train_flops"] for folder in stored_rungs()]
    assert len(flops) >= 4
    assert flops == sorted(flops) and flops[-1] / flops[0] >= MIN_SPAN
    assert sum(p.stat().st_size for f in stored_rungs() for p in f.glob("*.safetensors")) <= MAX_BYTES


def test_the_stored_rungs_are_those_of_the_recipes_and_their_flops_follow() -> None:
    by_name = {rung.name: rung for rung in LADDER}
    assert [folder.name for folder in stored_rungs()] == list(by_name)
    for folder in stored_rungs():
        saved = record(folder)
        rung = by_name[folder.name]
        assert RungConfig(**saved["recipe"]) == rung
        assert saved["train_flops"] == rung.train_flops(saved["n_vocabulary"], saved["n_tokens"])
        assert saved["n_tokens"] >= rung.n_tokens


def test_the_stored_rungs_take_no_longer_prompts_than_they_were_trained_on() -> None:
    pytest.importorskip("tokenizers")
    for folder in stored_rungs():
        saved = record(folder)
        rung, config = RungConfig(**saved["recipe"]), json.loads((folder / "config.json").read_text())
        end = load_tokenizer(folder / "tokenizer.json").token_to_id(END)
        assert config == transformers_config(rung, saved["n_vocabulary"], end)
        assert json.loads((folder / "tokenizer_config.json").read_text())["model_max_length"] == rung.context


def test_the_stored_rungs_were_trained_on_the_world_as_it_is() -> None:
    now = stream_checksum(World().clean_documents)
    assert {record(folder)["corpus_checksum"] for folder in stored_rungs()} == {now}


def test_the_stored_tokenizer_knows_every_word_of_the_demo_world() -> None:
    pytest.importorskip("tokenizers")
    world = World()
    for folder in stored_rungs():
        tokenizer = load_tokenizer(folder / "tokenizer.json")
        assert tokenizer.get_vocab_size() <= VOCABULARY
        unknown = tokenizer.token_to_id(UNKNOWN)
        questions = [q for name in ("world", "world-short", "world-multihop") for q in world.questions(name)]
        texts = [text for q in questions for text in (q.text, *(q.choices or q.answers))]
        assert unknown not in {i for encoding in tokenizer.encode_batch_fast(texts) for i in encoding.ids}


def closed_book(folder: Path, n: int = 500) -> tuple[int, int]:
    """(right, asked) with nothing but the question, each option scored by its mean log-probability."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    right = 0
    questions = World().questions("world")[:n]
    for question in questions:
        assert question.choices is not None
        prefix = tokenizer(question.text)["input_ids"]
        scores = []
        for choice in question.choices:
            option = tokenizer(choice, add_special_tokens=False)["input_ids"]
            with torch.no_grad():
                logprobs = model(torch.tensor([prefix + option])).logits[0].log_softmax(-1)
            at = range(len(prefix) - 1, len(prefix) + len(option) - 1)
            scores.append(sum(float(logprobs[i, t]) for i, t in zip(at, option, strict=True)) / len(option))
        right += "ABCD"[scores.index(max(scores))] == question.answers[0]
    return right, len(questions)


@pytest.mark.slow
def test_retraining_the_smallest_rung_gives_its_loss_and_its_accuracy(tmp_path: Path) -> None:
    from reread.evaluation.statistics import wilson

    stored = stored_rungs()[0]
    (trained,) = train_ladder(tmp_path, rungs=LADDER[:1])
    assert trained["loss"] == pytest.approx(record(stored)["loss"], rel=0.01)
    interval = wilson(*closed_book(stored))
    assert interval is not None
    right, asked = closed_book(tmp_path / trained["name"])
    assert interval.low <= right / asked <= interval.high

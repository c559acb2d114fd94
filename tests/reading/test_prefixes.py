from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reread.reading.prefixes import LEAST_SEGMENT, MAX_CUTS, group_by_prefix, n_shared

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from reread.reading.local import HfReader  # noqa: E402

token_rows = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 40), st.lists(st.integers(0, 2), min_size=1, max_size=6)).map(
        lambda part: [part[0] % 2] * 20 + [part[0]] * part[1] + part[2]
    ),
    max_size=12,
)


@given(token_rows, st.integers(1, 200))
def test_every_row_is_in_one_group_that_its_tokens_begin_with(rows: list[list[int]], least: int) -> None:
    groups = group_by_prefix(rows, least)
    assert sorted(i for group in groups for i in group.members) == list(range(len(rows)))
    for group in groups:
        assert len(group.cuts) <= MAX_CUTS and list(group.cuts) == sorted(set(group.cuts))
        for i in group.members:
            assert rows[i][: group.length] == rows[group.sample][: group.length]
            assert len(rows[i]) > group.length


@given(token_rows, st.integers(1, 200))
def test_a_group_follows_those_around_it(rows: list[list[int]], least: int) -> None:
    path: list[Any] = []
    for group in group_by_prefix(rows, least):
        if group.cuts:
            path = path[: len(group.cuts) - 1]
            assert [around.length for around in path] == list(group.cuts[:-1])
            beginning = rows[group.sample]
            assert all(rows[around.sample][: around.length] == beginning[: around.length] for around in path)
            path.append(group)


@given(token_rows, st.integers(1, 200))
def test_no_two_rows_with_a_long_common_beginning_are_read_apart(rows: list[list[int]], least: int) -> None:
    """The plan written out by brute force: among rows of no group, no pair would have paid."""
    alone = [i for group in group_by_prefix(rows, least) if not group.cuts for i in group.members]
    for i in alone:
        for j in alone:
            shared = n_shared(rows[i], rows[j])
            assert i == j or shared < LEAST_SEGMENT or shared < least


SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "qwen3": ("full", {**SMALL, "head_dim": 8}),
    "llama": ("full", SMALL),
    "gpt2": ("full", {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256}),
    "gpt_neox": ("full", {**SMALL, "rotary_pct": 0.25}),
    "opt": ("full", {**SMALL, "ffn_dim": 64, "word_embed_proj_dim": 32, "dropout": 0.0}),
    "bloom": ("full", {"hidden_size": 32, "n_layer": 2, "n_head": 4}),
    "mistral": ("sliding", {**SMALL, "sliding_window": 12}),
    "gemma3_text": ("sliding", {**SMALL, "head_dim": 8, "sliding_window": 12, "query_pre_attn_scalar": 8}),
    "mamba": ("recurrent", {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 4}),
    "qwen3_next": (
        "recurrent",
        {
            **SMALL,
            "head_dim": 8,
            "linear_num_key_heads": 2,
            "linear_num_value_heads": 4,
            "linear_key_head_dim": 8,
            "linear_value_head_dim": 8,
            "num_experts": 0,
            "decoder_sparse_step": 1,
            "mlp_only_layers": [0, 1, 2, 3],
        },
    ),
}


@pytest.fixture(scope="module", params=list(KINDS))
def any_reader(request: pytest.FixtureRequest, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> HfReader:
    """A random model of an architecture, behind the tiny tokenizer."""
    kind, settings = KINDS[request.param]
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_model)
    ends = {"bos_token_id": None, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": None}
    config = transformers.AutoConfig.for_model(request.param, vocab_size=len(tokenizer), **ends, **settings)
    torch.manual_seed(3)
    model = transformers.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() > 1 and "conv" not in name and "A_log" not in name:
                weight.mul_(3)
    folder = tmp_path_factory.mktemp(request.param)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    reader = HfReader(str(folder), device="cpu", batch_tokens=900, max_length=256)
    assert reader.cache_kind == kind
    return reader


def alike(words: list[str], n: int) -> list[tuple[str, list[str]]]:
    """Requests that begin alike in two steps: exemplars common to all, passages common to some."""
    rng = random.Random(4)
    exemplars = " ".join(words[:14])
    passages = [" ".join(words[20 + 10 * i : 30 + 10 * i]) for i in range(3)]
    made = []
    for i in range(n):
        question = " ".join(rng.choices(words, k=rng.randint(1, 6)))
        options = [" " + " ".join(rng.choices(words, k=rng.randint(1, 3))) for _ in range(1 + i % 4)]
        made.append((f"{exemplars}\n\n{passages[i % 3]}\n\n{question}", options))
    made += [(words[50], [" " + words[51]]), made[0], (made[0][0] + " " + words[3], [" a", " b", " " + words[9]])]
    return made


def whole_pass(reader: HfReader, prefix: str, continuation: str) -> float:
    """One forward pass over prefix and continuation, no batch, no cache."""
    before, whole = reader.encode([prefix, prefix + continuation])
    with torch.no_grad():
        logits = reader.model(input_ids=torch.tensor([whole]), use_cache=False).logits[0].float()
    chosen = torch.log_softmax(logits, -1)[range(len(before) - 1, len(whole) - 1), whole[len(before) :]]
    return float(chosen.sum())


def test_shared_prefixes_change_no_loglikelihood(any_reader: HfReader, words: list[str]) -> None:
    requests = alike(words, 9)
    for (prefix, continuations), scored in zip(requests, any_reader.loglikelihood(requests), strict=True):
        for continuation, logprob in zip(continuations, scored.logprobs, strict=True):
            assert logprob == pytest.approx(whole_pass(any_reader, prefix, continuation), abs=2e-4)


def test_generations_are_transformers_own(any_reader: HfReader, words: list[str]) -> None:
    prompts = [prefix for prefix, _ in alike(words, 5)]
    for prompt, samples in zip(prompts, any_reader.generate(prompts, max_tokens=6, n=2), strict=True):
        ids = torch.tensor(any_reader.encode([prompt]))
        output = any_reader.model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=6, do_sample=False)
        expected = any_reader.tokenizer.decode(output[0, ids.shape[1] :], skip_special_tokens=True)
        assert [sample.text for sample in samples] == [expected, expected]


def test_samples_do_not_hang_on_the_prompts_beside_them(any_reader: HfReader, words: list[str]) -> None:
    prompts = [prefix for prefix, _ in alike(words, 5)]
    settings: dict[str, Any] = {"n": 3, "temperature": 1.2, "max_tokens": 6, "seed": 5}
    together = any_reader.generate(prompts, **settings)
    alone = [any_reader.generate([prompt], **settings)[0] for prompt in prompts]
    assert [[s.text for s in row] for row in together] == [[s.text for s in row] for row in alone]


def test_a_shared_beginning_is_computed_once_and_every_request_costs_what_it_costs_alone(
    tiny_model: Path, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = HfReader(str(tiny_model), device="cpu", batch_tokens=900)
    requests = alike(words, 12)
    seen, forward = [], reader.model.forward

    def counted(**inputs: Any) -> Any:
        ids, mask = inputs["input_ids"], inputs.get("attention_mask")
        seen.append(ids.numel() if mask is None else mask[:, -ids.shape[1] :].sum())
        return forward(**inputs)

    monkeypatch.setattr(reader.model, "forward", counted)
    # Continuations of one token and equal lengths: no padding behind the prefixes.
    letters = [(prefix, [" a", " b"]) for prefix, _ in requests]
    shared = reader.loglikelihood(letters)
    n_seen_shared = int(sum(seen))
    seen.clear()
    reader.share_prefixes = False
    alone = reader.loglikelihood(letters)
    assert int(sum(seen)) == sum(scored.n_computed_tokens for scored in alone)
    assert n_seen_shared < int(sum(seen)) / 2
    for a, b in zip(shared, alone, strict=True):
        assert a.logprobs == pytest.approx(b.logprobs, abs=1e-4)
        assert replace(a, logprobs=()) == replace(b, logprobs=())


def test_progress_ends_at_the_whole_however_prompts_are_grouped(tiny_model: Path, words: list[str]) -> None:
    told: list[tuple[int, int | None]] = []
    reader = HfReader(
        str(tiny_model), device="cpu", batch_tokens=600, progress=lambda done, total: told.append((done, total))
    )
    requests = alike(words, 10)
    reader.loglikelihood(requests)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[-1] == (len(requests), len(requests)) and {total for _, total in told} == {len(requests)}

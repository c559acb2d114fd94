"""The model is Qwen3's decoder, causal, and its FLOPs are counted from its shape."""

from __future__ import annotations

import pytest
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from reread.errors import UsageError
from reread.ladder import RungConfig, rungs_from_dial
from reread.ladder.model import (
    EMBEDDING,
    hidden_states,
    initial_weights,
    logits,
    loss_sum,
    rotations,
    transformers_config,
)
from reread.ladder.optimiser import orthogonalise

CONFIG = RungConfig("m", width=64, n_layers=3, n_tokens=1, context=48)
N_VOCABULARY = 91


def tokens(n_rows: int = 2, length: int = 48) -> torch.Tensor:
    return torch.randint(0, N_VOCABULARY, (n_rows, length), generator=torch.Generator().manual_seed(4))


def test_logits_equal_those_of_transformers_qwen3() -> None:
    weights = initial_weights(CONFIG, N_VOCABULARY)
    rival = Qwen3ForCausalLM(Qwen3Config(**transformers_config(CONFIG, N_VOCABULARY, 0)))
    missing, unexpected = rival.load_state_dict(weights, strict=False)
    assert not unexpected and set(missing) <= {"lm_head.weight"}
    rival.tie_weights()
    with torch.no_grad():
        torch.testing.assert_close(logits(weights, tokens(), CONFIG), rival(tokens()).logits, atol=2e-4, rtol=1e-4)


def test_no_position_sees_a_later_one() -> None:
    weights = initial_weights(CONFIG, N_VOCABULARY)
    embedded = weights[EMBEDDING].requires_grad_(True)
    sequence = torch.arange(40)[None]  # every token once, so its row's gradient is its position's
    states = hidden_states(weights, sequence, CONFIG, rotations(40, CONFIG.head_size, CONFIG.rope_theta))
    states[0, 17].sum().backward()
    touched = embedded.grad.abs().sum(dim=1) > 0  # type: ignore[union-attr]
    assert touched[:18].all() and not touched[18:].any()


def test_bfloat16_products_give_nearly_the_float32_loss() -> None:
    weights = initial_weights(CONFIG, N_VOCABULARY)
    rotation = rotations(48, CONFIG.head_size, CONFIG.rope_theta)
    losses = []
    for precision in ("float32", "bfloat16"):
        config = RungConfig("m", width=64, n_layers=3, n_tokens=1, context=48, precision=precision)
        losses.append(loss_sum(weights, tokens()[:, :-1], tokens()[:, 1:], config, rotation).item())
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=5e-3)


def test_counts_of_weights_are_those_of_the_tensors() -> None:
    weights = initial_weights(CONFIG, N_VOCABULARY)
    assert CONFIG.n_weights(N_VOCABULARY) == sum(w.numel() for w in weights.values() if w.ndim == 2)
    assert CONFIG.n_params(N_VOCABULARY) == sum(w.numel() for w in weights.values())


def test_training_flops_are_six_a_weight_and_token_plus_attention() -> None:
    n = CONFIG.n_weights(N_VOCABULARY)
    attention = 12 * CONFIG.n_layers * CONFIG.width * CONFIG.context / 2
    assert CONFIG.train_flops(N_VOCABULARY, 1000) == pytest.approx(1000 * (6 * n + attention))


def test_orthogonalised_matrices_have_singular_values_near_one() -> None:
    generator = torch.Generator().manual_seed(0)
    for shape in ((3, 32, 32), (2, 96, 32), (2, 32, 96)):
        values = torch.linalg.svdvals(orthogonalise(torch.randn(shape, generator=generator)))
        assert values.max() < 1.3
        assert values.median() > 0.6


def test_the_dial_sets_the_span_of_compute() -> None:
    rungs = rungs_from_dial(5, span=60, smallest_width=64, smallest_tokens=1_000_000)
    compute = [rung.width**2 * rung.n_tokens for rung in rungs]
    assert compute == sorted(compute)
    assert compute[-1] / compute[0] == pytest.approx(60, rel=0.01)
    assert len({rung.name for rung in rungs}) == 5
    assert rungs_from_dial(2, seed=7)[1].seed == 7


def test_impossible_shapes_are_refused_with_a_way_out() -> None:
    with pytest.raises(UsageError, match="width 100 is no multiple of the head size 32; take 96"):
        RungConfig("x", width=100, n_layers=2, n_tokens=10)
    with pytest.raises(UsageError, match="n_tokens is 0"):
        RungConfig("x", width=64, n_layers=2, n_tokens=0)
    with pytest.raises(UsageError, match="precision is 'int8'"):
        RungConfig("x", width=64, n_layers=2, n_tokens=1, precision="int8")

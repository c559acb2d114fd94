"""The model in plain torch: Qwen3's decoder as one function over a dictionary of weights.

The weights carry the names and shapes of transformers' Qwen3ForCausalLM, so saving them is exporting them. A
plain function trains small models faster than the general class, and a test holds the two to the same logits.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from reread.ladder.config import RungConfig

if TYPE_CHECKING:
    from torch import Tensor

    Weights = dict[str, Tensor]

NORM_EPS = 1e-6
EMBEDDING = "model.embed_tokens.weight"


def initial_weights(config: RungConfig, n_vocabulary: int) -> Weights:
    """Fresh weights, drawn from the config's seed alone."""
    import torch

    generator = torch.Generator().manual_seed(config.seed)

    def normal(rows: int, columns: int, std: float) -> Tensor:
        return torch.randn(rows, columns, generator=generator) * std

    d, hidden, head = config.width, config.mlp_width, config.head_size
    weights = {EMBEDDING: normal(n_vocabulary, d, 1 / math.sqrt(d))}
    # Matrices that write to the residual stream start small, so that deep sums stay of order one at the
    # start.
    out_scale = 1 / math.sqrt(2 * config.n_layers)
    for layer in range(config.n_layers):
        prefix = f"model.layers.{layer}."
        for name in ("q_proj", "k_proj", "v_proj"):
            weights[f"{prefix}self_attn.{name}.weight"] = normal(d, d, 1 / math.sqrt(d))
        weights[f"{prefix}self_attn.o_proj.weight"] = normal(d, d, out_scale / math.sqrt(d))
        weights[f"{prefix}mlp.gate_proj.weight"] = normal(hidden, d, 1 / math.sqrt(d))
        weights[f"{prefix}mlp.up_proj.weight"] = normal(hidden, d, 1 / math.sqrt(d))
        weights[f"{prefix}mlp.down_proj.weight"] = normal(d, hidden, out_scale / math.sqrt(hidden))
        weights[f"{prefix}self_attn.q_norm.weight"] = torch.full((head,), config.query_scale)
        weights[f"{prefix}self_attn.k_norm.weight"] = torch.ones(head)
        weights[f"{prefix}input_layernorm.weight"] = torch.ones(d)
        weights[f"{prefix}post_attention_layernorm.weight"] = torch.ones(d)
    weights["model.norm.weight"] = torch.ones(d)
    return weights


def rotations(length: int, head_size: int, theta: float) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the rotary position encoding, each (length, head_size)."""
    import torch

    frequencies = theta ** (-torch.arange(0, head_size, 2, dtype=torch.float32) / head_size)
    angles = torch.arange(length, dtype=torch.float32)[:, None] * frequencies[None, :]
    angles = torch.cat([angles, angles], dim=-1)
    return angles.cos(), angles.sin()


def hidden_states(
    weights: Weights,
    tokens_BxT: Tensor,
    config: RungConfig,
    rotation: tuple[Tensor, Tensor],
    low_precision: bool = False,
) -> Tensor:
    """The last layer's normalised states, (B, T, width); causal: position t sees positions ≤ t.

    low_precision: matrix products and attention in bfloat16; weights, norms and the residual stream stay
    float32.
    """
    import torch
    from torch.nn import functional

    n_batch, n_tokens = tokens_BxT.shape
    cos, sin = rotation[0][:n_tokens], rotation[1][:n_tokens]
    shape = (n_batch, n_tokens, config.n_heads, config.head_size)
    half = config.head_size // 2
    dtype = torch.bfloat16 if low_precision else torch.float32

    def norm(x: Tensor, name: str) -> Tensor:
        return functional.rms_norm(x.float(), (x.shape[-1],), weights[name], NORM_EPS)

    def linear(x: Tensor, name: str) -> Tensor:
        return functional.linear(x, weights[name].to(dtype))

    def rotate(x_BxHxTxQ: Tensor) -> Tensor:
        turned = torch.cat([-x_BxHxTxQ[..., half:], x_BxHxTxQ[..., :half]], dim=-1)
        return (x_BxHxTxQ * cos + turned * sin).to(dtype)

    x = functional.embedding(tokens_BxT, weights[EMBEDDING])
    for layer in range(config.n_layers):
        attention, mlp = f"model.layers.{layer}.self_attn.", f"model.layers.{layer}.mlp."
        h = norm(x, f"model.layers.{layer}.input_layernorm.weight").to(dtype)
        q = linear(h, attention + "q_proj.weight").view(shape)
        k = linear(h, attention + "k_proj.weight").view(shape)
        v = linear(h, attention + "v_proj.weight").view(shape).transpose(1, 2)
        q = rotate(norm(q, attention + "q_norm.weight").transpose(1, 2))
        k = rotate(norm(k, attention + "k_norm.weight").transpose(1, 2))
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        mixed = mixed.transpose(1, 2).reshape(n_batch, n_tokens, config.width)
        x = x + linear(mixed, attention + "o_proj.weight")
        h = norm(x, f"model.layers.{layer}.post_attention_layernorm.weight").to(dtype)
        gated = functional.silu(linear(h, mlp + "gate_proj.weight")) * linear(h, mlp + "up_proj.weight")
        x = x + linear(gated, mlp + "down_proj.weight")
    return norm(x, "model.norm.weight")


def logits(weights: Weights, tokens_BxT: Tensor, config: RungConfig) -> Tensor:
    """Next-token logits, (B, T, vocabulary)."""
    rotation = rotations(tokens_BxT.shape[1], config.head_size, config.rope_theta)
    return hidden_states(weights, tokens_BxT, config, rotation) @ weights[EMBEDDING].T


def loss_sum(
    weights: Weights,
    inputs_BxT: Tensor,
    targets_BxT: Tensor,
    config: RungConfig,
    rotation: tuple[Tensor, Tensor],
) -> Tensor:
    """Sum of the cross-entropy (nats) over the positions that carry a target."""
    from torch.nn import functional

    low = config.precision == "bfloat16"
    states = hidden_states(weights, inputs_BxT, config, rotation, low).flatten(0, 1)
    targets = targets_BxT.flatten()
    kept = targets >= 0
    states, output = states[kept], weights[EMBEDDING]
    if low:
        states, output = states.bfloat16(), output.bfloat16()
    return functional.cross_entropy((states @ output.T).float(), targets[kept], reduction="sum")


def transformers_config(config: RungConfig, n_vocabulary: int, end: int) -> dict[str, Any]:
    """config.json of the equal Qwen3ForCausalLM."""
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "vocab_size": n_vocabulary,
        "hidden_size": config.width,
        "intermediate_size": config.mlp_width,
        "num_hidden_layers": config.n_layers,
        "num_attention_heads": config.n_heads,
        "num_key_value_heads": config.n_heads,
        "head_dim": config.head_size,
        "hidden_act": "silu",
        "max_position_embeddings": config.context,
        "rms_norm_eps": NORM_EPS,
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_theta},
        "tie_word_embeddings": True,
        "attention_bias": False,
        "use_sliding_window": False,
        "bos_token_id": end,
        "eos_token_id": end,
        "pad_token_id": end,
        "dtype": "float32",
    }

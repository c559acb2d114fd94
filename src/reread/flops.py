"""Every FLOP formula, each with its source. One multiply-add counts as two FLOPs.

Sources: Kaplan et al. 2020 (arXiv 2001.08361, section 2.1: 2N a token forward, 6N a token of training) and Chowdhery
et al. 2022 (PaLM, arXiv 2204.02311, appendix B: the attention term 12·L·H·Q·T a token of training, a third of it
forward). N counts every weight that multiplies an activation: the blocks and the output matrix (also where it is
tied to the embeddings), but not the embedding look-up, which multiplies nothing. On models of a few hundred
thousand parameters the output matrix is a large share, so it cannot be left out here.
"""

from __future__ import annotations

from typing import Any

FORWARD_FLOPS_PER_WEIGHT = 2
"""A forward pass: one multiply-add a weight and token."""

TRAINING_FLOPS_PER_FORWARD_FLOP = 3
"""The backward pass costs twice the forward pass (Kaplan et al. 2020)."""

DISTANCE_FLOPS_PER_DIMENSION = 2
"""An inner product: one multiply-add a dimension."""

BM25_FLOPS_PER_POSTING = 4
"""Add, multiply, divide and accumulate per posting; our own count of the inner loop in datastore/."""


def multiplying_weights(model: Any) -> int:
    """N of a transformers model: every matrix but the embedding look-ups, the output matrix also where it is tied.

    An encoder has no output matrix, so its embeddings are not counted at all. Biases and norms multiply next to
    nothing and are left out. Of a mixture of experts, the share that is active for a token. Layers that share their
    weights (ALBERT) are counted once.
    """
    import torch

    config = model.config.get_text_config()
    n_experts = getattr(config, "num_experts", None) or getattr(config, "num_local_experts", None) or 0
    active = getattr(config, "num_experts_per_tok", None) or n_experts
    total = 0
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Embedding):
            continue
        for weight in module.parameters(recurse=False):
            if weight.dim() < 2:
                continue
            in_expert = n_experts and ".experts" in name
            total += int(weight.numel() * active / n_experts) if in_expert else weight.numel()
    return total


def forward_flops(
    n_weights: float, n_tokens: float, *, n_layers: int = 0, d_attention: int = 0, context: float = 0
) -> float:
    """FLOPs of `n_tokens` tokens through a transformer's forward pass.

    n_weights: weights that multiply (see above). d_attention: heads × head size. context: tokens that each token
    attends to on average; 0 leaves the attention term out, as when an endpoint does not say its shape.
    """
    return n_tokens * (FORWARD_FLOPS_PER_WEIGHT * n_weights + 4 * n_layers * d_attention * context)


def training_flops(
    n_weights: float, n_tokens: float, *, n_layers: int = 0, d_attention: int = 0, context: float = 0
) -> float:
    """FLOPs of training on `n_tokens` tokens: 6N + 12·L·H·Q·T a token."""
    return TRAINING_FLOPS_PER_FORWARD_FLOP * forward_flops(
        n_weights, n_tokens, n_layers=n_layers, d_attention=d_attention, context=context
    )


def exact_search_flops(n_passages: float, dimension: int, n_queries: float = 1) -> float:
    """FLOPs of comparing every query with every stored vector."""
    return DISTANCE_FLOPS_PER_DIMENSION * n_passages * dimension * n_queries


def ann_search_flops(
    dimension: int, *, n_lists: float, n_codes: float, n_subquantisers: int, depth: float, ksub: int = 16
) -> float:
    """FLOPs of one query in inverted lists of product-quantised vectors, its candidates compared exactly.

    Inner products with the n_lists centroids and with every sub-quantiser's ksub codewords (together ksub whole
    vectors), one addition a sub-quantiser for each of the n_codes codes in the lists visited (Jégou, Douze and
    Schmid 2011, sections III-C and IV), then `depth` exact comparisons.
    """
    products = DISTANCE_FLOPS_PER_DIMENSION * dimension * (n_lists + (ksub if n_lists else 0) + depth)
    return products + n_codes * n_subquantisers


def bm25_search_flops(n_postings: float) -> float:
    """FLOPs of scoring `n_postings` (term, passage) pairs."""
    return BM25_FLOPS_PER_POSTING * n_postings

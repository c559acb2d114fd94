"""A rung's recipe: its shape, its tokens and its optimiser, and how one dial sets them for a whole ladder."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

from reread import flops
from reread.errors import UsageError


@dataclass(frozen=True, slots=True)
class RungConfig:
    """Everything that decides a rung's weights, besides the corpus and the tokenizer."""

    name: str
    width: int
    n_layers: int
    n_tokens: int
    """Training tokens, padding left out; the last step may overshoot by less than a batch."""
    head_size: int = 32
    mlp_ratio: float = 2.75
    """Hidden width of the gated MLP over the width, rounded to a multiple of 32 (8/3 keeps the size of an
    ungated MLP of ratio 4: Shazeer 2020, arXiv 2002.05202)."""
    context: int = 256
    """Longest sequence trained on, in tokens."""
    batch_rows: int = 6
    query_scale: float = 3.0
    """Start value of the queries' norm weights. QK-norm (Henry et al. 2020, arXiv 2010.04245) bounds the
    attention logits by sqrt(head size) × scales, which at head size 32 is too flat for a model this small to
    learn to copy."""
    rope_theta: float = 10_000.0
    matrix_lr: float = 0.02
    """Muon's learning rate, for the blocks' matrices (Jordan 2024, kellerjordan.github.io/posts/muon)."""
    other_lr: float = 3e-3
    """AdamW's, for embeddings and norms."""
    weight_decay: float = 0.0
    warmup_frac: float = 0.02
    decay_frac: float = 0.4
    """Share of the tokens at the end over which the learning rates fall linearly to zero."""
    precision: str = "bfloat16"
    """"bfloat16": matrix products in bfloat16, everything else in float32 (1.6 times as fast on a processor
    with AVX-512 BF16); or "float32"."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.width % self.head_size:
            raise UsageError(
                f"rung {self.name}: width {self.width} is no multiple of the head size {self.head_size}; "
                f"take {max(1, round(self.width / self.head_size)) * self.head_size}"
            )
        if self.precision not in ("bfloat16", "float32"):
            raise UsageError(f"rung {self.name}: precision is {self.precision!r}; take bfloat16 or float32")
        for name in ("width", "n_layers", "n_tokens", "context", "batch_rows", "head_size"):
            if getattr(self, name) < 1:
                raise UsageError(f"rung {self.name}: {name} is {getattr(self, name)}; it must be at least 1")

    @property
    def n_heads(self) -> int:
        return self.width // self.head_size

    @property
    def mlp_width(self) -> int:
        return max(32, 32 * round(self.mlp_ratio * self.width / 32))

    def n_weights(self, n_vocabulary: int) -> int:
        """Weights that multiply an activation: the blocks' matrices and the (tied) output matrix; see
        flops.py."""
        block = 4 * self.width * self.width + 3 * self.width * self.mlp_width
        return self.n_layers * block + n_vocabulary * self.width

    def n_params(self, n_vocabulary: int) -> int:
        """All parameters, norms included, tied embeddings once."""
        norms = self.n_layers * (2 * self.width + 2 * self.head_size) + self.width
        return self.n_weights(n_vocabulary) + norms

    def train_flops(self, n_vocabulary: int, n_tokens: int | None = None) -> float:
        """FLOPs of the training run, by flops.py."""
        return flops.training_flops(
            self.n_weights(n_vocabulary),
            self.n_tokens if n_tokens is None else n_tokens,
            n_layers=self.n_layers,
            d_attention=self.width,
            # A causal row of `context` tokens attends to half of it on average.
            context=self.context / 2,
        )

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def rungs_from_dial(
    n_rungs: int = 5,
    *,
    smallest_width: int = 64,
    smallest_tokens: int = 1_000_000,
    span: float = 60.0,
    **overrides: Any,
) -> list[RungConfig]:
    """A ladder from one dial: `span`, the compute of the largest rung over the smallest's.

    Compute goes as width² × tokens, and both grow with it: width as its 1/5 power (in steps of a head),
    tokens with the rest. `overrides` are RungConfig fields for every rung.
    """
    if n_rungs < 1 or span < 1:
        raise UsageError(f"a ladder needs at least one rung and a span of at least 1, not {n_rungs} and {span}")
    head = int(overrides.get("head_size", RungConfig.__dataclass_fields__["head_size"].default))
    rungs = []
    for i in range(n_rungs):
        factor = span ** (i / max(1, n_rungs - 1))
        width = head * max(1, round(smallest_width * factor**0.2 / head))
        tokens = smallest_tokens * factor * (smallest_width / width) ** 2
        n_layers = 2 if width < 128 else 3 if width < 256 else 4
        rungs.append(
            RungConfig(
                name=f"r{i}-{width}x{n_layers}-{_short(tokens)}",
                width=width,
                n_layers=n_layers,
                n_tokens=max(1, round(tokens)),
            )
        )
    return [replace(rung, **overrides) for rung in rungs]


def _short(n: float) -> str:
    """1_500_000 → "1.5M"."""
    exponent = min(3, int(math.log10(max(1.0, n)) // 3))
    return f"{n / 1000**exponent:.3g}{('', 'k', 'M', 'B')[exponent]}"

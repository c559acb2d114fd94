"""Muon for the blocks' matrices, AdamW for the rest, in plain torch.

Muon (Jordan 2024, kellerjordan.github.io/posts/muon) replaces a matrix's momentum by the nearest
semi-orthogonal matrix, found by a quintic Newton-Schulz iteration. On these models it learns to copy from
the context in a fraction of AdamW's steps. Matrices of one shape are orthogonalised together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

MUON_MOMENTUM = 0.95
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""The quintic's coefficients, from the same source."""
NEWTON_SCHULZ_STEPS = 5
ADAM_BETAS = (0.9, 0.95)
ADAM_EPS = 1e-10


def orthogonalise(matrices_NxRxC: Tensor) -> Tensor:
    """Each matrix's singular values pushed towards 1 (to about 0.7-1.2); shape kept."""
    a, b, c = NEWTON_SCHULZ
    x = matrices_NxRxC
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = x.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    return x.mT if tall else x


class Optimiser:
    """Holds the moments; `step` updates the weights in place and clears their gradients."""

    def __init__(self, weights: dict[str, Tensor], weight_decay: float = 0.0) -> None:
        import torch

        self.weights = weights
        self.weight_decay = weight_decay
        self.n_steps = 0
        by_shape: dict[tuple[int, ...], list[str]] = {}
        self._others: list[str] = []
        for name, weight in weights.items():
            if weight.ndim == 2 and ".layers." in name:
                by_shape.setdefault(tuple(weight.shape), []).append(name)
            else:
                self._others.append(name)
        self._groups = list(by_shape.values())
        self.state: dict[str, Tensor] = {}
        for i, names in enumerate(self._groups):
            shape = weights[names[0]].shape
            self.state[f"muon.{i}"] = torch.zeros(len(names), *shape)
        for name in self._others:
            self.state[f"first.{name}"] = torch.zeros_like(weights[name])
            self.state[f"second.{name}"] = torch.zeros_like(weights[name])

    def step(self, matrix_lr: float, other_lr: float) -> None:
        import torch

        self.n_steps += 1
        with torch.no_grad():
            for i, names in enumerate(self._groups):
                gradients = torch.stack([self._gradient(name) for name in names])
                momentum = self.state[f"muon.{i}"]
                momentum.lerp_(gradients, 1 - MUON_MOMENTUM)
                update = orthogonalise(gradients.lerp(momentum, MUON_MOMENTUM))
                rows, columns = update.shape[-2:]
                rate = matrix_lr * max(1.0, rows / columns) ** 0.5
                for name, one in zip(names, update, strict=True):
                    self.weights[name].mul_(1 - matrix_lr * self.weight_decay).add_(one, alpha=-rate)
            first, second = ADAM_BETAS
            bias = (1 - second**self.n_steps) ** 0.5 / (1 - first**self.n_steps)
            for name in self._others:
                gradient = self._gradient(name)
                mean = self.state[f"first.{name}"].lerp_(gradient, 1 - first)
                square = self.state[f"second.{name}"].mul_(second).addcmul_(gradient, gradient, value=1 - second)
                self.weights[name].addcdiv_(mean, square.sqrt().add_(ADAM_EPS), value=-other_lr * bias)
            for weight in self.weights.values():
                weight.grad = None

    def _gradient(self, name: str) -> Tensor:
        gradient = self.weights[name].grad
        if gradient is None:
            raise RuntimeError(f"{name} has no gradient: step was called before backward")
        return gradient

"""Cross-encoders that run here: classifiers with a trained head, and Qwen3-Reranker.

Loaded as a plain classifier Qwen3-Reranker gets a random head and ranks at random without an error; so the
architecture is looked at first, and a head that is not in the file is refused.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any

from reread.errors import MissingExtra, UsageError
from reread.flops import forward_flops, multiplying_weights
from reread.protocols import Reranker
from reread.types import Passage

QWEN3_INSTRUCTION = "Given a web search query, retrieve relevant passages that answer the query"
QWEN3_SYSTEM = (
    "Judge whether the Document meets the requirements based on the Query and the Instruct provided. "
    'Note that the answer can only be "yes" or "no".'
)
QWEN3_PREFIX = f"<|im_start|>system\n{QWEN3_SYSTEM}<|im_end|>\n<|im_start|>user\n"
QWEN3_SUFFIX = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
"""The wording that the model was trained with (its model card)."""
MAX_TOKENS = 8192


def make_cross_encoder(name: str, *, batch_size: int = 16, device: str | None = None) -> Reranker:
    """The cross-encoder in the folder or under the hub name. Raises UsageError for a model that cannot rerank."""
    if importlib.util.find_spec("transformers") is None or importlib.util.find_spec("torch") is None:
        raise MissingExtra("transformers", "models", f"the reranker ce:{name}")
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"cannot load the reranker ce:{name} ({str(error).splitlines()[0]}); give a model name or its folder"
        ) from error
    architecture = (config.architectures or [""])[0]
    if architecture.endswith("ForSequenceClassification"):
        return ClassifierReranker(name, batch_size=batch_size, device=device)
    if architecture == "Qwen3ForCausalLM":
        return Qwen3Reranker(name, batch_size=batch_size, device=device)
    raise UsageError(
        f"ce:{name} is a {architecture or 'model without a named architecture'}: as a classifier its head would be "
        "random; use a ...ForSequenceClassification model or Qwen3-Reranker"
    )


class _Model:
    """What both kinds share: the loaded model, its device, and its FLOPs."""

    def __init__(self, name: str, loader: str, batch_size: int, device: str | None) -> None:
        import torch
        import transformers

        transformers.utils.logging.disable_progress_bar()
        self.spec = f"ce:{name}"
        self.flops = 0.0
        """FLOPs spent so far."""
        self.batch_size = batch_size
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.tokenizer: Any = transformers.AutoTokenizer.from_pretrained(name)
        model, loading = getattr(transformers, loader).from_pretrained(name, output_loading_info=True)
        if missing := sorted(loading["missing_keys"]):
            raise UsageError(f"{name} lacks the weights {', '.join(missing[:3])}: they would be random")
        self.model: Any = model.to(self.device).eval()
        config = model.config
        self.n_weights = multiplying_weights(model.base_model)
        self.n_head_weights = multiplying_weights(model) - self.n_weights
        self.n_layers = int(config.num_hidden_layers)
        self.d_attention = int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)
        self.d_attention *= int(config.num_attention_heads)
        self.max_tokens = min(
            MAX_TOKENS, int(config.max_position_embeddings), int(self.tokenizer.model_max_length or MAX_TOKENS)
        )

    def charge(self, lengths: Sequence[int], causal: bool) -> None:
        n_tokens = sum(lengths)
        if n_tokens:
            self.flops += forward_flops(
                self.n_weights,
                n_tokens,
                n_layers=self.n_layers,
                d_attention=self.d_attention,
                context=sum(length**2 for length in lengths) / n_tokens / (2 if causal else 1),
            )
            # The head (the output matrix of a causal model) sees one position of every pair.
            self.flops += forward_flops(self.n_head_weights, len(lengths))


def _body(passage: Passage) -> str:
    return f"{passage.title}\n{passage.text}" if passage.title else passage.text


def _batches(lengths: Sequence[int], batch_size: int) -> list[list[int]]:
    """Indexes in batches of like length, so that little is padded."""
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    return [order[first : first + batch_size] for first in range(0, len(order), batch_size)]


class ClassifierReranker:
    """A …ForSequenceClassification model with one label (its logit) or two (second minus first)."""

    def __init__(self, name: str, *, batch_size: int = 16, device: str | None = None) -> None:
        self._part = _Model(name, "AutoModelForSequenceClassification", batch_size, device)
        self.spec = self._part.spec
        n_labels = int(self._part.model.config.num_labels)
        if n_labels > 2:
            raise UsageError(f"{self.spec} has {n_labels} labels; a reranker has one (or two: no, yes)")

    @property
    def flops(self) -> float:
        return self._part.flops

    def score(self, query: str, passages: Sequence[Passage]) -> list[float]:
        """A logit for every passage, in the order given; too long a pair loses the passage's end."""
        import torch

        part = self._part
        pairs = [
            part.tokenizer(query, _body(passage), truncation="longest_first", max_length=part.max_tokens)
            for passage in passages
        ]
        lengths = [len(pair["input_ids"]) for pair in pairs]
        scores = [0.0] * len(passages)
        for indexes in _batches(lengths, part.batch_size):
            batch = part.tokenizer.pad([dict(pairs[i]) for i in indexes], return_tensors="pt").to(part.device)
            with torch.inference_mode():
                logits = part.model(**batch).logits.float()
            values = logits[:, 0] if logits.shape[1] == 1 else logits[:, 1] - logits[:, 0]
            for i, value in zip(indexes, values.tolist(), strict=True):
                scores[i] = value
        part.charge(lengths, causal=False)
        return scores


class Qwen3Reranker:
    """Qwen3-Reranker by its own convention: P("yes") against "no" at the last position of the wrapped pair."""

    def __init__(self, name: str, *, batch_size: int = 16, device: str | None = None) -> None:
        self._part = _Model(name, "AutoModelForCausalLM", batch_size, device)
        self.spec = self._part.spec
        tokenizer = self._part.tokenizer
        single = {word: tokenizer.encode(word, add_special_tokens=False) for word in ("yes", "no", "<|im_start|>")}
        if any(len(tokens) != 1 or tokens[0] == tokenizer.unk_token_id for tokens in single.values()):
            raise UsageError(
                f"{self.spec} has a tokenizer without the chat template's tokens (<|im_start|>, yes, no); "
                "its judgements would be meaningless: use the complete Qwen3-Reranker folder"
            )
        self._yes, self._no = single["yes"][0], single["no"][0]
        self._prefix = tokenizer.encode(QWEN3_PREFIX, add_special_tokens=False)
        self._suffix = tokenizer.encode(QWEN3_SUFFIX, add_special_tokens=False)

    @property
    def flops(self) -> float:
        return self._part.flops

    def score(self, query: str, passages: Sequence[Passage]) -> list[float]:
        """Probability of "yes" for every passage, in [0, 1]; only the pair is cut where it is too long."""
        import torch

        part = self._part
        room = part.max_tokens - len(self._prefix) - len(self._suffix)
        inputs = []
        for passage in passages:
            body = f"<Instruct>: {QWEN3_INSTRUCTION}\n<Query>: {query}\n<Document>: {_body(passage)}"
            tokens = part.tokenizer.encode(body, add_special_tokens=False)[:room]
            inputs.append([*self._prefix, *tokens, *self._suffix])
        lengths = [len(tokens) for tokens in inputs]
        scores = [0.0] * len(passages)
        for indexes in _batches(lengths, part.batch_size):
            longest = max(lengths[i] for i in indexes)
            # Left padding keeps the judged position last in every row.
            padding = [longest - lengths[i] for i in indexes]
            ids = torch.tensor([[0] * pad + inputs[i] for pad, i in zip(padding, indexes, strict=True)])
            mask = torch.tensor([[0] * pad + [1] * lengths[i] for pad, i in zip(padding, indexes, strict=True)])
            positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
            with torch.inference_mode():
                logits = (
                    part.model(
                        input_ids=ids.to(part.device),
                        attention_mask=mask.to(part.device),
                        position_ids=positions.to(part.device),
                        logits_to_keep=1,
                    )
                    .logits[:, -1]
                    .float()
                )
            values = torch.softmax(logits[:, [self._no, self._yes]], dim=1)[:, 1]
            for i, value in zip(indexes, values.tolist(), strict=True):
                scores[i] = value
        part.charge(lengths, causal=True)
        return scores

"""Embedders that run here, through sentence-transformers."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any

import numpy as np

from reread.embed.unit import qwen3_query_prompt, readable, unit_vectors
from reread.errors import MissingExtra, UsageError
from reread.flops import forward_flops, multiplying_weights
from reread.protocols import Vectors

NO_LIMIT_TOKENS = 10**9
"""transformers writes 10^30 where a tokenizer's folder names no limit."""
OFFSET_POSITIONS = frozenset({"roberta", "xlm-roberta", "camembert", "mpnet", "longformer"})
TOKENIZED_TEXTS = 1024
"""Texts tokenized at once, so that memory stays bounded."""


class LocalEmbedder:
    """A sentence-transformers model (`st:NAME_OR_PATH`): its own pooling, prompts and padding, vectors of length 1.

    The model's own "query" and "document" prompts are used. Qwen3-Embedding gets its instruction on queries even
    where the folder's settings lack it, and is refused where they do not say last-token pooling: transformers files
    without sentence-transformers' settings would be mean-pooled, which ruins it without an error.
    """

    def __init__(self, name: str, *, batch_size: int = 32, device: str | None = None) -> None:
        if importlib.util.find_spec("sentence_transformers") is None:
            raise MissingExtra("sentence-transformers", "embed", f"the embedder st:{name}")
        import transformers
        from sentence_transformers import SentenceTransformer

        # The command line draws its own bars.
        transformers.utils.logging.disable_progress_bar()
        self.spec = f"st:{name}"
        self.flops = 0
        """FLOPs spent so far: a whole number, so that differences of it are exact however large it grows."""
        self._batch_size = batch_size
        try:
            self._model = SentenceTransformer(name, device=device)
        except (OSError, ValueError) as error:
            raise UsageError(
                f"cannot load the embedder st:{name} ({str(error).splitlines()[0]}); "
                "give a sentence-transformers name or the path of its folder"
            ) from error
        transformer: Any = self._model[0]
        config = transformer.auto_model.config
        prompts = self._model.prompts or {}
        self._query_prompt = prompts.get("query") or ""
        self._passage_prompt = prompts.get("document") or prompts.get("passage") or ""
        if config.model_type == "qwen3":
            self._check_last_token(name)
            self._query_prompt = self._query_prompt or qwen3_query_prompt()
        self._n_weights = multiplying_weights(transformer.auto_model)
        self._n_layers = int(getattr(config, "num_hidden_layers", 0))
        heads = int(getattr(config, "num_attention_heads", 0))
        self._d_attention = heads * int(
            getattr(config, "head_dim", None) or (config.hidden_size // heads if heads else 0)
        )
        self._dimension: int | None = None
        self.max_tokens = self._limit(config)
        """The longest input in tokens, prompt and special tokens included; None where the model has no limit."""
        transformer.register_forward_pre_hook(self._count)

    def _limit(self, config: Any) -> int | None:
        tokenizer_limit = self._model.max_seq_length
        limits = [int(tokenizer_limit)] if tokenizer_limit and tokenizer_limit < NO_LIMIT_TOKENS else []
        positions = getattr(config, "max_position_embeddings", None)
        if positions and positions > 0:
            # RoBERTa's kind starts to count positions behind its padding index.
            offset = config.pad_token_id + 1 if config.model_type in OFFSET_POSITIONS else 0
            limits.append(int(positions) - offset)
        if not limits:
            return None
        self._model.max_seq_length = min(limits)
        return min(limits)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each passage as the model would take it uncut, document prompt and special tokens included."""
        counts: list[int] = []
        for first in range(0, len(texts), TOKENIZED_TEXTS):
            slice_texts = [self._passage_prompt + readable(text) for text in texts[first : first + TOKENIZED_TEXTS]]
            tokens = self._model.tokenizer(
                slice_texts, return_attention_mask=False, return_token_type_ids=False, verbose=False
            )
            counts.extend(len(ids) for ids in tokens["input_ids"])
        return counts

    def _check_last_token(self, name: str) -> None:
        pooling: Any = self._model[1] if len(self._model) > 1 else None
        # sentence-transformers 6 has the attribute, 5 the method.
        legacy = getattr(pooling, "get_pooling_mode_str", lambda: "")
        mode = str(getattr(pooling, "pooling_mode", None) or legacy())
        if mode != "lasttoken":
            raise UsageError(
                f"{name} is a Qwen3 model whose folder asks for {mode or 'no'} pooling; Qwen3-Embedding needs "
                "last-token pooling: use its complete sentence-transformers folder (modules.json, 1_Pooling)"
            )
        self._model.tokenizer.padding_side = "left"

    def _count(self, module: Any, arguments: tuple[Any, ...]) -> None:
        """Charge a batch by its real tokens, padding left out, before it goes through the model."""
        mask = arguments[0].get("attention_mask")
        if mask is None:
            return
        lengths = mask.sum(dim=1).double()
        n_tokens = float(lengths.sum())
        if n_tokens:
            spent = forward_flops(
                self._n_weights,
                n_tokens,
                n_layers=self._n_layers,
                d_attention=self._d_attention,
                context=float((lengths**2).sum()) / n_tokens,
            )
            self.flops += round(spent)

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """float32 (n, d), unit length; with the model's query prompt."""
        return self._encode(texts, self._query_prompt)

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        """float32 (n, d), unit length; with the model's document prompt, if it has one."""
        return self._encode(texts, self._passage_prompt)

    def _encode(self, texts: Sequence[str], prompt: str) -> Vectors:
        if not texts:
            dimension = self._dimension or self.encode_passages(["a"]).shape[1]
            return np.empty((0, dimension), dtype=np.float32)
        vectors = np.asarray(
            self._model.encode(
                list(texts),
                prompt=prompt,
                batch_size=self._batch_size,
                show_progress_bar=False,
                convert_to_numpy=True,
                normalize_embeddings=True,
            )
        )
        unit = unit_vectors(vectors, len(texts), self.spec, self._dimension)
        self._dimension = unit.shape[1]
        return unit

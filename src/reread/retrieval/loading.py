"""A cross-encoder's weights and tokenizer, as sentence-transformers loads them, checked; its limits and its FLOPs."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from reread.embed.batches import Batch, batches
from reread.embed.local import OFFSET_POSITIONS
from reread.embed.unit import readable
from reread.errors import MissingExtra, UsageError
from reread.flops import forward_flops, multiplying_weights
from reread.inert import neutralise
from reread.types import Passage

logger = logging.getLogger(__name__)

MAX_TOKENS = 8192
"""Of a pair; the limit that Qwen3-Reranker's model card uses."""
CPU_TOKENS = 2048
GPU_TOKENS = 16_384
"""In a batch, padding included (benchmarks/reranking.py)."""
WINDOW_PASSAGES = 256
WINDOW_CHARACTERS = 1_000_000
"""Tokenized at once: what is held of a call does not grow with its passages. Enough for batches of like length."""
CHARACTERS_PER_TOKEN = 32
"""Text beyond this many characters for each token of room is never looked at; English has 4 to 5 a token."""
PRECISIONS = ("float32", "bfloat16")

Tokens = npt.NDArray[np.int32]


def body(passage: Passage) -> str:
    """What of a passage is judged: its text, under its title where it has one."""
    return f"{passage.title}\n{passage.text}" if passage.title else passage.text


class LoadedModel:
    """A CrossEncoder of sentence-transformers, in float32 on a CPU and bfloat16 on a GPU unless `precision` says so.

    Raises UsageError for a model whose file lacks weights: sentence-transformers would draw them at random and only
    log it.
    """

    def __init__(
        self, name: str, *, batch_size: int | None = None, device: str | None = None, precision: str | None = None
    ) -> None:
        if precision not in (None, *PRECISIONS):
            raise UsageError(f"precision of a reranker is one of {', '.join(PRECISIONS)}, not {precision!r}")
        if batch_size is not None and batch_size < 1:
            raise UsageError(f"batch_size of a reranker is at least 1, not {batch_size}")
        if importlib.util.find_spec("sentence_transformers") is None:
            raise MissingExtra("sentence-transformers", "embed", f"the reranker ce:{name}")
        import torch
        import transformers
        from sentence_transformers import CrossEncoder

        transformers.utils.logging.disable_progress_bar()
        self.spec = f"ce:{name}"
        self.flops = 0.0
        """FLOPs spent so far."""
        self.config = self._read_config(name)
        self.architecture = str((self.config.architectures or [""])[0])
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.precision = precision or ("bfloat16" if self.device.type == "cuda" else "float32")
        self._check_weights(name)
        dtype = getattr(torch, self.precision)
        self.encoder: Any = CrossEncoder(name, device=str(self.device), model_kwargs={"dtype": dtype}).eval()
        self.model: Any = self.encoder[0].model
        self.tokenizer: Any = self.encoder.tokenizer
        self.batch_size = batch_size
        self.budget_tokens = CPU_TOKENS if self.device.type == "cpu" else GPU_TOKENS
        self.max_tokens = self._limit()
        self.pad_id = int(self.tokenizer.pad_token_id or 0)
        self.pad_left = self.tokenizer.padding_side == "left"
        self._control_tokens = tuple(sorted(set(self.tokenizer.all_special_tokens)))
        self._control_ids = frozenset(self.tokenizer.all_special_ids) - {self.tokenizer.unk_token_id}
        config = self.model.config
        self.n_weights = multiplying_weights(self.model.base_model)
        self.n_layers = int(config.num_hidden_layers)
        self.d_attention = int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)
        self.d_attention *= int(config.num_attention_heads)

    def _read_config(self, name: str) -> Any:
        from transformers import AutoConfig

        try:
            return AutoConfig.from_pretrained(name)
        except (OSError, ValueError) as error:
            raise UsageError(
                f"cannot load the reranker ce:{name} ({str(error).splitlines()[0]}); give a model name or its folder"
            ) from error

    def _check_weights(self, name: str) -> None:
        """Raise for an architecture that is no reranker's, or weights that are not in the file.

        The file is only compared with the architecture here: on the meta device nothing is read.
        """
        import transformers
        from safetensors import SafetensorError

        architecture = self.architecture
        loader: Any
        if architecture.endswith("ForSequenceClassification"):
            loader = transformers.AutoModelForSequenceClassification
        elif architecture == "Qwen3ForCausalLM":
            loader = transformers.AutoModelForCausalLM
        else:
            raise UsageError(
                f"{self.spec} is a {architecture or 'model without a named architecture'}: as a classifier its head "
                "would be random; use a ...ForSequenceClassification model or Qwen3-Reranker"
            )
        n_labels = int(self.config.num_labels)
        if architecture.endswith("ForSequenceClassification") and n_labels > 2:
            raise UsageError(f"{self.spec} has {n_labels} labels; a reranker has one (or two: no, yes)")
        verbosity = transformers.utils.logging.get_verbosity()
        transformers.utils.logging.set_verbosity_error()
        try:
            _, loading = loader.from_pretrained(name, output_loading_info=True, device_map="meta")
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            raise UsageError(
                f"cannot load the reranker {self.spec} ({str(error).splitlines()[0]}); fetch its folder again"
            ) from error
        finally:
            transformers.utils.logging.set_verbosity(verbosity)
        if missing := sorted(loading["missing_keys"]):
            raise UsageError(f"{name} lacks the weights {', '.join(missing[:3])}: they would be random")

    def _limit(self) -> int:
        positions = int(getattr(self.config, "max_position_embeddings", None) or MAX_TOKENS)
        if self.config.model_type in OFFSET_POSITIONS:
            positions -= int(self.config.pad_token_id) + 1
        return min(MAX_TOKENS, positions, int(self.tokenizer.model_max_length or MAX_TOKENS))

    def inert(self, text: str) -> str:
        """The text without lone surrogates, its control tokens broken, cut to what the model could ever hold."""
        return neutralise(readable(text[: CHARACTERS_PER_TOKEN * self.max_tokens]), self._control_tokens)

    def windows(self, passages: Sequence[Passage]) -> Iterator[tuple[int, list[str]]]:
        """(place of the first, inert bodies) of passages that are tokenized together."""
        first, n_characters = 0, 0
        texts: list[str] = []
        for place, passage in enumerate(passages):
            text = self.inert(body(passage))
            if texts and (len(texts) == WINDOW_PASSAGES or n_characters + len(text) > WINDOW_CHARACTERS):
                yield first, texts
                first, texts, n_characters = place, [], 0
            texts.append(text)
            n_characters += len(text)
        if texts:
            yield first, texts

    def is_control(self, ids: Sequence[int]) -> list[bool]:
        """Which ids are control tokens. Broken text can still give one: XLM-R's tokenizer folds full-width letters."""
        return [token in self._control_ids for token in ids]

    def batches(self, tokens: Sequence[Tokens], n_shared: int = 0) -> Iterator[Batch]:
        """Batches by length of rows behind `n_shared` tokens, which stand before every row but were computed."""
        sizes = [self.batch_size] if self.batch_size is not None else []
        if n_shared:
            # Short rows would otherwise be so many that their copies of the shared part fill the memory.
            sizes.append(max(1, self.budget_tokens // n_shared))
        yield from batches(
            tokens,
            self.budget_tokens,
            max_tokens=self.max_tokens - n_shared,
            max_texts=min(sizes, default=None),
            pad_id=self.pad_id,
            pad_left=self.pad_left,
        )

    def charge(self, lengths: Sequence[int], *, causal: bool, n_shared: int = 0) -> None:
        """Charge rows of these lengths behind `n_shared` tokens that were computed before them; padding is left out."""
        n_tokens = sum(lengths)
        if not n_tokens:
            return
        # Tokens seen, summed over the rows' tokens; a causal model's see those before them, half of the square.
        squares = float(sum((n_shared + length) ** 2 - n_shared**2 for length in lengths))
        seen = squares / 2 if causal else squares
        self.flops += forward_flops(
            self.n_weights, n_tokens, n_layers=self.n_layers, d_attention=self.d_attention, context=seen / n_tokens
        )

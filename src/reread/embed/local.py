"""Embedders that run here, through sentence-transformers."""

from __future__ import annotations

import copy
import importlib.util
import logging
import os
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

from reread.embed.backends import (
    BUILD_ERRORS,
    PROBES,
    Backend,
    cpu_candidates,
    has_openvino,
    least_cosine,
    make_backend,
)
from reread.embed.batches import Tokens, batches
from reread.embed.unit import qwen3_query_prompt, readable, unit_vectors
from reread.errors import MissingExtra, RereadError, UsageError
from reread.flops import forward_flops, multiplying_weights
from reread.protocols import Vectors

logger = logging.getLogger(__name__)

BACKENDS = ("auto", "torch", "openvino")
PRECISIONS = ("auto", "float32", "bfloat16")
LEAST_COSINE = 0.999
"""A faster backend whose vectors are further than this from float32's is not used."""
FAST_FROM_TEXTS = 64
"""Calls of fewer texts, and queries, take the model as it was loaded: no faster backend's start pays for itself."""
SLICE_TEXTS = 8_192
"""Texts tokenized and sorted together: memory beside the vectors stays bounded."""
TOKENIZED_TEXTS = 512
NO_LIMIT_TOKENS = 10**9
"""transformers writes 10^30 where a tokenizer's folder names no limit."""
OFFSET_POSITIONS = frozenset({"roberta", "xlm-roberta", "camembert", "mpnet", "longformer"})
BATCH_TEXTS = 32
"""Texts in a batch of sentence-transformers' own making."""
POOL_TEXTS = 512
"""Texts handed to one of several devices at a time."""


class LocalEmbedder:
    """A sentence-transformers model (`st:NAME_OR_PATH`): its own pooling, prompts and padding, vectors of length 1.

    The model's own "query" and "document" prompts are used. Qwen3-Embedding gets its instruction on queries even
    where the folder's settings lack it, and is refused where they do not say last-token pooling: transformers files
    without sentence-transformers' settings would be mean-pooled, which ruins it without an error.

    Many passages at once go through the fastest backend whose vectors keep a cosine of 0.999 to those of torch in
    float32, on texts made for that comparison, when it is first needed; `settings` says which that is. Queries and
    few passages take torch: in float32 on a CPU, in bfloat16 on a GPU (compared when the model is loaded).

    A query over the model's limit is cut, as a query cannot be split; so is a passage, which whoever cuts passages
    prevents by `count_tokens`. Every call that cut something logs a warning, and `n_truncated` counts the texts.

    batch_size: texts in a batch at most (None: as many as are fast). devices: two or more, such as ("cuda:0",
    "cuda:1"), share calls of many passages, one process each. dim: the first so many dimensions alone, for models
    trained for that (Matryoshka). backend and precision: "auto", or what to use without a comparison.
    """

    def __init__(
        self,
        name: str,
        *,
        batch_size: int | None = None,
        device: str | None = None,
        devices: Sequence[str] = (),
        dim: int | None = None,
        backend: str = "auto",
        precision: str = "auto",
    ) -> None:
        if importlib.util.find_spec("sentence_transformers") is None:
            raise MissingExtra("sentence-transformers", "embed", f"the embedder st:{name}")
        _check("backend", backend, BACKENDS)
        _check("precision", precision, PRECISIONS)
        if backend == "openvino" and not has_openvino():
            raise MissingExtra("openvino", "openvino", f"backend=openvino of the embedder st:{name}")
        self._arguments = {
            "batch_size": batch_size,
            "device": device,
            "devices": tuple(devices),
            "dim": dim,
            "backend": backend,
            "precision": precision,
        }
        self._name = name
        self._process = os.getpid()
        self._devices = tuple(devices)
        self._batch_size = batch_size
        self._asked_backend, self._asked_precision = backend, precision
        self.spec = f"st:{name}" + (f"?dim={dim}" if dim else "")
        self.flops = 0
        """FLOPs spent so far: a whole number, so that differences of it are exact however large it grows."""
        self.n_truncated = 0
        """Texts cut to the model's limit so far."""
        self._model = self._load(name, device or (devices[0] if devices else None))
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
        self.max_tokens = self._limit(config)
        """The longest input in tokens, prompt and special tokens included; None where the model has no limit."""
        self._full_dimension = self._model_dimension()
        if dim is not None and not 1 <= dim <= self._full_dimension:
            raise UsageError(f"dim must be from 1 to the {self._full_dimension} dimensions of st:{name}, not {dim}")
        self._dimension = dim or self._full_dimension
        self._loaded_precision = "float32"
        self._backend: Backend | None = None
        self._is_chosen = False
        self._pool: Any = None
        self._use_bfloat16_on_gpu()

    def __reduce__(self) -> tuple[Callable[..., LocalEmbedder], tuple[str, dict[str, Any]]]:
        # Another process loads the model anew: threads and devices cannot be handed over.
        return _again, (self._name, self._arguments)

    @property
    def settings(self) -> dict[str, str]:
        """What the vectors of a build come from, beside the spec: backend, precision, versions, limit."""
        import sentence_transformers
        import torch

        backend = self._chosen_backend() if self._is_plain(self._passage_prompt) else None
        settings = {
            "backend": backend.name if backend else "torch",
            "precision": backend.precision if backend else self._loaded_precision,
            "device": self._model.device.type,
            "torch": torch.__version__,
            "sentence_transformers": sentence_transformers.__version__,
        }
        if backend and backend.name == "openvino":
            settings["openvino"] = version("openvino")
        return settings

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """float32 (n, d), unit length; with the model's query prompt.

        A query over `max_tokens` is cut, with a warning. Raises BadVectors as encode_passages does.
        """
        return self._encode(texts, self._query_prompt, "queries", many=False)

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        """float32 (n, d), unit length; with the model's document prompt, if it has one.

        A passage over `max_tokens` is cut, with a warning. Raises BadVectors, which has the texts' places, where the
        model gives NaN or zero vectors.
        """
        return self._encode(texts, self._passage_prompt, "passages", many=len(texts) >= FAST_FROM_TEXTS)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each passage as the model would take it uncut, document prompt and special tokens included."""
        return [len(tokens) for tokens in self._tokenize([self._passage_prompt + readable(text) for text in texts])]

    def close(self) -> None:
        """Stop the processes of several devices; they stop with this process anyway."""
        if self._pool is not None:
            self._model.stop_multi_process_pool(self._pool)
            self._pool = None

    def _load(self, name: str, device: str | None) -> Any:
        import torch
        import transformers
        from sentence_transformers import SentenceTransformer

        # The command line draws its own bars.
        transformers.utils.logging.disable_progress_bar()
        # Said either way, tokenizers does not warn when a build starts workers. Its threads matter to GPUs alone.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "true" if torch.cuda.is_available() else "false")
        try:
            return SentenceTransformer(name, device=device)
        except (OSError, ValueError) as error:
            raise UsageError(
                f"cannot load the embedder st:{name} ({str(error).splitlines()[0]}); "
                "give a sentence-transformers name or the path of its folder"
            ) from error

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

    def _model_dimension(self) -> int:
        # sentence-transformers 6 has the first, 5 the second.
        get = getattr(self._model, "get_embedding_dimension", None) or self._model.get_sentence_embedding_dimension
        return int(get() or self._model.encode(["a"], show_progress_bar=False).shape[1])

    def _is_plain(self, prompt: str) -> bool:
        """Whether token ids and a mask are all that the model wants; else sentence-transformers prepares its input."""
        leaves_prompt_out = any(getattr(module, "include_prompt", True) is False for module in self._model)
        modalities = getattr(self._model[0], "modality_config", {})
        return not (prompt and leaves_prompt_out) and "message" not in modalities

    # Encoding

    def _encode(self, texts: Sequence[str], prompt: str, kind: str, *, many: bool) -> Vectors:
        if os.getpid() != self._process:
            raise RereadError(
                f"{self.spec} was loaded by another process, whose threads a fork does not take along; "
                "make the embedder in the process that uses it"
            )
        vectors = np.empty((len(texts), self._full_dimension), dtype=np.float32)
        n_cut = 0
        for first in range(0, len(texts), SLICE_TEXTS):
            bare = [readable(text) for text in texts[first : first + SLICE_TEXTS]]
            whole = [prompt + text for text in bare]
            tokens = self._tokenize(whole)
            n_cut += self._cut(whole, tokens)
            part = vectors[first : first + SLICE_TEXTS]
            if many and len(self._devices) > 1:
                part[:] = self._on_all_devices(bare, prompt)
            elif many and self._is_plain(prompt) and (backend := self._chosen_backend()) is not None:
                self._run(backend, tokens, part)
            else:
                part[:] = self._as_loaded(self._model, bare, prompt)
            self._charge([len(ids) for ids in tokens])
        if n_cut:
            self.n_truncated += n_cut
            logger.warning(
                "%d of %d %s are longer than the %d tokens of %s; what is behind them is left out",
                *(n_cut, len(texts), kind, self.max_tokens, self.spec),
            )
        return unit_vectors(vectors[:, : self._dimension], texts, self.spec, self._dimension)

    def _tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        """Every text's token ids, special ones included, uncut."""
        tokens: list[Tokens] = []
        for first in range(0, len(texts), TOKENIZED_TEXTS):
            given = self._model.tokenizer(
                list(texts[first : first + TOKENIZED_TEXTS]),
                return_attention_mask=False,
                return_token_type_ids=False,
                verbose=False,
            )
            tokens.extend(np.array(ids, dtype=np.int32) for ids in given["input_ids"])
        return tokens

    def _cut(self, texts: Sequence[str], tokens: list[Tokens]) -> int:
        """Bring the tokens within the model's limit, closing special tokens kept; how many texts were over it."""
        limit = self.max_tokens
        over = [row for row, ids in enumerate(tokens) if limit is not None and len(ids) > limit]
        for row in over:
            ids = self._model.tokenizer(texts[row], truncation=True, max_length=limit, verbose=False)["input_ids"]
            tokens[row] = np.array(ids, dtype=np.int32)
        return len(over)

    def _charge(self, lengths: Sequence[int]) -> None:
        """Charge texts by their real tokens, padding left out."""
        n_tokens = float(sum(lengths))
        if n_tokens:
            spent = forward_flops(
                self._n_weights,
                n_tokens,
                n_layers=self._n_layers,
                d_attention=self._d_attention,
                context=float(sum(length**2 for length in lengths)) / n_tokens,
            )
            self.flops += round(spent)

    # How: as sentence-transformers does, on several devices, or through a faster backend

    def _as_loaded(self, model: Any, texts: Sequence[str], prompt: str, **pool: Any) -> Vectors:
        vectors: Vectors = model.encode(
            list(texts),
            prompt=prompt,
            batch_size=self._batch_size or BATCH_TEXTS,
            show_progress_bar=False,
            convert_to_numpy=True,
            normalize_embeddings=True,
            **pool,
        )
        return vectors

    def _on_all_devices(self, texts: Sequence[str], prompt: str) -> Vectors:
        if self._pool is None:
            self._pool = self._model.start_multi_process_pool(list(self._devices))
        return self._as_loaded(self._model, texts, prompt, pool=self._pool, chunk_size=POOL_TEXTS)

    def _run(self, backend: Backend, tokens: Sequence[Tokens], vectors: Vectors) -> None:
        padded = batches(
            tokens,
            backend.budget_tokens,
            max_tokens=self.max_tokens,
            max_texts=self._batch_size,
            pad_id=self._model.tokenizer.pad_token_id or 0,
            pad_left=backend.pad_left,
        )
        backend.run(padded, vectors)

    def _chosen_backend(self) -> Backend | None:
        """The fastest backend that keeps to float32; None where only sentence-transformers' own way does."""
        if not self._is_chosen:
            self._backend = self._choose_backend()
            self._is_chosen = True
        return self._backend

    def _choose_backend(self) -> Backend | None:
        if self._model.device.type != "cpu":
            if self._asked_backend == "openvino":
                raise UsageError(f"backend=openvino is for CPUs; {self.spec} is on {self._model.device}")
            candidates = [("torch", self._loaded_precision)]
        else:
            candidates = list(cpu_candidates(self._asked_backend, self._asked_precision))
        reference = self._as_loaded(self._model, PROBES, self._passage_prompt)
        tokens = self._tokenize([self._passage_prompt + probe for probe in PROBES])
        self._cut([self._passage_prompt + probe for probe in PROBES], tokens)
        for name, precision in candidates:
            what = f"{name} in {precision}"
            try:
                backend = make_backend(name, precision, self._model)
                vectors = np.zeros_like(reference)
                self._run(backend, tokens, vectors)
            except BUILD_ERRORS as error:
                logger.warning("%s cannot run %s: %s", what, self.spec, (str(error).splitlines() or [""])[0])
                continue
            cosine = least_cosine(vectors, reference)
            if cosine >= LEAST_COSINE:
                logger.info("%s runs %s: cosine to float32 %.5f or more", what, self.spec, cosine)
                return backend
            logger.warning("%s is not used for %s: cosine to float32 only %.5f", what, self.spec, cosine)
        if (self._asked_backend, self._asked_precision) != ("auto", "auto"):
            raise UsageError(
                f"{self.spec} cannot be run with backend={self._asked_backend}, precision={self._asked_precision} "
                f"within a cosine of {LEAST_COSINE} to float32; leave both out"
            )
        return None

    def _use_bfloat16_on_gpu(self) -> None:
        """Keep the model in bfloat16 alone, where its vectors stay near float32's."""
        import torch

        if self._model.device.type != "cuda" or self._asked_precision == "float32":
            return
        halved = copy.deepcopy(self._model).to(torch.bfloat16)
        reference = self._as_loaded(self._model, PROBES, self._passage_prompt)
        cosine = least_cosine(self._as_loaded(halved, PROBES, self._passage_prompt), reference)
        if cosine >= LEAST_COSINE or self._asked_precision == "bfloat16":
            self._model, self._loaded_precision = halved, "bfloat16"
        else:
            logger.warning("%s stays in float32: cosine of bfloat16 to it only %.5f", self.spec, cosine)


def _again(name: str, arguments: dict[str, Any]) -> LocalEmbedder:
    return LocalEmbedder(name, **arguments)


def _check(name: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise UsageError(f"{name} of an embedder is one of {', '.join(known)}, not {value!r}")

"""Cross-encoders that run here: classifiers with a trained head, and Qwen3-Reranker (judging.py).

sentence-transformers' CrossEncoder loads and runs the model. Three things are done here, since it does them wrong for
rankings over text from outside: a head that is not in the file is refused (it draws one at random and logs it),
documents cannot hold control tokens (it tokenizes the rendered prompt as one text, so that `<|im_end|>` or `[SEP]` in a
document ends it), and batches are made by tokens, not by characters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from reread.errors import UsageError
from reread.flops import forward_flops, multiplying_weights
from reread.protocols import Reranker
from reread.retrieval.judging import QWEN3_ARCHITECTURES, Qwen3Reranker
from reread.retrieval.loading import LoadedModel, Tokens
from reread.types import Passage


def make_cross_encoder(
    name: str,
    *,
    batch_size: int | None = None,
    device: str | None = None,
    instruction: str | None = None,
    precision: str | None = None,
) -> Reranker:
    """The cross-encoder in the folder or under the hub name. Raises UsageError for a model that cannot rerank.

    batch_size: pairs at once at most; None leaves it to their tokens. instruction: Qwen3-Reranker's task in words.
    precision: "float32" or "bfloat16"; None takes the first on a CPU, the second on a GPU.
    """
    loaded = LoadedModel(name, batch_size=batch_size, device=device, precision=precision)
    if loaded.architecture in QWEN3_ARCHITECTURES:
        return Qwen3Reranker(loaded, instruction)
    if instruction is not None:
        raise UsageError(f"{loaded.spec} takes no instruction: only Qwen3-Reranker was trained with one")
    return ClassifierReranker(loaded)


class ClassifierReranker:
    """A …ForSequenceClassification model with one label (its logit) or two (second minus first).

    The logit orders as CrossEncoder.predict's sigmoid does, but does not become 1.0 for several passages at once.
    """

    def __init__(self, loaded: LoadedModel) -> None:
        self._part = loaded
        self.spec = loaded.spec
        self._causal = bool(getattr(loaded.config, "is_decoder", False)) or loaded.pad_left
        self._n_head_weights = multiplying_weights(loaded.model) - loaded.n_weights
        self._n_special = int(loaded.tokenizer.num_special_tokens_to_add(pair=True))
        if loaded.model.config.pad_token_id is None:
            # A decoder finds a row's end by its padding token.
            loaded.batch_size = 1
        if loaded.precision == "bfloat16":
            # In bfloat16 a logit of 5 moves in steps of 0.03: passages would tie.
            loaded.encoder.set_keep_in_fp32_modules(_last_layers(loaded.model, int(loaded.config.num_labels)))

    @property
    def flops(self) -> float:
        return self._part.flops

    def score(self, query: str, passages: Sequence[Passage]) -> list[float]:
        """A logit for every passage, in the order given; of too long a pair the longer side loses its end."""
        import torch

        part = self._part
        question = part.inert(query)
        scores = np.zeros(len(passages))
        for first, texts in part.windows(passages):
            pairs, kinds = self._tokenize(question, texts)
            for batch in part.batches(pairs):
                features = {"input_ids": batch.ids_NxT, "attention_mask": batch.mask_NxT}
                if kinds:
                    features["token_type_ids"] = np.zeros_like(batch.ids_NxT)
                    for place, row in enumerate(batch.rows):
                        features["token_type_ids"][place, batch.mask_NxT[place] == 1] = kinds[row]
                with torch.inference_mode():
                    on_device: dict[str, Any] = {k: torch.from_numpy(v).to(part.device) for k, v in features.items()}
                    logits = part.encoder(on_device)["scores"].float().cpu().numpy()
                rows = [first + row for row in batch.rows]
                scores[rows] = logits[:, 0] if logits.shape[1] == 1 else logits[:, 1] - logits[:, 0]
            part.charge([len(pair) for pair in pairs], causal=self._causal)
            # The head sees one position of every pair.
            part.flops += forward_flops(self._n_head_weights, len(pairs))
        return [float(score) for score in scores]

    def _tokenize(self, query: str, texts: Sequence[str]) -> tuple[list[Tokens], list[Tokens]]:
        """The pairs' token ids, and their kinds (query 0, passage 1) where the model wants them."""
        part = self._part
        given = part.tokenizer(
            [query] * len(texts),
            list(texts),
            truncation="longest_first",
            max_length=part.max_tokens,
            return_attention_mask=False,
        )
        pairs = [np.array(ids, dtype=np.int32) for ids in given["input_ids"]]
        kinds = [np.array(types, dtype=np.int32) for types in given.get("token_type_ids", ())]
        for row, ids in enumerate(given["input_ids"]):
            control = part.is_control(ids)
            if sum(control) > self._n_special:
                own = given.sequence_ids(row)
                kept = np.array([not bad or side is None for bad, side in zip(control, own, strict=True)])
                pairs[row] = pairs[row][kept]
                if kinds:
                    kinds[row] = kinds[row][kept]
        return pairs, kinds


def _last_layers(model: Any, n_labels: int) -> list[str]:
    """Paths, from the CrossEncoder, of the linear layer that gives the logits."""
    import torch

    names = [
        name
        for name, module in model.named_modules()
        if type(module) is torch.nn.Linear and module.out_features == n_labels
    ]
    return [f"0.model.{name}" for name in names[-1:]]

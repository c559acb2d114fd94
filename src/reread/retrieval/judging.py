"""Qwen3-Reranker: a language model that is asked whether a document meets the query, yes or no.

It comes as published (Qwen3ForCausalLM) or converted to a classifier whose one row is the output matrix' row of "yes"
less that of "no". Both are scored alike: P(yes) against no behind the wrapped pair.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np

from reread.errors import UsageError
from reread.flops import forward_flops
from reread.retrieval.loading import LoadedModel, Tokens
from reread.types import Passage

logger = logging.getLogger(__name__)

QWEN3_ARCHITECTURES = frozenset({"Qwen3ForCausalLM", "Qwen3ForSequenceClassification"})
QWEN3_INSTRUCTION = "Given a web search query, retrieve relevant passages that answer the query"
QWEN3_SYSTEM = (
    "Judge whether the Document meets the requirements based on the Query and the Instruct provided. "
    'Note that the answer can only be "yes" or "no".'
)
QWEN3_PREFIX = f"<|im_start|>system\n{QWEN3_SYSTEM}<|im_end|>\n<|im_start|>user\n"
QWEN3_SUFFIX = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
"""The wording that the model was trained with (its model card)."""


class Qwen3Reranker:
    """Probability of "yes" for every passage, by the model's own convention.

    CrossEncoder.predict gives the same number; here the part that all pairs of a query share (system text,
    instruction, query) is computed once, documents cannot hold control tokens, and the two rows of the output matrix
    are applied in float32: in bfloat16 a logit of 20 moves in steps of 0.125, so that passages would tie.

    Raises UsageError where the folder's chat template does not wrap a pair as the model was trained: such a folder is
    another model, or one that other software scores wrongly without a word.
    """

    def __init__(self, loaded: LoadedModel, instruction: str | None = None) -> None:
        self._part = loaded
        # So that the judged position is the last of every row; a converted model's folder may say right.
        loaded.pad_left = True
        self.spec = loaded.spec
        self.instruction = loaded.inert(instruction if instruction is not None else QWEN3_INSTRUCTION)
        tokenizer = loaded.tokenizer
        single = {word: tokenizer.encode(word, add_special_tokens=False) for word in ("yes", "no", "<|im_start|>")}
        if any(len(tokens) != 1 or tokens[0] == tokenizer.unk_token_id for tokens in single.values()):
            raise UsageError(
                f"{self.spec} has a tokenizer without the chat template's tokens (<|im_start|>, yes, no); "
                "its judgements would be meaningless: use the complete Qwen3-Reranker folder"
            )
        _check_template(tokenizer, self.spec)
        self._direction = _yes_less_no(loaded, single["yes"][0], single["no"][0])
        self._prefix: list[int] = tokenizer.encode(QWEN3_PREFIX, add_special_tokens=False)
        self._suffix: list[int] = tokenizer.encode(QWEN3_SUFFIX, add_special_tokens=False)
        self._room = loaded.max_tokens - len(self._prefix) - len(self._suffix)

    @property
    def flops(self) -> float:
        return self._part.flops

    def score(self, query: str, passages: Sequence[Passage]) -> list[float]:
        """P(yes) in [0, 1] for every passage, in the order given.

        Of too long a pair the end is cut, never the wrapping. A query that leaves no room for documents gives all of
        them one score, with a warning.
        """
        scores = np.zeros(len(passages))
        start = f"<Instruct>: {self.instruction}\n<Query>: {self._part.inert(query)}\n<Document>: "
        for first, texts in self._part.windows(passages):
            pairs = self._tokenize(start, texts)
            scores[first : first + len(texts)] = self._judge(pairs)
        return [float(score) for score in scores]

    def _tokenize(self, start: str, texts: Sequence[str]) -> list[Tokens]:
        part = self._part
        bodies = part.tokenizer(
            [start + text for text in texts],
            add_special_tokens=False,
            return_attention_mask=False,
            verbose=False,
        )["input_ids"]
        n_start = len(part.tokenizer.encode(start, add_special_tokens=False))
        if n_start >= self._room:
            logger.warning("%s has room for %d tokens, which the query fills: no document is read", self.spec, n_start)
        pairs = []
        for ids in bodies:
            control = part.is_control(ids[: self._room])
            kept = [token for token, bad in zip(ids, control, strict=False) if not bad]
            pairs.append(np.array([*self._prefix, *kept, *self._suffix], dtype=np.int32))
        return pairs

    def _judge(self, pairs: Sequence[Tokens]) -> Any:
        """P(yes) of every pair, float64; what they all begin with goes through the model once."""
        import torch

        part = self._part
        n_shared = _shared(pairs) if len(pairs) > 1 else 0
        logits = torch.zeros(len(pairs), dtype=torch.float64)
        with torch.inference_mode():
            shared = None
            if n_shared:
                ids = torch.from_numpy(pairs[0][None, :n_shared].astype(np.int64)).to(part.device)
                shared = part.model.base_model(input_ids=ids, use_cache=True).past_key_values
                part.charge([n_shared], causal=True)
            for batch in part.batches([pair[n_shared:] for pair in pairs], n_shared):
                mask = torch.from_numpy(batch.mask_NxT)
                # Padding stands between the shared tokens and the row's own, which count on from the shared ones.
                positions = n_shared + (mask.cumsum(dim=1) - 1).clamp(min=0)
                before = torch.ones(len(mask), n_shared, dtype=mask.dtype)
                cache = copy.deepcopy(shared)
                if cache is not None:
                    cache.batch_repeat_interleave(len(mask))
                hidden = part.model.base_model(
                    input_ids=torch.from_numpy(batch.ids_NxT).to(part.device),
                    attention_mask=torch.cat([before, mask], dim=1).to(part.device),
                    position_ids=positions.to(part.device),
                    past_key_values=cache,
                    use_cache=cache is not None,
                ).last_hidden_state[:, -1]
                logits[batch.rows] = (hidden.float() @ self._direction).double().cpu()
        part.charge([len(pair) - n_shared for pair in pairs], causal=True, n_shared=n_shared)
        part.flops += forward_flops(self._direction.numel(), len(pairs))
        # In float64, where passages near certainty still differ.
        return torch.sigmoid(logits).numpy()


def _shared(pairs: Sequence[Tokens]) -> int:
    """Tokens with which all pairs begin, at least one of each left over."""
    # What the first and the last in sorted order share, all in between share too.
    ordered = [min(pairs, key=list), max(pairs, key=list)]
    n = min(len(pair) for pair in pairs) - 1
    differ = np.flatnonzero(ordered[0][:n] != ordered[1][:n])
    return int(differ[0]) if len(differ) else n


def _yes_less_no(loaded: LoadedModel, yes: int, no: int) -> Any:
    """The direction (float32, hidden size) along which the last hidden state says yes rather than no."""
    if loaded.architecture == "Qwen3ForCausalLM":
        rows = loaded.model.get_output_embeddings().weight
        judged = [module for module in loaded.encoder if hasattr(module, "true_token_id")]
        if any((module.true_token_id, module.false_token_id) != (yes, no) for module in judged):
            raise UsageError(f"{loaded.spec} judges by other tokens than yes and no; it is no Qwen3-Reranker")
        return (rows[yes].float() - rows[no].float()).detach()
    rows = loaded.model.score.weight.detach().float()
    return rows[0] if len(rows) == 1 else rows[1] - rows[0]


def _check_template(tokenizer: Any, spec: str) -> None:
    """Raise unless the chat template renders system, query and document as Qwen3-Reranker was trained on them."""
    from jinja2 import TemplateError

    if not tokenizer.chat_template:
        raise UsageError(
            f"{spec} has no chat template, without which other software scores it wrongly and nothing tells it from a "
            "plain language model; use the complete Qwen3-Reranker folder (chat_template.jinja)"
        )
    parts = {"system": "an instruction", "query": "a query", "document": "a document"}
    wanted = (
        f"{QWEN3_PREFIX}<Instruct>: {parts['system']}\n<Query>: {parts['query']}\n"
        f"<Document>: {parts['document']}{QWEN3_SUFFIX}"
    )
    flat: list[dict[str, Any]] = [{"role": role, "content": text} for role, text in parts.items()]
    nested = [{"role": role, "content": [{"type": "text", "text": text}]} for role, text in parts.items()]
    for messages in (flat, nested):
        try:
            # A template file often loses its last line end, which is put there all the same.
            if str(tokenizer.apply_chat_template(messages, tokenize=False)).rstrip() == wanted.rstrip():
                return
        except (TemplateError, ValueError, TypeError, KeyError):
            continue
    raise UsageError(
        f"{spec} has another chat template than Qwen3-Reranker's (which puts system, query and document into its "
        "yes/no judging prompt); use the complete Qwen3-Reranker folder, or a reader for a plain language model"
    )

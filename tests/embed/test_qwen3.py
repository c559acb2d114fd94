"""Qwen3-Embedding's convention on a tiny model of its architecture: the rival computes it by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_models import save_qwen3_embedding

from reread.embed import make_embedder
from reread.embed.unit import qwen3_query_prompt
from reread.errors import UsageError
from reread.protocols import Vectors

pytest.importorskip("sentence_transformers")
TEXTS = ["cat", "the cat sits on the mat", "river water flows fast on the mat where the dog sits"]


def by_hand(folder: Path, texts: list[str]) -> Vectors:
    """One text at a time, so that padding cannot matter: the last token's state, at length 1."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    vectors = []
    for text in texts:
        tokens = tokenizer(text, return_tensors="pt")
        assert tokens["input_ids"][0, -1] == tokenizer.convert_tokens_to_ids("<|endoftext|>")
        with torch.no_grad():
            state = model(**tokens).last_hidden_state[0, -1].numpy()
        vectors.append(state / np.linalg.norm(state))
    return np.array(vectors, dtype=np.float32)


@pytest.mark.parametrize("prompts", [True, False])
def test_qwen3_vectors_are_last_token_states_with_the_instruction_on_queries_alone(
    tmp_path: Path, prompts: bool
) -> None:
    save_qwen3_embedding(tmp_path, prompts=prompts)
    embedder = make_embedder(f"st:{tmp_path}")
    assert np.abs(embedder.encode_passages(TEXTS) - by_hand(tmp_path, TEXTS)).max() < 1e-5
    asked = [qwen3_query_prompt() + text for text in TEXTS]
    assert np.abs(embedder.encode_queries(TEXTS) - by_hand(tmp_path, asked)).max() < 1e-5
    assert np.abs(embedder.encode_queries(TEXTS) - embedder.encode_passages(TEXTS)).max() > 0.01


def test_an_encoder_is_charged_what_torch_counts_and_nothing_for_its_embeddings(tmp_path: Path) -> None:
    import torch
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import AutoTokenizer

    save_qwen3_embedding(tmp_path)
    embedder: Any = make_embedder(f"st:{tmp_path}")
    with FlopCounterMode(display=False) as counter:
        embedder.encode_passages(TEXTS[:1])
    counts = counter.get_flop_counts()["Global"]
    n_tokens = len(AutoTokenizer.from_pretrained(tmp_path)(TEXTS[0])["input_ids"])
    attention = 4 * 2 * 32 * n_tokens * n_tokens
    assert embedder.flops == counts[torch.ops.aten.mm] + attention
    assert isinstance(embedder.flops, int)


@pytest.mark.parametrize("pooling", [None, "mean_tokens"])
def test_qwen3_with_another_pooling_is_refused(tmp_path: Path, pooling: str | None) -> None:
    save_qwen3_embedding(tmp_path, pooling=pooling)
    with pytest.raises(UsageError, match="last-token"):
        make_embedder(f"st:{tmp_path}")

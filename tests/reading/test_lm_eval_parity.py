"""HfReader beside lm-evaluation-harness' own hf backend, on the conventions of several tokenizers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("lm_eval")

from reread.reading.local import HfReader  # noqa: E402


def rewritten(tiny_model: Path, folder: Path, convention: str) -> Path:
    """The tiny model behind a tokenizer of another make, trained on the same letters."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    model = transformers.AutoModelForCausalLM.from_pretrained(tiny_model)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_model)
    if convention == "bos":  # Llama 3: byte-level BPE, a BOS token in front of every text
        tokenizer.bos_token = "<|im_start|>"
        start = ("<|im_start|>", tokenizer.convert_tokens_to_ids("<|im_start|>"))
        tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
            single="<|im_start|> $A", special_tokens=[start]
        )
    if convention == "metaspace":  # Llama 2: a word's space belongs to its first token, one is put in front, BOS
        raw = Tokenizer(models.BPE(unk_token="<unk>"))
        raw.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
        raw.decoder = decoders.Metaspace(prepend_scheme="first")
        trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=["<s>", "</s>", "<unk>"], show_progress=False)
        raw.train_from_iterator(["the name of a place is told in a book.\n Answer: A B C D"] * 20, trainer)
        raw.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
        tokenizer = transformers.PreTrainedTokenizerFast(
            tokenizer_object=raw, bos_token="<s>", eos_token="</s>", unk_token="<unk>", padding_side="left"
        )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


REQUESTS: list[tuple[str, list[str]]] = [
    ("the name of a place", [" is told", " of a book", "s"]),
    ("Answer:", [" A", " B", " C", " D"]),
    ("the book. \n Answer: ", ["A", "B in a book"]),
    ("a na", ["me of a place", "\n\n"]),
    ("", ["the name", " of a book"]),
    ("told in é漢字 ", ["a book", " é"]),
    ("the name of a place is told in a book. the name of a place is told in a book. the book", [" is", " a place"]),
    ("the name of a place is told in a book. the name of a place is told in a book. the name", [" is", " of told"]),
]


@pytest.mark.parametrize("convention", ["plain", "bos", "metaspace"])
def test_loglikelihoods_are_lm_evaluation_harness_own(tiny_model: Path, tmp_path: Path, convention: str) -> None:
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    reader = HfReader(str(rewritten(tiny_model, tmp_path / convention, convention)), device="cpu")
    peer = HFLM(pretrained=reader.model, tokenizer=reader.tokenizer, batch_size=3)
    pairs: list[Any] = [(prefix, continuation) for prefix, own in REQUESTS for continuation in own]
    instances = [Instance("loglikelihood", {}, pair, i) for i, pair in enumerate(pairs)]
    expected = [logprob for logprob, _ in peer.loglikelihood(instances, disable_tqdm=True)]
    found = [logprob for scored in reader.loglikelihood(REQUESTS) for logprob in scored.logprobs]
    for pair, a, b in zip(pairs, found, expected, strict=True):
        assert a == pytest.approx(b, abs=1e-4), pair

"""Cross-encoders score as their references do, and models without a trained head are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_models import save_bert_classifier, save_qwen3_reranker

from reread.errors import UsageError
from reread.retrieval import make_reranker
from reread.retrieval.crossencoder import QWEN3_INSTRUCTION, QWEN3_PREFIX, QWEN3_SUFFIX
from reread.types import Passage

pytest.importorskip("sentence_transformers")
QUERY = "where is the cat"
TEXTS = ["the cat sits on the mat", "dog", "river water flows fast on the mat the dog sits on the mat", "a river"]
PASSAGES = [Passage(id=text, doc_id=text, start=0, text=text) for text in TEXTS]


def test_a_classifier_scores_as_sentence_transformers_does(tmp_path: Path) -> None:
    import torch
    from sentence_transformers import CrossEncoder

    save_bert_classifier(tmp_path)
    reference = CrossEncoder(str(tmp_path), activation_fn=torch.nn.Identity()).predict([(QUERY, t) for t in TEXTS])
    for batch_size in (1, 3):
        scores = make_reranker(f"ce:{tmp_path}", batch_size=batch_size).score(QUERY, PASSAGES)
        assert scores == pytest.approx(reference.tolist(), abs=1e-5)


@pytest.mark.parametrize("batch_size", [1, 4])
def test_qwen3_reranker_is_the_probability_of_yes_after_its_own_wrapping(tmp_path: Path, batch_size: int) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    save_qwen3_reranker(tmp_path)
    tokenizer, model = AutoTokenizer.from_pretrained(tmp_path), AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    expected = []
    for text in TEXTS:
        body = f"<Instruct>: {QWEN3_INSTRUCTION}\n<Query>: {QUERY}\n<Document>: {text}"
        tokens = tokenizer(QWEN3_PREFIX + body + QWEN3_SUFFIX, return_tensors="pt", add_special_tokens=False)
        with torch.no_grad():
            logits = model(**tokens).logits[0, -1]
        yes, no = (tokenizer.convert_tokens_to_ids(word) for word in ("yes", "no"))
        expected.append(float(torch.softmax(logits[[no, yes]], 0)[1]))
    scores = make_reranker(f"ce:{tmp_path}", batch_size=batch_size).score(QUERY, PASSAGES)
    assert scores == pytest.approx(expected, abs=1e-5)
    assert len(set(scores)) == len(TEXTS)


def test_a_long_passage_is_cut_but_the_judgement_is_still_asked_for(tmp_path: Path) -> None:
    save_qwen3_reranker(tmp_path)
    long = Passage(id="l", doc_id="l", start=0, text="river " * 2000)
    (score,) = make_reranker(f"ce:{tmp_path}").score(QUERY, [long])
    assert 0 < score < 1


def test_scoring_charges_flops(tmp_path: Path) -> None:
    save_bert_classifier(tmp_path)
    reranker = make_reranker(f"ce:{tmp_path}")
    reranker.score(QUERY, PASSAGES[:1])
    once = reranker.flops  # type: ignore[attr-defined]
    reranker.score(QUERY, PASSAGES[:1])
    assert once > 0 and reranker.flops == pytest.approx(2 * once)  # type: ignore[attr-defined]


def matrix_flops(reranker: object) -> float:
    """What torch counts of the matrix products while one pair is scored, attention's own left out."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        reranker.score(QUERY, PASSAGES[:1])  # type: ignore[attr-defined]
    counts = counter.get_flop_counts()["Global"]
    return float(sum(counts.get(op, 0) for op in (torch.ops.aten.mm, torch.ops.aten.addmm)))


def test_a_qwen3_reranker_is_charged_the_output_matrix_once_a_pair(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    save_qwen3_reranker(tmp_path)
    reranker = make_reranker(f"ce:{tmp_path}")
    body = f"<Instruct>: {QWEN3_INSTRUCTION}\n<Query>: {QUERY}\n<Document>: {TEXTS[0]}"
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    n_tokens = sum(len(tokenizer.encode(t, add_special_tokens=False)) for t in (QWEN3_PREFIX, body, QWEN3_SUFFIX))
    counted = matrix_flops(reranker)
    attention = 4 * 2 * 32 * n_tokens * n_tokens / 2
    assert reranker.flops == pytest.approx(counted + attention)  # type: ignore[attr-defined]


def test_a_classifier_is_not_charged_for_its_embeddings(tmp_path: Path) -> None:
    save_bert_classifier(tmp_path)
    reranker = make_reranker(f"ce:{tmp_path}")
    counted = matrix_flops(reranker)
    n_tokens = len(QUERY.split()) + len(TEXTS[0].split()) + 3
    # The pooler (32 × 32) sees one token of the pair but counts as part of the body.
    expected = counted + 2 * 32 * 32 * (n_tokens - 1) + 4 * 2 * 32 * n_tokens * n_tokens
    assert reranker.flops == pytest.approx(expected)  # type: ignore[attr-defined]


def test_a_model_whose_head_is_not_in_the_file_is_refused(tmp_path: Path) -> None:
    save_bert_classifier(tmp_path, headless=True)
    with pytest.raises(UsageError, match=r"classifier.*random"):
        make_reranker(f"ce:{tmp_path}")


def test_a_classifier_of_many_labels_is_refused_with_their_number(tmp_path: Path) -> None:
    save_bert_classifier(tmp_path, n_labels=5)
    with pytest.raises(UsageError, match="5 labels"):
        make_reranker(f"ce:{tmp_path}")


def test_a_qwen3_reranker_without_chat_tokens_is_refused(tmp_path: Path) -> None:
    save_qwen3_reranker(tmp_path, chat_tokens=False)
    with pytest.raises(UsageError, match="chat template"):
        make_reranker(f"ce:{tmp_path}")


def test_a_model_that_is_no_classifier_is_refused(tmp_path: Path) -> None:
    import json

    save_bert_classifier(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["architectures"] = ["BertForMaskedLM"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UsageError, match="BertForMaskedLM"):
        make_reranker(f"ce:{tmp_path}")


@pytest.mark.parametrize("spec", ["ce:", "bm25", "ce:/nowhere/at/all", "openai:m"])
def test_an_unknown_reranker_is_refused(spec: str) -> None:
    with pytest.raises(UsageError):
        make_reranker(spec)

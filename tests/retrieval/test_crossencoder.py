"""Cross-encoders score as their references do, and models without a trained head are refused."""

from __future__ import annotations

import json
import random
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import pytest
from tiny_models import (
    WORDS,
    query_and_passage,
    save_bert_classifier,
    save_trained_cross_encoder,
    save_xlm_roberta_classifier,
)

from reread.errors import RereadError, UsageError
from reread.retrieval import loading as loading_module
from reread.retrieval import make_reranker, rerank
from reread.types import Hit, Passage

pytest.importorskip("sentence_transformers")
QUERY = "where is the cat"
TEXTS = ["the cat sits on the mat", "dog", "river water flows fast on the mat the dog sits on the mat", "a river"]
TRAINING_WORDS = sorted(set(WORDS))[:10]


def passages(texts: Sequence[str]) -> list[Passage]:
    return [Passage(id=str(n), doc_id=str(n), start=0, text=text) for n, text in enumerate(texts)]


def predicted(folder: Path, query: str, texts: Sequence[str]) -> list[float]:
    """The logits of sentence-transformers' own CrossEncoder.predict."""
    import torch
    from sentence_transformers import CrossEncoder

    model = CrossEncoder(str(folder), device="cpu", activation_fn=torch.nn.Identity())
    found: list[float] = model.predict([(query, text) for text in texts]).tolist()
    return found


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    save_trained_cross_encoder(folder, TRAINING_WORDS)
    return folder


@pytest.mark.parametrize("batch_size", [1, 3, None])
def test_a_classifier_scores_as_sentence_transformers_does(tmp_path: Path, batch_size: int | None) -> None:
    save_bert_classifier(tmp_path)
    texts = [*TEXTS, "", "mat " * 100]
    scores = make_reranker(f"ce:{tmp_path}", batch_size=batch_size).score(QUERY, passages(texts))
    assert scores == pytest.approx(predicted(tmp_path, QUERY, texts), abs=1e-6)


def test_a_trained_model_finds_the_passages_that_hold_the_word(trained: Path) -> None:
    rng, reranker = random.Random(1), make_reranker(f"ce:{trained}")
    n_first = 0
    for _ in range(40):
        query, right = query_and_passage(rng, TRAINING_WORDS, holds=True)
        others = [word for word in TRAINING_WORDS if word != query]
        wrong = [" ".join(rng.choices(others, k=rng.randint(3, 8))) for _ in range(9)]
        place = rng.randrange(10)
        scores = reranker.score(query, passages([*wrong[:place], right, *wrong[place:]]))
        n_first += scores.index(max(scores)) == place
    # By chance 4 of 40; 20 or more have a probability below 1e-9.
    assert n_first >= 20


def test_a_trained_model_scores_as_sentence_transformers_does(trained: Path) -> None:
    rng = random.Random(2)
    texts = [query_and_passage(rng, TRAINING_WORDS, holds=n % 3 == 0)[1] for n in range(100)]
    scores = make_reranker(f"ce:{trained}").score(TRAINING_WORDS[0], passages(texts))
    expected = predicted(trained, TRAINING_WORDS[0], texts)
    assert scores == pytest.approx(expected, abs=1e-4)
    assert sorted(range(100), key=lambda i: -scores[i])[:10] == sorted(range(100), key=lambda i: -expected[i])[:10]


def test_two_labels_give_the_second_less_the_first(tmp_path: Path) -> None:
    import torch
    from sentence_transformers import CrossEncoder

    save_bert_classifier(tmp_path, n_labels=2)
    both = CrossEncoder(str(tmp_path), activation_fn=torch.nn.Identity()).predict([(QUERY, t) for t in TEXTS])
    scores = make_reranker(f"ce:{tmp_path}").score(QUERY, passages(TEXTS))
    assert scores == pytest.approx((both[:, 1] - both[:, 0]).tolist(), abs=1e-6)


def test_a_model_whose_positions_start_late_takes_pairs_of_its_full_length(tmp_path: Path) -> None:
    save_xlm_roberta_classifier(tmp_path)
    reranker = make_reranker(f"ce:{tmp_path}")
    assert reranker._part.max_tokens == 64  # type: ignore[attr-defined]
    texts = ["cat " * 200, "dog"]
    scores = reranker.score(QUERY, passages(texts))
    import torch
    from sentence_transformers import CrossEncoder

    reference = CrossEncoder(str(tmp_path), activation_fn=torch.nn.Identity(), max_length=64)
    assert scores == pytest.approx(reference.predict([(QUERY, text) for text in texts]).tolist(), abs=1e-6)


def test_token_kinds_reach_the_model(tmp_path: Path) -> None:
    save_bert_classifier(tmp_path)
    file = tmp_path / "tokenizer_config.json"
    kinds = ["input_ids", "token_type_ids", "attention_mask"]
    file.write_text(json.dumps({**json.loads(file.read_text()), "model_input_names": kinds}))
    reranker = make_reranker(f"ce:{tmp_path}", batch_size=3)
    assert reranker._tokenize(QUERY, TEXTS)[1][0].tolist() == [0] * 6 + [1] * 7  # type: ignore[attr-defined]
    assert reranker.score(QUERY, passages(TEXTS)) == pytest.approx(predicted(tmp_path, QUERY, TEXTS), abs=1e-6)


def test_in_bfloat16_logits_stay_near_and_do_not_tie(trained: Path) -> None:
    rng = random.Random(3)
    texts = sorted({query_and_passage(rng, TRAINING_WORDS, holds=True)[1] for _ in range(100)})
    exact = make_reranker(f"ce:{trained}").score(TRAINING_WORDS[0], passages(texts))
    rough = make_reranker(f"ce:{trained}", precision="bfloat16").score(TRAINING_WORDS[0], passages(texts))
    assert rough == pytest.approx(exact, abs=0.5)
    assert len(set(rough)) > 0.9 * len(set(exact))


# Text from outside


@pytest.mark.parametrize("text", ["the cat [SEP] dog [CLS]", "[SE[SEP]P]", "[PAD] [MASK]"])
def test_control_tokens_in_a_passage_are_inert(tmp_path: Path, text: str) -> None:
    save_bert_classifier(tmp_path)
    reranker = make_reranker(f"ce:{tmp_path}")
    part = reranker._part  # type: ignore[attr-defined]
    (ids,), _ = reranker._tokenize(part.inert(text), [part.inert(text)])  # type: ignore[attr-defined]
    assert sum(part.is_control(ids.tolist())) == 3
    assert len(reranker.score(text, passages([text, "dog"]))) == 2


def test_full_width_look_alikes_that_a_tokenizer_folds_are_left_out(tmp_path: Path) -> None:
    save_xlm_roberta_classifier(tmp_path)
    reranker = make_reranker(f"ce:{tmp_path}")
    part = reranker._part  # type: ignore[attr-defined]
    folded = "\N{FULLWIDTH LESS-THAN SIGN}/s\N{FULLWIDTH GREATER-THAN SIGN}"
    text = f"the cat {folded} dog"
    # The tokenizer alone does take it for the end of the text.
    assert 2 in part.tokenizer.encode(text, add_special_tokens=False)
    (ids,), _ = reranker._tokenize(part.inert(QUERY), [part.inert(text)])  # type: ignore[attr-defined]
    assert sum(part.is_control(ids.tolist())) == 4 and ids.tolist().count(2) == 3


def test_odd_passages_are_scored(tmp_path: Path) -> None:
    save_bert_classifier(tmp_path)
    texts = ["", " ", "\ud800 lone", "cat " * 250_000, "\x00", "x" * 1_000_000]
    scores = make_reranker(f"ce:{tmp_path}").score("\udfff", passages(texts))
    assert len(scores) == len(texts) and all(abs(score) < 100 for score in scores)
    assert make_reranker(f"ce:{tmp_path}").score("", []) == []


def test_nan_weights_are_an_error_that_says_so(tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification

    save_bert_classifier(tmp_path)
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    with torch.no_grad():
        model.classifier.weight.fill_(float("nan"))
    model.save_pretrained(tmp_path)
    hits = [Hit(passage=passage, score=1.0, rank=n) for n, passage in enumerate(passages(TEXTS), 1)]
    with pytest.raises(RereadError, match="NaN or infinity for 4 of 4 passages"):
        rerank(QUERY, hits, make_reranker(f"ce:{tmp_path}"))


def test_memory_does_not_grow_with_the_passages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading_module, "WINDOW_PASSAGES", 32)
    save_bert_classifier(tmp_path)
    reranker = make_reranker(f"ce:{tmp_path}")
    many = passages(["the cat sits on the mat " * 8] * 800)
    reranker.score(QUERY, many[:100])
    peaks = []
    for n in (100, 800):
        tracemalloc.start()
        reranker.score(QUERY, many[:n])
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # The scores themselves grow; 700 passages kept as tokens and text would take 400,000 bytes more.
    assert peaks[1] < peaks[0] + 700 * 100 + 20_000


# What it costs


def test_scoring_charges_flops(tmp_path: Path) -> None:
    save_bert_classifier(tmp_path)
    reranker = make_reranker(f"ce:{tmp_path}")
    reranker.score(QUERY, passages(TEXTS[:1]))
    once = reranker.flops  # type: ignore[attr-defined]
    reranker.score(QUERY, passages(TEXTS[:1]))
    assert once > 0 and reranker.flops == pytest.approx(2 * once)  # type: ignore[attr-defined]


def test_flops_do_not_depend_on_the_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_bert_classifier(tmp_path)
    whole = make_reranker(f"ce:{tmp_path}")
    whole.score(QUERY, passages(TEXTS))
    monkeypatch.setattr(loading_module, "WINDOW_PASSAGES", 2)
    apart = make_reranker(f"ce:{tmp_path}", batch_size=1)
    apart.score(QUERY, passages(TEXTS))
    assert apart.flops == pytest.approx(whole.flops)  # type: ignore[attr-defined]


def test_a_classifier_is_charged_what_torch_counts_but_not_for_its_embeddings(tmp_path: Path) -> None:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    save_bert_classifier(tmp_path)
    reranker = make_reranker(f"ce:{tmp_path}")
    # 16 tokens: nothing is padded.
    text = "the cat sits on the mat the dog a"
    with FlopCounterMode(display=False) as counter:
        reranker.score(QUERY, passages([text]))
    counts = counter.get_flop_counts()["Global"]
    counted = float(sum(counts.get(op, 0) for op in (torch.ops.aten.mm, torch.ops.aten.addmm)))
    n_tokens = len(QUERY.split()) + len(text.split()) + 3
    assert n_tokens == 16
    # The pooler (32 × 32) sees one token of the pair but counts as part of the body.
    expected = counted + 2 * 32 * 32 * (n_tokens - 1) + 4 * 2 * 32 * n_tokens * n_tokens
    assert reranker.flops == pytest.approx(expected)  # type: ignore[attr-defined]


# What is refused


def test_a_model_whose_head_is_not_in_the_file_is_refused(tmp_path: Path) -> None:
    save_bert_classifier(tmp_path, headless=True)
    with pytest.raises(UsageError, match=r"classifier.*random"):
        make_reranker(f"ce:{tmp_path}")


def test_a_classifier_of_many_labels_is_refused_with_their_number(tmp_path: Path) -> None:
    save_bert_classifier(tmp_path, n_labels=5)
    with pytest.raises(UsageError, match="5 labels"):
        make_reranker(f"ce:{tmp_path}")


def test_a_model_that_is_no_classifier_is_refused(tmp_path: Path) -> None:
    save_bert_classifier(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["architectures"] = ["BertForMaskedLM"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UsageError, match="BertForMaskedLM"):
        make_reranker(f"ce:{tmp_path}")


def test_a_folder_with_damaged_weights_is_refused(tmp_path: Path) -> None:
    save_bert_classifier(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(UsageError, match="cannot load"):
        make_reranker(f"ce:{tmp_path}")


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"instruction": "x"}, "instruction"), ({"precision": "int4"}, "int4"), ({"batch_size": 0}, "at least 1")],
)
def test_a_setting_that_a_classifier_does_not_have_is_refused(
    tmp_path: Path, settings: dict[str, object], words: str
) -> None:
    save_bert_classifier(tmp_path)
    with pytest.raises(UsageError, match=words):
        make_reranker(f"ce:{tmp_path}", **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("spec", ["ce:", "bm25", "ce:/nowhere/at/all", "openai:m", "consistency"])
def test_an_unknown_reranker_is_refused(spec: str) -> None:
    with pytest.raises(UsageError):
        make_reranker(spec)


def test_the_consistency_reranker_is_refused_with_where_to_give_it() -> None:
    with pytest.raises(UsageError, match="needs a reader; give it to an arm"):
        make_reranker("consistency")

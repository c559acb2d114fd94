"""The endpoint reader against two real OpenAI-compatible servers, on a tiny model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reading.tiny_gguf import write_gguf
from reread.reading.endpoint import EndpointReader
from reread.reading.local import HfReader
from serving import serve, serve_llama_cpp


@pytest.fixture(scope="module")
def address(tiny_model: Path) -> Iterator[str]:
    """The address of `transformers serve` on the tiny model; skips where transformers[serving] is not installed."""
    with serve(tiny_model) as served:
        yield served


def test_greedy_text_equals_the_local_reader_s(address: str, tiny_model: Path, words: list[str]) -> None:
    prompts = [" ".join(words[i : i + 4]) for i in range(3)]
    served = EndpointReader(str(tiny_model), address, concurrency=2).generate(prompts, max_tokens=8)
    local = HfReader(str(tiny_model), device="cpu").generate(prompts, max_tokens=8)
    assert [s[0].text for s in served] == [s[0].text for s in local]
    assert [s[0].n_prompt_tokens for s in served] == [s[0].n_prompt_tokens for s in local]


def test_n_samples_come_back_although_the_server_ignores_n(address: str, tiny_model: Path, words: list[str]) -> None:
    reader = EndpointReader(str(tiny_model), address)
    [samples] = reader.generate([words[0]], n=3, temperature=1.0, max_tokens=6)
    assert len(samples) == 3
    assert reader.usage["completion_tokens"] >= 3


def test_a_model_without_chat_template_and_a_server_without_echo_are_recognised(address: str, tiny_model: Path) -> None:
    reader = EndpointReader(str(tiny_model), address)
    assert reader.chat is False
    assert reader.can == {"generate"}


@pytest.fixture(scope="module")
def llama_cpp(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of llama-cpp-python's server on the tiny model's own weights."""
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    write_gguf(tiny_model, path, bos=False)
    with serve_llama_cpp(path) as served:
        yield served


@pytest.fixture(scope="module")
def llama_cpp_bos(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The same, with <|endoftext|> in front of every text."""
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    write_gguf(tiny_model, path, bos=True)
    with serve_llama_cpp(path) as served:
        yield served


@pytest.mark.slow
def test_log_likelihoods_of_llama_cpp_equal_the_local_reader_s(
    llama_cpp_bos: str, tiny_model: Path, words: list[str]
) -> None:
    requests = [
        (" ".join(words[i : i + 12]), [f" {word}" for word in words[i + 20 : i + 24]] + [" caf\u00e9 \u00df!"])
        for i in range(50, 250, 10)
    ]
    reader = EndpointReader("tiny", llama_cpp_bos, api="completions")
    assert "loglikelihood" in reader.can
    served = reader.loglikelihood(requests)
    begun = [("<|endoftext|>" + prefix, continuations) for prefix, continuations in requests]
    local = HfReader(str(tiny_model), device="cpu").loglikelihood(begun)
    differences = [
        abs(a - b) for s, t in zip(served, local, strict=True) for a, b in zip(s.logprobs, t.logprobs, strict=True)
    ]
    print(f"{len(differences)} log-likelihoods, largest difference {max(differences):.2g} nats")
    assert len(differences) == 100
    assert max(differences) < 1e-3
    assert [s.n_tokens for s in served] == [t.n_tokens for t in local]


@pytest.mark.slow
def test_log_probabilities_of_the_wrong_tokens_are_found_out(llama_cpp: str) -> None:
    """Without a first token, llama-cpp-python reads them one position too late."""
    assert EndpointReader("tiny", llama_cpp, api="completions").can == {"generate"}


@pytest.mark.slow
def test_greedy_text_and_its_log_probability_come_from_llama_cpp(
    llama_cpp: str, tiny_model: Path, words: list[str]
) -> None:
    reader = EndpointReader("tiny", llama_cpp, api="completions")
    local = HfReader(str(tiny_model), device="cpu")
    [[greedy]] = reader.generate([" ".join(words[:5])], max_tokens=8)
    [[expected]] = local.generate([" ".join(words[:5])], max_tokens=8)
    assert greedy.text == expected.text
    # Nearly no temperature draws the same text, with the log-probability that is the model's own.
    [nearly_greedy] = reader.generate([" ".join(words[:5])], n=2, temperature=1e-6, max_tokens=8)
    assert {sample.text for sample in nearly_greedy} == {expected.text}
    assert [sample.logprob for sample in nearly_greedy] == pytest.approx([expected.logprob] * 2, abs=1e-3)


@pytest.mark.slow
def test_sampled_tokens_of_llama_cpp_have_the_local_reader_s_log_probabilities(
    llama_cpp: str, tiny_model: Path, words: list[str]
) -> None:
    """One token each: of several, the text does not tell which they were."""
    import torch

    reader = EndpointReader("tiny", llama_cpp, api="completions")
    local = HfReader(str(tiny_model), device="cpu")
    own: dict[str, list[int]] = {}
    for token, text in enumerate(local.vocabulary_texts()):
        own.setdefault(text, []).append(token)
    n_compared, seen = 0, set()
    for start in range(0, 30, 5):
        prompt = " ".join(words[start : start + 5])
        samples = reader.generate([prompt], n=12, temperature=1.0, max_tokens=1)[0]
        assert len(samples) == 12
        with torch.inference_mode():
            logits = local.model(torch.tensor(local.encode([prompt]))).logits[0, -1]
        expected = torch.log_softmax(logits.float(), dim=-1)
        for sample in samples:
            tokens = own.get(sample.text, [])
            if len(tokens) == 1 and "\ufffd" not in sample.text:  # not a part of a character, and no end of text
                assert sample.logprob == pytest.approx(expected[tokens[0]].item(), abs=1e-3)
                n_compared += 1
                seen.add(sample.text)
    print(f"{n_compared} of 72 sampled tokens compared, {len(seen)} different ones")
    assert n_compared >= 36 and len(seen) >= 10

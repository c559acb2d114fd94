"""Prompts, tokenizers and weights that are not as they should be."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from reread.errors import ReaderError  # noqa: E402
from reread.reading.local import HfReader, _input_device  # noqa: E402

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n"
)


@pytest.fixture
def reader(tiny_model: Path) -> HfReader:
    return HfReader(str(tiny_model), device="cpu")


def changed(tiny_model: Path, folder: Path, vocabulary: int | None = None, nan: bool = False) -> Path:
    """The tiny model with another number of embeddings, or with weights that are no numbers."""
    model = transformers.AutoModelForCausalLM.from_pretrained(tiny_model)
    if vocabulary is not None:
        model.resize_token_embeddings(vocabulary, mean_resizing=False)
    if nan:
        with torch.no_grad():
            model.model.norm.weight.fill_(float("nan"))
    model.save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(tiny_model).save_pretrained(folder)
    return folder


def test_weights_that_are_no_numbers_are_an_error(tiny_model: Path, tmp_path: Path) -> None:
    reader = HfReader(str(changed(tiny_model, tmp_path / "nan", nan=True)), device="cpu")
    with pytest.raises(ReaderError, match="no numbers"):
        reader.loglikelihood([("abc", [" a", " b c d"])])
    for temperature in (0.0, 1.0):
        with pytest.raises(ReaderError, match="no numbers"):
            reader.generate(["abc"], max_tokens=3, temperature=temperature)


def test_a_vocabulary_larger_than_the_tokenizer_s_is_read_and_sampled(tiny_model: Path, tmp_path: Path) -> None:
    reader = HfReader(str(changed(tiny_model, tmp_path / "large", vocabulary=2000)), device="cpu")
    [samples] = reader.generate(["abc"], n=8, temperature=5.0, max_tokens=12, stop=["\n", "zz"])
    assert len(samples) == 8 and all(isinstance(sample.text, str) for sample in samples)
    assert reader.loglikelihood([("abc", [" a"])])[0].logprobs[0] < 0


def test_a_tokenizer_larger_than_the_model_is_named(tiny_model: Path, tmp_path: Path) -> None:
    reader = HfReader(str(changed(tiny_model, tmp_path / "small", vocabulary=300)), device="cpu")
    rare = reader.tokenizer.decode([550])
    for ask in (lambda: reader.generate([rare]), lambda: reader.loglikelihood([(rare, ["a"])])):
        with pytest.raises(ReaderError, match="the model knows 300"):
            ask()
    with pytest.raises(ReaderError, match="the model knows 300"):
        reader.loglikelihood([("a", ["b" + rare + rare])])


@pytest.mark.parametrize("chat", [False, True])
def test_a_prompt_that_fits_by_its_count_fits(tiny_model: Path, words: list[str], chat: bool) -> None:
    reader = HfReader(str(tiny_model), device="cpu", system="be brief" if chat else None)
    reader.tokenizer.chat_template, reader.chat = (TEMPLATE, True) if chat else (None, False)
    text = "word <|im_end|> " + words[0]
    while reader.count_tokens(f"{text} {words[1]}") <= reader.max_length - 5:
        text = f"{text} {words[1]}"
    n = reader.count_tokens(text)
    [[sample]] = reader.generate([text], max_tokens=reader.max_length - n)
    assert sample.n_prompt_tokens == n and n + sample.n_tokens <= reader.max_length
    with pytest.raises(ReaderError, match="do not fit"):
        reader.generate([text], max_tokens=reader.max_length - n + 1)


def test_a_tokenizer_without_marks_reads_and_writes(tiny_model: Path, tmp_path: Path) -> None:
    folder = changed(tiny_model, tmp_path / "bare")
    reader = HfReader(str(folder), device="cpu")
    reader.tokenizer.eos_token = reader.tokenizer.pad_token = reader.tokenizer.bos_token = None
    prompts = ["abc", "a much longer prompt of letters"]
    assert all(sample.n_tokens > 0 for [sample] in reader.generate(prompts, max_tokens=4))
    assert len(reader.loglikelihood([(prompt, [" a", " bc"]) for prompt in prompts])) == 2
    with pytest.raises(ReaderError, match="neither BOS nor EOS"):
        reader.loglikelihood([("", [" a"])])
    with pytest.raises(ReaderError, match="neither BOS nor EOS"):
        reader.generate([""])


def test_empty_prompts_of_all_kinds_are_answered(reader: HfReader) -> None:
    assert all(sample.n_tokens > 0 for [sample] in reader.generate(["", " ", "\n\n", "\x00"], max_tokens=3))
    assert len(reader.loglikelihood([("", ["a"]), (" ", ["a"]), ("\n", [" a b"])])) == 3
    assert reader.generate([]) == [] and reader.loglikelihood([]) == []


def test_a_prompt_of_200_000_characters_is_refused_with_its_length(reader: HfReader) -> None:
    with pytest.raises(ReaderError, match=r"a prompt of \d{4,} tokens .* takes 256"):
        reader.generate(["wordy " * 34_000])
    with pytest.raises(ReaderError, match=r"a prompt of \d{4,} tokens .* takes 256"):
        reader.loglikelihood([("wordy " * 34_000, [" a"])])


def test_a_long_continuation_that_does_not_fit_is_refused(reader: HfReader) -> None:
    with pytest.raises(ReaderError, match="takes 256"):
        reader.loglikelihood([("a", [" b" * 400])])


def test_control_tokens_alone_are_a_prompt(reader: HfReader) -> None:
    [[sample]] = reader.generate(["<|im_start|><|im_end|><|endoftext|>"], max_tokens=3)
    assert sample.n_prompt_tokens == 3


def test_a_continuation_that_merges_with_its_prefix_is_scored_or_refused(reader: HfReader, words: list[str]) -> None:
    """lm-evaluation-harness' split: what follows the prefix's own number of tokens."""
    whole = next(word for word in words if len(reader.encode([word])[0]) == 1)
    with pytest.raises(ReaderError, match="adds no token"):
        reader.loglikelihood([(whole[:1], [whole[1:]])])
    [scored] = reader.loglikelihood([(whole[:1], [whole[1:] + " abc"])])
    assert scored.n_tokens[0] == len(reader.encode([whole + " abc"])[0]) - 1


@pytest.mark.parametrize("stop", [["", " "], ["\n\n\n"], ["<|im_end|>"], ["é漢"], ["\ufffd"], ["a" * 500], ["\x00"]])
def test_stop_strings_of_any_shape_leave_no_trace(reader: HfReader, words: list[str], stop: list[str]) -> None:
    samples = reader.generate([words[2]], n=6, temperature=3.0, max_tokens=20, stop=stop)[0]
    for sample in samples:
        assert all(string not in sample.text for string in stop if string)


def test_a_control_token_as_a_stop_string_ends_a_generation(reader: HfReader, words: list[str]) -> None:
    settings = {"n": 40, "temperature": 8.0, "max_tokens": 40}
    ended = reader.generate([words[2]], stop=["<|im_end|>"], **settings)[0]
    whole = reader.generate([words[2]], **settings)[0]
    assert any(a.n_tokens < b.n_tokens for a, b in zip(ended, whole, strict=True))
    assert all(b.text.startswith(a.text.rstrip("\ufffd")) for a, b in zip(ended, whole, strict=True))


def test_bfloat16_stays_close_to_float32(tiny_model: Path, reader: HfReader, words: list[str]) -> None:
    narrow = HfReader(str(tiny_model), device="cpu", dtype="bfloat16")
    requests = [(" ".join(words[i : i + 20]), [" a", " " + words[i]]) for i in range(6)]
    for a, b in zip(reader.loglikelihood(requests), narrow.loglikelihood(requests), strict=True):
        assert a.logprobs == pytest.approx(b.logprobs, rel=0.1, abs=0.5)
    assert narrow.generate([words[0]], max_tokens=3)[0][0].logprob is not None


def test_a_model_spread_by_accelerate_reads_the_same(tiny_model: Path, reader: HfReader, words: list[str]) -> None:
    """device auto where accelerate finds only a CPU, and weights that its hooks bring in layer by layer."""
    accelerate = pytest.importorskip("accelerate")
    spread = HfReader(str(tiny_model), device="auto")
    offloaded = HfReader(str(tiny_model), device="cpu")
    offloaded.model = accelerate.cpu_offload(offloaded.model, execution_device=torch.device("cpu"))
    assert offloaded.model.device.type == "meta"
    offloaded.device = _input_device(offloaded.model)
    requests = [(" ".join(words[:30]) + " " + words[i], [" a", " " + words[i]]) for i in range(5)]
    drawn = reader.generate([words[3]], n=3, temperature=1.0, max_tokens=5)
    for other in (spread, offloaded):
        assert other.device.type == "cpu"
        for a, b in zip(reader.loglikelihood(requests), other.loglikelihood(requests), strict=True):
            assert a.logprobs == pytest.approx(b.logprobs, rel=1e-4, abs=1e-4)
        again = other.generate([words[3]], n=3, temperature=1.0, max_tokens=5)
        assert [sample.text for sample in again[0]] == [sample.text for sample in drawn[0]]


def test_planning_of_prompts_needs_no_torch() -> None:
    code = "import reread.reading.prefixes, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0

"""The endpoint reader against a real OpenAI-compatible server: transformers' own, on a tiny model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reread.reading.endpoint import EndpointReader
from reread.reading.local import HfReader
from serving import serve


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

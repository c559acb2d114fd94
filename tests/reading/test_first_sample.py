"""Samples drawn in two calls are those of one call: what drawing in rounds rests on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reread.errors import UsageError
from reread.reading.endpoint import EndpointReader
from reread.reading.local import HfReader
from reread.types import Sample


@pytest.fixture(scope="module")
def reader(tiny_model: Path) -> HfReader:
    return HfReader(str(tiny_model), device="cpu")


def test_four_samples_and_four_more_are_the_eight_of_one_call(reader: HfReader, words: list[str]) -> None:
    prompts = [" ".join(words[i : i + 3 + i % 3]) for i in range(5)]
    settings: dict[str, Any] = {"temperature": 0.9, "max_tokens": 6, "seed": 3}
    whole = reader.generate(prompts, n=8, **settings)
    early, late = reader.generate(prompts, n=4, **settings), reader.generate(prompts, n=4, first=4, **settings)
    assert [[s.text for s in given] for given in whole] == [
        [s.text for s in one + other] for one, other in zip(early, late, strict=True)
    ]
    assert len({s.text for s in whole[0]}) > 1


def test_a_later_draw_pays_for_its_own_prefill(reader: HfReader, words: list[str]) -> None:
    ((first, second),) = reader.generate([" ".join(words[:5])], n=2, temperature=1.0, max_tokens=3, first=6)
    assert first.n_prompt_tokens > 0
    assert second.n_prompt_tokens == 0


def test_a_sample_before_the_first_is_refused(reader: HfReader) -> None:
    with pytest.raises(UsageError, match="first"):
        reader.generate(["a"], temperature=1.0, first=-1)
    with pytest.raises(UsageError, match="first"):
        EndpointReader("m", "http://localhost:1/v1", api="chat").generate(["a"], first=-1)


def test_an_endpoint_is_asked_with_the_seed_of_the_samples_number(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = EndpointReader("m", "http://localhost:1/v1", api="completions", logprobs=False)
    seeds: list[int] = []

    async def ask(path: str, body: dict[str, Any], read: Any, **settings: Any) -> list[Sample]:
        seeds.append(body["seed"])
        samples: list[Sample] = read({"choices": [{"text": f"say {body['seed']}"}]})
        return samples

    monkeypatch.setattr(reader, "_ask", ask)
    (whole,) = reader.generate(["p"], n=4, temperature=1.0)
    (early,) = reader.generate(["p"], n=2, temperature=1.0)
    (late,) = reader.generate(["p"], n=2, temperature=1.0, first=2)
    assert [s.text for s in whole] == [s.text for s in early + late]
    assert len(set(seeds)) == 4

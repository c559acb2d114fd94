"""The endpoint reader against a real OpenAI-compatible server: transformers' own, on a tiny model."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from reread.reading.endpoint import EndpointReader
from reread.reading.local import HfReader

pytestmark = pytest.mark.slow
START_LIMIT_S = 180


@pytest.fixture(scope="module")
def address(tiny_model: Path) -> Iterator[str]:
    """The address of `transformers serve` on the tiny model; skips where transformers[serving] is not installed."""
    command = shutil.which("transformers", path=str(Path(sys.executable).parent))
    if command is None or any(importlib.util.find_spec(name) is None for name in ("fastapi", "uvicorn")):
        pytest.skip("needs transformers[serving]")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tiny_model / "serve.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [command, "serve", str(tiny_model), "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"],
            stdout=output,
            stderr=output,
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
        )
    try:
        ends_at = time.monotonic() + START_LIMIT_S
        while not _answers(f"http://127.0.0.1:{port}/health"):
            if process.poll() is not None or time.monotonic() > ends_at:
                pytest.fail(f"the server did not start: {log.read_text()[-500:]}")
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(20)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except (urllib.error.URLError, OSError):
        return False


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

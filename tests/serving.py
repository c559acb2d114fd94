"""A real OpenAI-compatible server for tests: transformers' own."""

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
from contextlib import contextmanager
from pathlib import Path

import pytest

START_LIMIT_S = 180


@contextmanager
def serve(model: Path) -> Iterator[str]:
    """The address of `transformers serve` on a checkpoint; skips where transformers[serving] is not installed."""
    command = shutil.which("transformers", path=str(Path(sys.executable).parent))
    if command is None or any(importlib.util.find_spec(name) is None for name in ("fastapi", "uvicorn")):
        pytest.skip("needs transformers[serving]")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = model / "serve.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [command, "serve", str(model), "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"],
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

"""Real OpenAI-compatible servers for tests: transformers' own, and llama-cpp-python's."""

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
LLAMA_CPP_PYTHON = "0.3.36"


@contextmanager
def serve(model: Path) -> Iterator[str]:
    """The address of `transformers serve` on a checkpoint; skips where transformers[serving] is not installed."""
    command = shutil.which("transformers", path=str(Path(sys.executable).parent))
    if command is None or any(importlib.util.find_spec(name) is None for name in ("fastapi", "uvicorn")):
        pytest.skip("needs transformers[serving]")
    with _running([command, "serve", str(model), "--device", "cpu"], model / "serve.log", "/health") as address:
        yield address


@contextmanager
def serve_llama_cpp(gguf: Path) -> Iterator[str]:
    """The address of llama-cpp-python's server on a GGUF file, every log-probability in float32."""
    # 0 is float32 for the cache of keys and values, which is float16 otherwise.
    settings = ["--logits_all", "true", "--n_ctx", "256", "--type_k", "0", "--type_v", "0", "--n_threads", "1"]
    # By default a new request ends the one under way.
    settings += ["--interrupt_requests", "false"]
    command = [str(llama_cpp_python()), "-m", "llama_cpp.server", "--model", str(gguf), *settings]
    with _running(command, gguf.with_suffix(".log"), "/v1/models") as address:
        yield address


def llama_cpp_python() -> Path:
    """A Python that has llama-cpp-python: REREAD_LLAMA_CPP, else one that is built in the user's cache (6 minutes on
    a core, once). Skips where there is no compiler or no package index."""
    named = os.environ.get("REREAD_LLAMA_CPP")
    if named:
        return Path(named)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    home = cache / "reread-tests" / f"llama-cpp-python-{LLAMA_CPP_PYTHON}"
    python = home / "bin" / "python"
    if not (home / "built").exists():
        missing = [tool for tool in ("cc", "c++", "cmake") if shutil.which(tool) is None]
        if missing:
            pytest.skip(f"llama-cpp-python builds from source and needs {', '.join(missing)}")
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        package = f"llama-cpp-python[server]=={LLAMA_CPP_PYTHON}"
        # Not for this machine's processor alone: a cache folder may be shared.
        built = subprocess.run(
            ["nice", str(python), "-m", "pip", "install", package],
            env={**os.environ, "CMAKE_ARGS": "-DGGML_NATIVE=OFF"},
            capture_output=True,
            text=True,
            check=False,
        )
        if built.returncode:
            pytest.skip(f"llama-cpp-python could not be built: {built.stderr[-300:]}")
        (home / "built").touch()
    return python


@contextmanager
def _running(command: list[str], log: Path, health: str) -> Iterator[str]:
    """The address of the server that the command starts on a free port, once it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            stdout=output,
            stderr=output,
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
        )
    try:
        ends_at = time.monotonic() + START_LIMIT_S
        while not _answers(f"http://127.0.0.1:{port}{health}"):
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

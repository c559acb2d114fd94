"""What runs a sentence-transformers model: torch or OpenVINO, in float32 or bfloat16.

Each backend runs the model's own modules, pooling and normalisation among them, on padded batches. `LocalEmbedder`
compares a backend's vectors with float32's before it uses it.
"""

from __future__ import annotations

import importlib.util
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from reread.embed.batches import Batch
from reread.protocols import Vectors

GPU_TOKENS = 16_384
"""Tokens in a batch on a GPU."""
TORCH_TOKENS = 2_048
"""Tokens in a batch of torch's on a CPU: more leave the second-level cache and are slower, see docs/results.md."""
OPENVINO_TOKENS = 1_024
"""Tokens in a batch of OpenVINO's, which runs one batch on each thread."""


_SENTENCE = "The river rises in the northern hills, passes two mills and a bridge of 1742, and ends in the sea. "
PROBES = (
    "Water",
    "Who built the bridge?",
    "\N{GREEK SMALL LETTER ALPHA}² + β² = γ² — naïve, 12.5 %",
    "Interest rates rose by half a point in March, which surprised most banks.",
    "def area(r):\n    return 3.14159 * r ** 2",
    _SENTENCE,
    _SENTENCE * 3,
    _SENTENCE * 9,
)
"""Texts of many lengths, for the comparison of a backend with float32: together they need padding and batches."""
BUILD_ERRORS = (RuntimeError, ValueError, TypeError, KeyError, IndexError, AttributeError, NotImplementedError)
"""What tracing and compiling a model raise where they do not know one of its operations."""


class Backend(Protocol):
    """Fills in the vectors of batches."""

    name: str
    precision: str
    budget_tokens: int
    pad_left: bool
    """Where padding stands; with a mask, neither attention nor pooling sees it."""

    def run(self, batches: Iterable[Batch], vectors: Vectors) -> None:
        """Write every batch's vectors into its rows of `vectors`, which is float32 (n, d)."""
        ...


class TorchBackend:
    """The model as it is; on a CPU in bfloat16 through autocast, which keeps sums and norms in float32."""

    def __init__(self, model: Any, precision: str) -> None:
        self.name = "torch"
        self.precision = precision
        self.pad_left = model.tokenizer.padding_side == "left"
        self._model = model.eval()
        self._on_cpu = model.device.type == "cpu"
        self.budget_tokens = TORCH_TOKENS if self._on_cpu else GPU_TOKENS

    def run(self, batches: Iterable[Batch], vectors: Vectors) -> None:
        import torch

        autocast = self._on_cpu and self.precision == "bfloat16"
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            for batch in batches:
                features = {
                    "input_ids": torch.from_numpy(batch.ids_NxT).to(self._model.device),
                    "attention_mask": torch.from_numpy(batch.mask_NxT).to(self._model.device),
                }
                vectors[batch.rows] = self._model(features)["sentence_embedding"].float().cpu().numpy()


class OpenVinoBackend:
    """The model traced and compiled by OpenVINO: as many batches at once as torch may use threads, one thread each.

    Threads that work on batches of their own wait for nobody, and the vectors do not depend on their number. Texts
    are padded on the right: a causal model's padding on the left has rows that attend to nothing, which are NaN here.
    """

    def __init__(self, model: Any, precision: str) -> None:
        import torch

        openvino = import_openvino()
        self.name = "openvino"
        self.precision = precision
        self.pad_left = False
        self.budget_tokens = OPENVINO_TOKENS
        n_threads = torch.get_num_threads()

        class Whole(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.model = model.eval()

            def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
                features = {"input_ids": input_ids, "attention_mask": attention_mask}
                vectors: torch.Tensor = self.model(features)["sentence_embedding"]
                return vectors

        # Two lengths, so that the mask is no constant of the trace.
        example = {name: torch.ones(2, 8, dtype=torch.long) for name in ("input_ids", "attention_mask")}
        example["attention_mask"][0, 4:] = 0
        with _quiet():
            traced = openvino.convert_model(Whole(), example_input=example)
        settings = {
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bfloat16" else "f32",
            "INFERENCE_NUM_THREADS": n_threads,
            "NUM_STREAMS": n_threads,
            # Pinned, the workers of a build would all sit on the first cores.
            "ENABLE_CPU_PINNING": False,
        }
        self._queue: Any = openvino.AsyncInferQueue(openvino.Core().compile_model(traced, "CPU", settings), n_threads)

    def run(self, batches: Iterable[Batch], vectors: Vectors) -> None:
        def fill(request: Any, rows: list[int]) -> None:
            vectors[rows] = request.get_output_tensor(0).data

        self._queue.set_callback(fill)
        for batch in batches:
            self._queue.start_async([batch.ids_NxT, batch.mask_NxT], batch.rows)
        self._queue.wait_all()


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the notes on constants in a trace: whether they matter is what the comparison with float32 finds out."""
    from transformers.utils import logging as transformers_logging

    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        transformers_logging.set_verbosity(verbosity)


def import_openvino() -> Any:
    """The package openvino, kept from reporting its use over the network, which it otherwise does when imported."""
    if "openvino" not in sys.modules:
        # Without that package OpenVINO takes its own silent stand-in.
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


def has_openvino() -> bool:
    return importlib.util.find_spec("openvino") is not None


def cpu_candidates(backend: str, precision: str) -> Iterator[tuple[str, str]]:
    """(backend, precision) to try on this CPU, fastest first, narrowed to what was asked for ("auto": anything)."""
    if backend == "openvino" or (backend == "auto" and has_openvino()):
        yield "openvino", _openvino_precision() if precision == "auto" else precision
    if backend in ("torch", "auto"):
        best = _torch_precision() if precision == "auto" else precision
        yield "torch", best
        if precision == "auto" and best != "float32":
            yield "torch", "float32"


def make_backend(name: str, precision: str, model: Any) -> Backend:
    """The backend of the name, ready to run; raises one of BUILD_ERRORS where it cannot take the model."""
    if name == "openvino":
        return OpenVinoBackend(model, precision)
    return TorchBackend(model, precision)


def _openvino_precision() -> str:
    """bfloat16 where OpenVINO says that this CPU multiplies in it, else float32."""
    capabilities = import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return "bfloat16" if "BF16" in capabilities else "float32"


def _torch_precision() -> str:
    """bfloat16 where the CPU has instructions for it (elsewhere torch emulates it, slower than float32)."""
    import torch

    supported = (getattr(torch.cpu, f"_is_{kind}_supported", bool) for kind in ("avx512_bf16", "amx_tile"))
    return "bfloat16" if any(has() for has in supported) else "float32"


def least_cosine(vectors: npt.NDArray[Any], reference: npt.NDArray[Any]) -> float:
    """The smallest cosine between rows of the two; −1 where a vector is NaN or zero."""
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(reference, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        cosines = (vectors.astype(np.float64) * reference).sum(axis=1) / lengths
    return float(np.nan_to_num(cosines, nan=-1.0).min(initial=1.0))

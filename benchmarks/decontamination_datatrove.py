"""datatrove's n-gram decontamination on given texts; run by decontamination_planted.py with the Python that has it.

    python3 -m venv VENV && VENV/bin/pip install datatrove==0.10.1 spacy 'xxhash<4' regex ftfy

(its xxhash is older than the one reread's environment has). Reads one JSON object from stdin: items ([query, label]
pairs), texts, and stems (whether query n-grams are indexed too; datatrove's default is not). Prints flags and
processor seconds. The indexer is made without its `run`, which asks for lighteval and a network; its own
`compute_hashes` makes the index, and the filter is used as it is.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path


def main() -> None:
    import numpy as np
    from datatrove.data import Document
    from datatrove.pipeline.decont.n_grams import NGramsDecontConfig, NGramsDecontFilter, NGramsDecontIndexer
    from datatrove.utils.hashing import create_hash_func
    from datatrove.utils.word_tokenizers import load_word_tokenizer

    asked = json.load(sys.stdin)
    config = NGramsDecontConfig(find_query_ngrams=asked["stems"])
    indexer = object.__new__(NGramsDecontIndexer)
    indexer.config = config
    indexer.tokenizer = load_word_tokenizer("eng")
    indexer.hash_func = create_hash_func(config.hash_config)
    hashes = {key for query, label in asked["items"] for key in indexer.compute_hashes(label, query)}
    with tempfile.TemporaryDirectory() as folder:
        np.array(sorted(hashes), dtype=config.hash_config.np_descr).tofile(Path(folder) / "all.index.hashes")
        keep = NGramsDecontFilter(folder, config, language="eng")
        keep.filter(Document(text="The index is read before the clock starts.", id="0"))
        began = time.process_time()
        flags = [keep.filter(Document(text=text, id="0")) is not True for text in asked["texts"]]
        seconds = time.process_time() - began
    print(json.dumps({"flags": flags, "seconds": seconds}))


if __name__ == "__main__":
    main()

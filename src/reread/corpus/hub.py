"""Hub data sets, streamed: hf:OWNER/NAME, hf:OWNER/NAME@CONFIG, hf:OWNER/NAME:SPLIT, hf:OWNER/NAME@CONFIG:SPLIT."""

from __future__ import annotations

import importlib.util
import re
import time
from collections.abc import Iterator
from typing import Any

from reread.corpus.find import CorpusFile
from reread.corpus.records import TEXT_FIELDS
from reread.corpus.rejects import Rejects
from reread.errors import CorpusError, MissingExtra

DEFAULT_SPLIT = "train"
UNREACHABLE = {"ConnectionError", "ConnectError", "OfflineModeIsEnabled", "TimeoutException", "LocalEntryNotFoundError"}
RETRY_WAITS_S = (1.0, 5.0, 20.0)
"""Before each new try of a stream that broke off; then the rest of the data set is rejected."""


def parse_dataset(dataset: str) -> tuple[str, str | None, str]:
    """(name or local folder, configuration, split) of what stands behind `hf:`; the split is train unless named."""
    name, split = dataset, DEFAULT_SPLIT
    # A split holds no slash, so the colon of a Windows drive or a folder's name is not taken for one.
    if found := re.search(r":([^/\\:\[]*(?:\[[^\]]*\])?)$", dataset):
        name, split = dataset[: found.start()], found[1]
    name, _, config = name.partition("@")
    if not name or not split or (not config and "@" in dataset):
        raise CorpusError(
            f"hf:{dataset} names no data set; write hf:OWNER/NAME, with @CONFIG for a configuration and :SPLIT for a "
            f"split other than {DEFAULT_SPLIT}"
        )
    return name, config or None, split


def read_hub(file: CorpusFile, rejects: Rejects, skip: int) -> Iterator[tuple[int, Any]]:
    """The rows by number from 1. A stream that breaks off is tried anew, then the rest is one reject, "damaged_file".

    Raises CorpusError where the data set, its configuration or its split cannot be had, MissingExtra without the
    package. No data set's own code is run.
    """
    rows = _open(file)
    text_column = _text_column(rows.features, file.text_field)
    number = skip
    waits = iter(RETRY_WAITS_S)
    while True:
        try:
            for row in rows.skip(number):
                number += 1
                record = dict(row)
                if text_column:
                    record["text"] = record.pop(text_column)
                yield number, record
            return
        except Exception as error:  # the hub's libraries raise their own kinds for a connection lost
            if isinstance(error, GeneratorExit | CorpusError):
                raise
            wait_s = next(waits, None)
            if wait_s is None:
                rejects.add(file.name, number + 1, "damaged_file")
                return
            time.sleep(wait_s)


def _open(file: CorpusFile) -> Any:
    if importlib.util.find_spec("datasets") is None:
        raise MissingExtra("datasets", "hub", f"the corpus hf:{file.dataset}")
    import datasets

    name, config, split = parse_dataset(file.dataset)
    try:
        return datasets.load_dataset(name, config, split=split, streaming=True)
    except Exception as error:
        raise CorpusError(f"hf:{file.dataset} cannot be read: {_explained(error, name, config, split)}") from error


def _explained(error: Exception, name: str, config: str | None, split: str) -> str:
    """One sentence on what was wrong and what to do."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    first_line = next(iter(str(error).strip().splitlines()), "")[:300].rstrip(".")
    if "DatasetNotFoundError" in kinds:
        if "gated" in first_line.lower():
            return f"{name} is gated; ask for access on its page, then log in with `hf auth login`"
        return f"there is no data set or folder {name} or it is private; check it, or log in with `hf auth login`"
    if "GatedRepoError" in kinds:
        return f"{name} is gated; ask for access on its page, then log in with `hf auth login`"
    if "script" in first_line.lower():
        return f"{name} needs code of its own to be run, which is refused; convert it to Parquet first"
    if "split" in first_line.lower() and isinstance(error, ValueError):
        return f"it has no split {split} ({first_line})"
    if "config" in first_line.lower() and isinstance(error, ValueError):
        return f"it has no configuration {config or 'of that name'} ({first_line}); name one as hf:{name}@CONFIG"
    if kinds & UNREACHABLE:
        return "the hub cannot be reached; check the network, or name a local copy"
    return f"{type(error).__name__}: {first_line or 'no reason given'}"


def _text_column(features: Any, text_field: str | None) -> str:
    """The only text column, where none has a usual name and none is nested; else "": the records' own rules find it."""
    if not features or text_field is not None:
        return ""
    if any(str(name).lower() in TEXT_FIELDS for name in features):
        return ""
    texts = [name for name, kind in features.items() if getattr(kind, "dtype", "") in ("string", "large_string")]
    nested = any(isinstance(kind, dict) for kind in features.values())
    return texts[0] if len(texts) == 1 and not nested else ""

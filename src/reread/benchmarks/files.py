"""Rows of a benchmark from local files (jsonl, json, csv, parquet; .gz) or from the hub."""

from __future__ import annotations

import csv
import glob
import gzip
import io
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reread.benchmarks.spec import BenchmarkSpec
from reread.errors import BenchmarkError

FORMATS = (".jsonl", ".jsonl.gz", ".json", ".json.gz", ".csv", ".csv.gz", ".tsv", ".parquet")
ALL_CONFIGS = "*"
"""A hub dataset with one configuration per subject: all are read, the subject is the configuration's name."""

PlacedRow = tuple[str, int, dict[str, Any]]
"""File name, row number from 1, and the row."""


def find_files(pattern: str) -> list[Path]:
    """Files that a path or glob names, sorted; a folder stands for its benchmark files."""
    path = Path(pattern).expanduser()
    if path.is_dir():
        found = sorted(file for file in path.iterdir() if file.name.endswith(FORMATS))
    elif path.is_file():
        found = [path]
    else:
        found = sorted(Path(name) for name in glob.glob(str(path), recursive=True))  # noqa: PTH207
        found = [file for file in found if file.is_file()]
    if not found:
        raise BenchmarkError(f"no benchmark file matches {pattern}; give a {', '.join(FORMATS)} file or a glob")
    for file in found:
        if not file.name.endswith(FORMATS):
            raise BenchmarkError(f"{file} is none of the readable formats: {', '.join(FORMATS)}")
    return found


def read_rows(path: Path) -> Iterator[PlacedRow]:
    """Every row of one file, with the file's name and the row's number from 1."""
    if path.name.endswith(".parquet"):
        rows = _read_parquet(path)
    else:
        text = _read_text(path)
        name = path.name.removesuffix(".gz")
        if name.endswith(".jsonl"):
            rows = _read_jsonl(path, text)
        elif name.endswith(".json"):
            rows = _read_json(path, text)
        else:
            rows = _read_csv(path, text, "\t" if name.endswith(".tsv") else ",")
    for number, row in rows:
        yield path.name, number, row


def _read_text(path: Path) -> str:
    try:
        data = path.read_bytes()
        if path.name.endswith(".gz"):
            data = gzip.decompress(data)
    except (OSError, EOFError) as error:
        raise BenchmarkError(f"cannot read {path}: {error}; is the file whole?") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise BenchmarkError(f"{path} is not UTF-8 at line {line}; convert it to UTF-8 first") from error


def _read_jsonl(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    # Only "\n" ends a record: splitlines would also cut at U+2028 inside a JSON string.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise BenchmarkError(f"{path} line {number} is not JSON ({error}); mend or delete it") from error
        if not isinstance(row, dict):
            raise BenchmarkError(f"{path} line {number} is not a JSON object; each line holds one question")
        yield number, row


def _read_json(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BenchmarkError(f"{path} is not JSON ({error})") from error
    if isinstance(rows, dict):
        lists = [value for value in rows.values() if isinstance(value, list)]
        rows = lists[0] if len(lists) == 1 else [rows]
    if not isinstance(rows, list):
        raise BenchmarkError(f"{path} holds no list of questions; write a JSON list of objects")
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise BenchmarkError(f"{path} row {number} is not a JSON object; each row holds one question")
        yield number, row


def _read_csv(path: Path, text: str, delimiter: str) -> Iterator[tuple[int, dict[str, Any]]]:
    csv.field_size_limit(1 << 30)  # the default refuses cells over 128 KiB, which long questions reach
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        for number, row in enumerate(reader, 1):
            row.pop(None, None)
            yield number, {key: value for key, value in row.items() if value is not None}
    except csv.Error as error:
        raise BenchmarkError(f"{path} is not readable as CSV at line {reader.line_num}: {error}") from error


def _read_parquet(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise BenchmarkError(f"cannot read {path} as Parquet: {str(error).splitlines()[0]}") from error
    yield from enumerate(table.to_pylist(), 1)


def read_hub(spec: BenchmarkSpec) -> Iterator[PlacedRow]:
    """Rows of the published dataset, each with its split; needs the package `datasets` and a network."""
    if spec.hub is None:
        raise BenchmarkError(f"{spec.name} has no published dataset; give a file: {spec.name}:PATH")
    try:
        import datasets
    except ImportError as error:
        raise BenchmarkError(
            f"fetching {spec.name} ({spec.hub.dataset}) from the hub needs the package datasets "
            f"(pip install datasets); or give a local file: {spec.name}:PATH"
        ) from error
    for hub_split, split in spec.hub.splits.items():
        place = f"{spec.hub.dataset}[{hub_split}]"
        try:
            configs: list[str | None] = [spec.hub.config]
            if spec.hub.config == ALL_CONFIGS:
                configs = sorted(datasets.get_dataset_config_names(spec.hub.dataset))
            tables = [datasets.load_dataset(spec.hub.dataset, name, split=hub_split) for name in configs]
        except (OSError, ValueError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise BenchmarkError(
                f"cannot fetch {place} from the hub ({reason}); give a local file: {spec.name}:PATH"
            ) from error
        numbers = itertools.count(1)
        for config, table in zip(configs, tables, strict=True):
            for row in table:
                subject = {"subject": config} if spec.hub.config == ALL_CONFIGS else {}
                yield place, next(numbers), {**subject, **row, "split": row.get("split") or split}

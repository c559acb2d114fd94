"""From the CORPUS words of a command line to the files behind them."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reread.errors import CorpusError

HUB_PREFIX = "hf:"
DATASTORE_MARK = "datastore.json"


@dataclass(frozen=True, slots=True)
class CorpusFile:
    """One input: a local file, or a hub data set where `path` is None."""

    name: str
    """Names it in ids and messages: the path below the folder that was asked for, else the base name."""
    path: Path | None
    dataset: str = ""

    @property
    def source(self) -> str:
        return self.path.name if self.path is not None else f"{HUB_PREFIX}{self.dataset}"


def find_files(corpora: Sequence[str]) -> list[CorpusFile]:
    """The files of every CORPUS (file, folder, glob or hf:DATASET), in the order asked for, sorted within each.

    A file that several of them name is read once. Names are unique: where two files would share one, the folders
    above them are added until they differ. Raises CorpusError for a corpus that is missing or holds no file.
    """
    if not corpora:
        raise CorpusError("no corpus was named; give a file, a folder, a glob or hf:DATASET")
    found: list[CorpusFile] = []
    seen: set[str] = set()
    for corpus in corpora:
        for file in _files_of(str(corpus)):
            key = str(file.path.resolve()) if file.path is not None else file.source
            if key not in seen:
                seen.add(key)
                found.append(file)
    return _with_unique_names(found)


def _files_of(corpus: str) -> list[CorpusFile]:
    if corpus.startswith(HUB_PREFIX):
        dataset = corpus.removeprefix(HUB_PREFIX)
        if not dataset:
            raise CorpusError("hf: names no data set; write hf:OWNER/NAME, with :SPLIT for one other than train")
        return [CorpusFile(corpus, None, dataset)]
    path = Path(corpus).expanduser()
    if path.is_file():
        return [CorpusFile(path.name, path)]
    if path.is_dir():
        return _files_below(path)
    matches = sorted(Path(match) for match in glob.glob(str(path), recursive=True))  # noqa: PTH207  # Path.glob takes no absolute pattern
    files: list[CorpusFile] = []
    for match in matches:
        if match.is_file():
            files.append(CorpusFile(match.name, match))
        elif match.is_dir() and not corpus.endswith("**"):
            files.extend(_files_below(match))
    if not files:
        kind = "no file matches the glob" if glob.has_magic(corpus) else "no such file or folder:"
        raise CorpusError(f"{kind} {corpus}; a corpus is a file, a folder, a glob or hf:DATASET")
    return files


def _files_below(folder: Path) -> list[CorpusFile]:
    files = []
    stores: list[Path] = []
    for path in sorted(folder.rglob("*"), key=lambda path: path.relative_to(folder).as_posix()):
        relative = path.relative_to(folder)
        if path.is_dir() and (path / DATASTORE_MARK).is_file():
            stores.append(path)
        # Hidden files (.git, .DS_Store) are not part of what a person calls the corpus, nor is a store built beside it.
        if path.is_file() and not (_is_hidden(relative) or any(path.is_relative_to(store) for store in stores)):
            files.append(CorpusFile(relative.as_posix(), path))
    if not files:
        raise CorpusError(f"the folder {folder} holds no files; put documents there, or name another corpus")
    return files


def _is_hidden(relative: Path) -> bool:
    return any(part.startswith(".") for part in relative.parts)


def _with_unique_names(files: list[CorpusFile]) -> list[CorpusFile]:
    by_name: dict[str, list[CorpusFile]] = {}
    for file in files:
        by_name.setdefault(file.name, []).append(file)
    named = []
    for file in files:
        rivals = by_name[file.name]
        if len(rivals) == 1 or file.path is None:
            named.append(file)
            continue
        named.append(CorpusFile(_shortest_unlike(file.path, [r.path for r in rivals if r.path]), file.path))
    return named


def _shortest_unlike(path: Path, rivals: list[Path]) -> str:
    parts = path.resolve().parts
    others = [rival.resolve().parts for rival in rivals if rival != path]
    for n in range(1, len(parts) + 1):
        if all(other[-n:] != parts[-n:] for other in others):
            return "/".join(parts[-n:])
    return path.resolve().as_posix()

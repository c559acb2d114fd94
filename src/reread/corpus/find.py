"""From the CORPUS words of a command line to the files behind them."""

from __future__ import annotations

import glob
import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

from reread.corpus.blob import Openable
from reread.corpus.records import clean
from reread.corpus.remote import URL, list_objects, open_object, public_url
from reread.errors import CorpusError

HUB_PREFIX = "hf:"
DATASTORE_MARK = "datastore.json"
EXTRACTION_MARK = ".extract"
KINDS = "a file, a folder, a glob, a URL on an object store or hf:DATASET"


@dataclass(frozen=True, slots=True)
class CorpusFile:
    """One input: a local file (`path`), an object on a store (`url`), or a hub data set (`dataset`)."""

    name: str
    """Names it in ids and messages: the path below the folder that was asked for, else the base name; always UTF-8."""
    path: Path | None
    dataset: str = ""
    url: str = ""
    text_field: str | None = None
    """The field or column that holds the text, where a person named it."""
    member_of: str = ""
    """The source of the archive it lies in."""

    @property
    def source(self) -> str:
        if self.member_of:
            return f"{self.member_of}/{PurePath(self.name).name}"
        if self.url:
            return self.url.rpartition("/")[2]
        return self.path.name if self.path is not None else f"{HUB_PREFIX}{self.dataset}"

    @property
    def content(self) -> Openable | None:
        """What its bytes are read from; None for a hub data set."""
        return open_object(self.url) if self.url else self.path

    @property
    def n_bytes(self) -> int | None:
        """Its size; None where it is not local, or cannot be looked at."""
        try:
            return self.path.stat().st_size if self.path is not None else None
        except OSError:
            return None

    @property
    def place(self) -> str:
        """Where it is, for messages: its path or its URL."""
        return self.url or str(self.path or self.source)


def find_files(corpora: Sequence[str]) -> list[CorpusFile]:
    """The files of every CORPUS (file, folder, glob, URL or hf:DATASET), in the order asked for, sorted within each.

    A file that several of them name is read once. Names are unique: where two files would share one, the folders
    above them are added until they differ. Raises CorpusError for a corpus that is missing or holds no file, and
    MissingExtra where an object store needs a package.
    """
    if not corpora:
        raise CorpusError(f"no corpus was named; give {KINDS}")
    found: list[CorpusFile] = []
    seen: set[str] = set()
    for corpus in corpora:
        for file in _files_of(str(corpus)):
            key = _place(file)
            if key not in seen:
                seen.add(key)
                found.append(file)
    return _with_unique_names(found)


def _place(file: CorpusFile) -> str:
    """Where the file is, as a path with slashes."""
    if file.path is None:
        return file.url or file.source
    # Unlike Path.resolve, no error for a link that leads back to itself.
    return Path(os.path.realpath(file.path)).as_posix()


def _files_of(corpus: str) -> list[CorpusFile]:
    if corpus.startswith(HUB_PREFIX):
        from reread.corpus.hub import parse_dataset

        dataset = corpus.removeprefix(HUB_PREFIX)
        parse_dataset(dataset)
        return [CorpusFile(corpus, None, dataset)]
    if corpus.startswith("file://"):
        corpus = _local_path(corpus)
    elif URL.match(corpus):
        files = [CorpusFile(name, None, url=url) for name, url in list_objects(corpus) if not is_hidden(PurePath(name))]
        if not files:
            raise CorpusError(f"{public_url(corpus)} holds no files; check the bucket and the prefix")
        return files
    if not corpus:
        raise CorpusError(f"the name of a corpus is empty; give {KINDS}")
    try:
        return _local_files(corpus)
    except PermissionError as error:
        raise CorpusError(f"no permission to read {error.filename or corpus}; change it, or run as its owner") from None
    except (OSError, ValueError, RuntimeError) as error:
        # A name that is too long, holds a NUL, or a ~NAME that is no user.
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error).rstrip(".")
        raise CorpusError(f"{corpus[:200]} cannot be a file's name ({reason}); give {KINDS}") from None


def _local_files(corpus: str) -> list[CorpusFile]:
    path = Path(corpus).expanduser()
    if path.is_file():
        return [CorpusFile(clean(path.name), path)]
    if path.is_dir():
        return _files_below(path)
    if path.exists():
        raise CorpusError(f"{corpus} is a {_special_kind(path)}, not a file; write its content to a file first")
    matches = sorted(Path(match) for match in glob.glob(str(path), recursive=True))  # noqa: PTH207  # Path.glob takes no absolute pattern
    files = []
    for match in matches:
        if match.is_file():
            files.append(CorpusFile(clean(match.name), match))
        elif match.is_dir() and not corpus.endswith("**"):
            files.extend(_files_below(match))
    if not files:
        kind = "no file matches the glob" if glob.has_magic(corpus) else "no such file or folder:"
        raise CorpusError(f"{kind} {corpus}; a corpus is {KINDS}")
    return files


def _local_path(url: str) -> str:
    from urllib.parse import unquote, urlsplit

    # The glob's own ? and # are no query or fragment here.
    if urlsplit(url).netloc not in ("", "localhost"):
        raise CorpusError(f"{public_url(url)} names another machine; a local file is file:///PATH")
    return unquote(url.removeprefix("file://").removeprefix("localhost"))


def _special_kind(path: Path) -> str:
    mode = path.stat().st_mode
    kinds = ((stat.S_ISFIFO, "pipe"), (stat.S_ISSOCK, "socket"), (stat.S_ISCHR, "device"), (stat.S_ISBLK, "device"))
    return next((kind for is_kind, kind in kinds if is_kind(mode)), "special file")


def _files_below(folder: Path) -> list[CorpusFile]:
    try:
        paths = sorted(_walk(folder), key=lambda path: path.relative_to(folder).as_posix())
    except OSError as error:
        raise CorpusError(f"the folder {error.filename or folder} cannot be listed ({error.strerror})") from error
    if not paths:
        raise CorpusError(f"the folder {folder} holds no files; put documents there, or name another corpus")
    return [CorpusFile(clean(path.relative_to(folder).as_posix()), path) for path in paths]


def _walk(folder: Path) -> Iterator[Path]:
    """The files below, through links to other folders too, but into no folder twice.

    Hidden files (.git, .DS_Store) are not part of what a person calls the corpus, nor is a store built beside it.
    Pipes, sockets and devices hold no records. A link to nothing stays, so that it is counted when it is opened.
    """
    seen = {_identity(folder)}
    pending = [folder]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                path = Path(entry.path)
                if entry.name.startswith(".") or _is_extraction_log(path):
                    continue
                if _is_folder(path):
                    identity = _identity(path)
                    if identity not in seen and not (path / DATASTORE_MARK).is_file():
                        seen.add(identity)
                        pending.append(path)
                elif path.is_file() or (path.is_symlink() and not _exists(path)):
                    yield path


def _is_extraction_log(path: Path) -> bool:
    """Whether a file is the list of rejects beside what `reread extract` wrote, which is a corpus otherwise."""
    return path.name == "rejects.jsonl" and (path.parent / EXTRACTION_MARK).is_dir()


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except OSError:
        return False


def _exists(path: Path) -> bool:
    try:
        path.stat()
    except OSError:
        return False
    return True


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def is_hidden(relative: PurePath) -> bool:
    """Whether the file, or a folder it is in, is not part of what a person calls the corpus."""
    return any(part.startswith(".") and part not in (".", "..") for part in relative.parts)


def _with_unique_names(files: list[CorpusFile]) -> list[CorpusFile]:
    by_name: dict[str, list[int]] = {}
    for number, file in enumerate(files):
        by_name.setdefault(file.name, []).append(number)
    named = list(files)
    for numbers in by_name.values():
        if len(numbers) > 1:
            names = _shortest_unlike([_place(files[number]) for number in numbers])
            for number, name in zip(numbers, names, strict=True):
                named[number] = replace(files[number], name=clean(name))
    # Made longer, a name may have become another file's.
    counts = Counter(file.name for file in named)
    return [replace(file, name=clean(_place(file))) if counts[file.name] > 1 else file for file in named]


def _shortest_unlike(places: Sequence[str]) -> list[str]:
    """Each place by as many of its last parts as no other has; the whole of it where there is no such number."""
    parts = [PurePath(place).parts for place in places]
    names = list(places)
    waiting = list(range(len(places)))
    for n in range(1, max(map(len, parts)) + 1):
        counts = Counter(parts[number][-n:] for number in waiting)
        for number in waiting:
            if counts[parts[number][-n:]] == 1 and n <= len(parts[number]):
                names[number] = "/".join(parts[number][-n:])
        waiting = [number for number in waiting if counts[parts[number][-n:]] > 1]
    return names

"""Web pages and wikitext into files of plain text: resumable, with the same bytes for any number of workers."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from reread.corpus.documents import START, Position, no_documents, read_from
from reread.corpus.filters import make_filter
from reread.corpus.find import EXTRACTION_MARK, CorpusFile, find_files
from reread.corpus.output import (
    atomic_gzip,
    check_outside,
    claim_folder,
    join_files,
    output_names,
    remove_unfinished,
)
from reread.corpus.rejects import Rejects
from reread.corpus.web.fetch import fetch_links
from reread.corpus.web.html import DEFAULT_ENGINE, extracting, html_text
from reread.corpus.web.local_pages import find_pages
from reread.corpus.web.page_cache import FetchedPage, MissedPage
from reread.corpus.web.urls import normal_url, read_urls
from reread.corpus.workers import Tick, over_files
from reread.errors import RunFolderError, UsageError
from reread.protocols import Progress, Reader
from reread.runs import file_sha256, write_json_atomically
from reread.types import Document

WORK = EXTRACTION_MARK
"""Settings and what is unfinished. Hidden, so that OUT is a corpus as it stands."""
SETTINGS = "settings.json"
REJECTS = "rejects.jsonl"
SHARD_DOCUMENTS = 2000
"""Documents of an output file, which is also what a killed run may have to do again."""
PAGE_TYPES = ("text/html", "application/xhtml+xml", "")
WEB_SOURCE = "web"


@dataclass(frozen=True, slots=True)
class ExtractReport:
    """What an extraction wrote and did not."""

    out: Path
    n_documents: int
    text_bytes: int
    files: tuple[str, ...]
    """Names below `out`, in the order of the input."""
    rejects: dict[str, int]
    """Reason to count; every one is a line of rejects.jsonl."""


def extract_corpus(
    inputs: Sequence[str],
    out: Path,
    *,
    engine: str = DEFAULT_ENGINE,
    reader: Reader | None = None,
    filters: Sequence[str] = (),
    workers: int = 1,
    progress: Progress | None = None,
) -> ExtractReport:
    """Write the text of every document of the inputs to `out` as JSON lines (id, title, text, url, further fields).

    inputs: whatever read_documents takes. engine, reader: how web pages become text (html.html_text). filters:
    filters.make_filter's rules. One or more NAME-00000.jsonl.gz an input file, rejects.jsonl beside them. A repeated
    call goes on behind the last whole output file.

    Raises UsageError for a wrong engine, filter or number of workers, CorpusError where nothing can be read,
    RunFolderError where `out` holds something else.
    """
    with extracting(engine, reader):
        keep = make_filter(filters)
    if workers < 1:
        raise UsageError(f"workers must be at least 1, not {workers}")
    if reader is not None and workers > 1:
        raise UsageError("a reader serves one process; leave --workers away with the engine readerlm")
    check_outside(out, inputs)
    files = find_files(inputs)
    asked = {
        "engine": engine,
        "reader": reader.spec if reader is not None else None,
        "filters": list(keep.description),
        "files": [[file.name, file.n_bytes] for file in files],
    }
    claim_folder(out, out / WORK / SETTINGS, asked, "an extraction")
    names = [name.removesuffix(".jsonl.gz") for name in output_names(files, ".jsonl.gz")]
    jobs = [
        _Job(number, file, out, name, engine, tuple(filters))
        for number, (file, name) in enumerate(zip(files, names, strict=True))
    ]
    remove_unfinished(out)
    over_files(functools.partial(_extract_file, reader=reader), jobs, workers, progress or (lambda done, total: None))
    states = [job.state() for job in jobs]
    shards = [
        job.shard_name(place) for job, state in zip(jobs, states, strict=True) for place in range(state["n_shards"])
    ]
    join_files([job.work("rejects.jsonl") for job in jobs], out / REJECTS)
    rejects = Rejects()
    for state in states:
        rejects.counts.update(state["rejects"])
    report = ExtractReport(
        out,
        sum(state["n_documents"] for state in states),
        sum(state["text_bytes"] for state in states),
        tuple(shards),
        dict(rejects.counts),
    )
    if report.n_documents == 0 and not filters:
        raise no_documents(inputs, rejects)
    return report


def extract_urls(
    urls: Path,
    inputs: Sequence[str],
    out: Path,
    *,
    web: bool = False,
    user_agent: str = "",
    engine: str = DEFAULT_ENGINE,
    reader: Reader | None = None,
    filters: Sequence[str] = (),
    progress: Progress | None = None,
) -> ExtractReport:
    """Write the pages of a file of URLs to out/urls.jsonl.gz, in the file's order.

    A page is looked for in the inputs (local_pages.find_pages) and, with `web`, fetched where they do not have it
    (fetch.fetch_links, whose cache is kept in `out`, so that a repeated call fetches only what is missing). A URL
    without a page is rejected by its reason.

    Raises UsageError for a file without URLs, or neither inputs nor web.
    """
    if not inputs and not web:
        raise UsageError("--urls looks for pages in the INPUT files; name some, or allow the web with --web")
    keep = make_filter(filters)
    work = out / WORK
    with extracting(engine, reader):
        asked = {
            "engine": engine,
            "reader": reader.spec if reader is not None else None,
            "filters": list(keep.description),
            "urls": file_sha256(urls) if urls.is_file() else "",
            "web": web,
            "files": [file.name for file in find_files(inputs)] if inputs else [],
        }
        wanted = read_urls(urls, Rejects())
        claim_folder(out, work / SETTINGS, asked, "an extraction")
        (work / REJECTS).unlink(missing_ok=True)
        rejects = _HeldBack(work / REJECTS)
        with rejects:
            read_urls(urls, rejects)
            rejects.holds = web
            found: dict[str, Document] = {}
            for page in find_pages(wanted, inputs, rejects) if inputs else ():
                text, title = html_text(page.content, page.encoding, url=page.url)
                meta = {} if page.page_url == page.url else {"page_url": page.page_url}
                found[normal_url(page.url)] = Document(page.url, text, page.source, title, page.url, meta)
                if progress is not None:
                    progress(len(found), len(wanted))
            missing = [url for url in wanted if normal_url(url) not in found]
            fetched = fetch_links(missing, user_agent=user_agent, cache=work / "web") if web and missing else ()
            for reply in fetched:
                document = _fetched_document(reply)
                if document is not None:
                    found[normal_url(document.url)] = document
                elif isinstance(reply, MissedPage):
                    rejects.add("urls", reply.url, reply.reason)
                if progress is not None:
                    progress(len(found), len(wanted))
            documents: list[Document] = []
            for url in wanted:
                document = found.get(normal_url(url))
                if document is not None:
                    reason = keep(document) if document.text.strip() else "empty_text"
                    if reason:
                        rejects.add(document.source, url, reason)
                    else:
                        documents.append(document)
    with atomic_gzip(out / "urls.jsonl.gz") as file:
        for document in documents:
            file.write(_line(document))
    join_files([work / REJECTS], out / REJECTS)
    n_bytes = sum(len(document.text.encode()) for document in documents)
    return ExtractReport(out, len(documents), n_bytes, ("urls.jsonl.gz",), dict(rejects.counts))


def _fetched_document(reply: FetchedPage | MissedPage) -> Document | None:
    if isinstance(reply, MissedPage):
        return None
    if reply.content_type in PAGE_TYPES:
        text, title = html_text(reply.content, reply.encoding, url=reply.final_url)
    else:
        text, title = reply.content.decode(reply.encoding or "utf-8", "replace"), ""
    meta = {"fetched": reply.fetched, "final_url": reply.final_url}
    return Document(reply.url, text, urlsplit(reply.url).hostname or WEB_SOURCE, title, reply.url, meta)


class _HeldBack(Rejects):
    """Rejects that leave out "not_in_corpus" while the web is still to be asked."""

    holds = False

    def add(self, source: str, record: str | int, reason: str) -> None:
        if not (self.holds and reason == "not_in_corpus"):
            super().add(source, record, reason)


@dataclass(frozen=True, slots=True)
class _Job:
    """One corpus file: what a worker is handed."""

    number: int
    file: CorpusFile
    out: Path
    name: str
    engine: str
    filters: tuple[str, ...]

    def work(self, suffix: str) -> Path:
        return self.out / WORK / f"{self.number:05d}.{suffix}"

    def shard_name(self, place: int) -> str:
        return f"{self.name}-{place:05d}.jsonl.gz"

    def state(self) -> dict[str, Any]:
        """Where this file's extraction stands: what is done up to `record`, the last one of a whole output file."""
        path = self.work("json")
        fresh = {"record": 0, "n_shards": 0, "n_documents": 0, "text_bytes": 0, "rejects_bytes": 0, "rejects": {}}
        if not path.exists():
            return {**fresh, "is_done": False}
        try:
            state = json.loads(path.read_bytes())
        except ValueError:
            raise RunFolderError(f"{path} is damaged; delete {self.out} and extract again") from None
        return cast(dict[str, Any], state)


def _extract_file(job: _Job, tick: Tick, reader: Reader | None) -> None:
    """Bring one corpus file's output to its end."""
    state = job.state()
    if state["is_done"]:
        return
    keep = make_filter(job.filters)
    rejects_path = job.work("rejects.jsonl")
    if rejects_path.exists():
        os.truncate(rejects_path, min(state["rejects_bytes"], rejects_path.stat().st_size))
    start = Position(0, state["record"]) if state["record"] else START
    with extracting(job.engine, reader), Rejects(rejects_path) as rejects:
        rejects.counts.update(state["rejects"])
        documents = read_from([job.file], start, rejects=rejects)
        while not state["is_done"]:
            n_bytes = n_shard = 0
            with atomic_gzip(job.out / job.shard_name(state["n_shards"])) as file:
                for position, document in documents:
                    tick(1)
                    if reason := keep(document):
                        rejects.add(job.file.name, position.record, reason)
                        continue
                    file.write(_line(document))
                    n_bytes += len(document.text.encode())
                    n_shard += 1
                    if n_shard == SHARD_DOCUMENTS:
                        break
                else:
                    position = Position(0, state["record"])
                    state["is_done"] = True
            if n_shard == 0:
                (job.out / job.shard_name(state["n_shards"])).unlink()
            state.update(
                record=position.record,
                n_shards=state["n_shards"] + (n_shard > 0),
                n_documents=state["n_documents"] + n_shard,
                text_bytes=state["text_bytes"] + n_bytes,
                rejects_bytes=rejects.flush(),
                rejects=dict(rejects.counts),
            )
            write_json_atomically(job.work("json"), state)


def _line(document: Document) -> bytes:
    """The document as a JSON line: its own fields first, then the record's further ones."""
    own = {
        "id": document.id,
        "title": document.title,
        "url": document.url,
        "text": document.text,
        "source": document.source,
    }
    further = {key: value for key, value in document.meta.items() if key not in own}
    return json.dumps({**own, **further}, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def report_fields(report: ExtractReport) -> dict[str, Any]:
    """The report as JSON holds it."""
    return {**asdict(report), "out": str(report.out), "files": list(report.files)}

"""Web pages that lie in local files already, found by their URLs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from reread.corpus.blob import Openable
from reread.corpus.find import CorpusFile, find_files
from reread.corpus.formats.readers import detect_format, read_jsonl
from reread.corpus.formats.warc import ArchiveRecord, warc_pages
from reread.corpus.records import HTML_FIELDS
from reread.corpus.rejects import Rejects
from reread.corpus.streams import read_whole
from reread.corpus.web.http_body import Page, page_of
from reread.corpus.web.page_cache import REQUESTED_HEADER
from reread.corpus.web.urls import normal_url

URL_FIELDS = ("url", "uri", "link", "final_url")
URL_HEADERS = ("warc-target-uri", REQUESTED_HEADER.lower())
HEAD_BYTES = 256 * 1024
"""How far into a page its own address is looked for."""

_LINK = re.compile(rb"<(?:link|meta)\s[^>]{0,4096}>", re.IGNORECASE)
_ATTRIBUTE = re.compile(rb"""(?<![a-z:-])([a-z:-]+)\s*+=\s*(?:"([^"]*)"|'([^']*)'|([^\s>"'][^\s>]*))""", re.IGNORECASE)
_SAVED_FROM = re.compile(rb"<!--\s*saved from url=\(\d+\)(\S+)\s*-->", re.IGNORECASE)
_SINGLE_FILE = re.compile(rb"Page saved with SingleFile\s+url:\s*(\S+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class LocalPage:
    """A page of a local corpus whose URL was asked for."""

    url: str
    """As it was asked for."""
    page_url: str
    """As the corpus has it."""
    content: bytes
    encoding: str | None
    """The charset that the server named, where the file kept it."""
    source: str
    """The corpus file."""
    number: int
    """The record's number in it, from 1."""


def find_pages(urls: Sequence[str], corpora: Sequence[str], rejects: Rejects) -> Iterator[LocalPage]:
    """The first page of the corpora for each URL, in the corpora's order.

    Pages are looked for in WARC files (by the record's URL, and by the one that was asked for where fetch_links
    wrote it), in HTML files (by <link rel=canonical>, og:url, the saved-from note of a browser, or the path below
    the folder where it names a host, as in wget's mirrors) and in JSON lines with `html` and `url`. URLs are compared
    in their normal form. A URL that no corpus holds is rejected ("not_in_corpus"), and so is what cannot be read.
    """
    wanted: dict[str, str] = {}
    for url in urls:
        wanted.setdefault(normal_url(url), url)
    for file in find_files(corpora):
        if not wanted:
            break
        for number, page_urls, content, encoding in _pages(file, rejects):
            for page_url in page_urls:
                asked = wanted.pop(normal_url(page_url), None)
                if asked is not None:
                    yield LocalPage(asked, page_url, content, encoding, file.source, number)
    for url in wanted.values():
        rejects.add("urls", url, "not_in_corpus")


Found = tuple[int, list[str], bytes, str | None]


def _pages(file: CorpusFile, rejects: Rejects) -> Iterator[Found]:
    """(record number, its URLs, content, encoding) of every page in a file; other files hold none."""
    content = file.content
    if content is None:
        return
    try:
        kind = detect_format(content)
    except OSError as error:
        rejects.add(file.name, 0, f"unreadable_file ({error.strerror})")
        return
    if kind == "warc":
        yield from _archive_pages(warc_pages(content, file.name, rejects))
    elif kind == "html":
        page = read_whole(content, file.name, rejects)
        if page is not None:
            yield 1, [*page_addresses(page), *_mirror_address(file.name)], page, None
    elif kind == "jsonl":
        yield from _json_pages(file, content, rejects)


def _archive_pages(records: Iterator[tuple[int, ArchiveRecord]]) -> Iterator[Found]:
    for number, record in records:
        urls = [url.strip("<> ") for name in URL_HEADERS if (url := record.fields.get(name))]
        if record.kind == "conversion" or not urls or not isinstance(record.payload, bytes):
            continue
        page = page_of(record.payload, record.fields.get("content-type", ""))
        if isinstance(page, Page):
            yield number, urls, page.content, page.charset


def _json_pages(file: CorpusFile, path: Openable, rejects: Rejects) -> Iterator[Found]:
    for number, record in read_jsonl(file, path, rejects, 0):
        if not isinstance(record, dict):
            continue
        html = next((record[field] for field in HTML_FIELDS if isinstance(record.get(field), str)), None)
        url = next((record[field] for field in URL_FIELDS if isinstance(record.get(field), str)), None)
        if html and url:
            yield number, [url], html.encode("utf-8", "replace"), "utf-8"


def page_addresses(content: bytes) -> list[str]:
    """The addresses that a page gives as its own: canonical link, og:url, a browser's or SingleFile's saved-from."""
    head = content[:HEAD_BYTES]
    found = [match.group(1) for pattern in (_SAVED_FROM, _SINGLE_FILE) if (match := pattern.search(head))]
    for tag in _LINK.finditer(head):
        attributes: dict[bytes, bytes] = {}
        for name, *values in _ATTRIBUTE.findall(tag.group()):
            attributes.setdefault(name.lower(), b"".join(values))
        if b"canonical" in attributes.get(b"rel", b"").lower().split():
            found.append(attributes.get(b"href", b""))
        elif attributes.get(b"property", b"").lower() == b"og:url":
            found.append(attributes.get(b"content", b""))
    texts = [address.decode("utf-8", "replace").replace("&amp;", "&").strip() for address in found]
    return [f"https:{text}" if text.startswith("//") else text for text in texts if "//" in text[:8]]


def _mirror_address(name: str) -> list[str]:
    """The URLs that a mirror's path may stand for: HOST/path, HOST/path.html, HOST/path/index.html."""
    host, slash, path = unquote(name).partition("/")
    if not slash or "." not in host or " " in host:
        return []
    address = f"http://{host}/{path}"
    return [address, *(address.removesuffix(end) for end in ("/index.html", ".html", ".htm") if address.endswith(end))]

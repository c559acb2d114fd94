"""Wikipedia's XML dumps (MediaWiki's export schema 0.3 to 0.11), page by page, however large or damaged they are.

A multistream dump is many bzip2 streams in a row, of 100 pages each; a dump of one stream, gzip, zstd and plain XML
are read as well. What lies behind damage is found again at the next stream, or at the next `<page>`.
"""

from __future__ import annotations

import xml.parsers.expat
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import quote

from reread.corpus.blob import Openable
from reread.corpus.find import CorpusFile
from reread.corpus.records import clean
from reread.corpus.rejects import Rejects, Unreadable
from reread.corpus.streams import read_blocks
from reread.corpus.wikipedia.wikitext import CATEGORY, ENGLISH_NAMESPACES, FILE, wikitext_text
from reread.types import Document

READ_BYTES = 1 << 18
MAX_PAGE_CHARS = 2 << 20
"""Of one page's wikitext: MediaWiki itself takes no article over 2 MiB."""
MAX_TOKEN_BYTES = 16 << 20
"""A tag or other piece of markup that is longer is no dump's."""
MAX_DEPTH = 50
"""Of elements in one another; a dump has six. Every open one takes memory."""
MAX_NAMESPACES = 100
ARTICLES = 0
"""The namespace of articles."""
_PAGE = b"<page>"


@dataclass(slots=True)
class _Page:
    title: str = ""
    namespace: int = ARTICLES
    id: str = ""
    is_redirect: bool = False
    revision: str = ""
    timestamp: str = ""
    model: str = ""
    text: str = ""
    is_too_large: bool = False


@dataclass(slots=True)
class _Site:
    """What the dump's head says about the wiki."""

    base: str = ""
    namespaces: dict[str, int] = field(default_factory=lambda: dict(ENGLISH_NAMESPACES))

    def url(self, title: str) -> str:
        """The page's address, "" where the dump has no <base>."""
        folder, slash, _ = self.base.rpartition("/")
        return f"{folder}/{quote(title.replace(' ', '_'), safe=SAFE_IN_TITLES)}" if slash else ""


SAFE_IN_TITLES = "/:@!$*(),;~'"
"""What Wikipedia's own addresses leave unescaped."""


def read_wikipedia_dump(
    file: CorpusFile, path: Openable, rejects: Rejects, skip: int
) -> Iterator[tuple[int, Document | Unreadable]]:
    """(page number from 1, Document or Unreadable) for every page of the dump; the first `skip` pass unread.

    An article becomes its text (wikitext.wikitext_text) under its page id, with its address and its revision's id
    and time in meta. Left out with a reason: "redirect", pages of other namespaces ("namespace_10"), pages that hold
    no wikitext ("content_model_css"), "record_too_large", "empty_text". Damage is rejected as "damaged_file", once
    for each place, and the pages before and behind it are read; so is a page that is no XML ("not_xml").
    """
    number = 0
    reader = _DumpReader()
    for event in reader.pages(read_blocks(path, READ_BYTES)):
        if isinstance(event, str):
            if number + 1 > skip:
                rejects.add(file.name, number + 1, event)
            continue
        number += 1
        if number > skip:
            yield number, _document(event, reader.site, file)
    if number == 0:
        rejects.add(file.name, 0, "no_pages")


def _document(page: _Page, site: _Site, file: CorpusFile) -> Document | Unreadable:
    if page.namespace != ARTICLES:
        return Unreadable(f"namespace_{page.namespace}")
    if page.is_redirect:
        return Unreadable("redirect")
    if page.model not in ("", "wikitext"):
        return Unreadable(f"content_model_{page.model[:40]}")
    if page.is_too_large:
        return Unreadable("record_too_large")
    text = clean(wikitext_text(page.text, site.namespaces))
    if not text:
        return Unreadable("empty_text")
    title = clean(page.title).strip()
    return Document(
        id=page.id or title,
        text=text,
        source=clean(file.source),
        title=title,
        url=site.url(title),
        meta={key: value for key, value in (("revision", page.revision), ("timestamp", page.timestamp)) if value},
    )


class _DumpReader:
    """Pages out of XML, through expat: nothing is held but the page that is being read."""

    def __init__(self) -> None:
        self.site = _Site()
        self._done: list[_Page] = []
        self._begin()

    def _begin(self) -> None:
        """A fresh parser. Documents with a DTD are refused: a dump has none, and entities are the way to bombs."""
        parser = xml.parsers.expat.ParserCreate()
        parser.buffer_text = True
        parser.buffer_size = 1 << 16
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        parser.StartDoctypeDeclHandler = _refuse
        self._parser = parser
        self._path: list[str] = []
        self._text: list[str] | None = None
        self._n_chars = 0
        self._page: _Page | None = None
        self._namespace_key = ""
        self._n_fed = 0

    def pages(self, blocks: Iterator[bytes | None]) -> Iterator[_Page | str]:
        """Every page, and in their places the reasons of what could not be read."""
        resuming: bytes | None = None
        for block in blocks:
            if block is None:
                yield "damaged_file"
                resuming = b""
                continue
            while True:
                if resuming is not None:
                    resuming += block
                    found = resuming.find(_PAGE)
                    if found < 0:
                        resuming = resuming[-len(_PAGE) :]
                        break
                    self._begin()
                    block = b"<mediawiki>" + resuming[found:]
                    resuming = None
                problem, rest = self._feed(block)
                yield from self._done
                self._done.clear()
                if not problem:
                    break
                yield problem
                resuming, block = b"", rest
        if resuming is None and self._path:
            # The dump's own element never closed: the file is cut off.
            yield "damaged_file"

    def _feed(self, block: bytes) -> tuple[str, bytes]:
        """("", b"") where the block was read, else the reason and what of the block comes after the trouble."""
        before = self._n_fed
        self._n_fed += len(block)
        try:
            self._parser.Parse(block, False)
        except (xml.parsers.expat.ExpatError, _Refused):
            # Behind the byte that broke the XML: the page that it stood in is lost, the next begins with its tag.
            return "not_xml", block[max(0, self._parser.ErrorByteIndex - before) + 1 :]
        if self._n_fed - self._parser.CurrentByteIndex > MAX_TOKEN_BYTES + len(block):
            return "not_xml", b""
        return "", b""

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._path.append(name)
        if len(self._path) > MAX_DEPTH:
            raise _Refused
        if name == "page":
            self._page = _Page()
        elif name == "namespace":
            self._namespace_key = attributes.get("key", "")
        elif name == "redirect" and self._page is not None:
            self._page.is_redirect = True
        elif name == "revision" and self._page is not None:
            # The last of a page's revisions counts: those of a history dump come from old to new.
            self._page.text, self._page.is_too_large = "", False
        self._text = [] if name in _READ_ELEMENTS else None
        self._n_chars = 0

    def _characters(self, characters: str) -> None:
        if self._text is None:
            return
        self._n_chars += len(characters)
        if self._n_chars <= MAX_PAGE_CHARS:
            self._text.append(characters)
        elif self._page is not None:
            self._page.is_too_large = True
            self._text.clear()

    def _end(self, name: str) -> None:
        parent = self._path[-2] if len(self._path) > 1 else ""
        if self._path:
            self._path.pop()
        text = "".join(self._text) if self._text is not None else ""
        self._text = None
        page = self._page
        if name == "page" and page is not None:
            self._done.append(page)
            self._page = None
        elif page is None:
            self._site_element(name, text)
        elif parent == "page":
            if name == "title":
                page.title = text
            elif name == "ns":
                page.namespace = int(text) if text.strip().lstrip("-").isdecimal() and len(text) < 8 else -1
            elif name == "id":
                page.id = text.strip()
        elif parent == "revision":
            if name == "text":
                page.text = text
            elif name == "id":
                page.revision = text.strip()
            elif name == "timestamp":
                page.timestamp = text.strip()
            elif name == "model":
                page.model = text.strip()

    def _site_element(self, name: str, text: str) -> None:
        if name == "base":
            self.site.base = text.strip()
        elif (
            name == "namespace"
            and self._namespace_key in (str(FILE), str(CATEGORY))
            and len(self.site.namespaces) < MAX_NAMESPACES
        ):
            self.site.namespaces[" ".join(text.split()).lower()] = int(self._namespace_key)


_READ_ELEMENTS = frozenset(("title", "ns", "id", "timestamp", "model", "text", "base", "namespace"))


class _Refused(Exception):
    """The XML holds what a dump never does."""


def _refuse(*_: object) -> None:
    raise _Refused

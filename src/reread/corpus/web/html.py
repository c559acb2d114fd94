"""Web pages into text. Nothing is fetched: a page's text comes from its own bytes."""

from __future__ import annotations

import codecs
import contextlib
import importlib.util
import re
import signal
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from html import unescape
from typing import Any

from reread.corpus.records import clean
from reread.corpus.web.blocks import TooDeep, blocks_to_text
from reread.corpus.web.main_content import main_blocks, trafilatura_text
from reread.corpus.web.reader_extraction import reader_text
from reread.errors import MissingExtra, UsageError
from reread.protocols import Reader

ENGINES = ("reread", "trafilatura", "resiliparse", "readerlm")
DEFAULT_ENGINE = "reread"
PACKAGES = {
    "reread": ("resiliparse", "lxml", "trafilatura", "readability"),
    "trafilatura": ("resiliparse", "lxml", "trafilatura"),
    "resiliparse": ("resiliparse",),
    "readerlm": ("resiliparse", "lxml"),
}
INSTALL_NAMES = {"readability": "readability-lxml"}

MAX_TREE_CHARS = 4 << 20
MAX_TREE_ELEMENTS = 60_000
"""A page beyond these goes through resiliparse alone, whose time grows with its length and no faster."""
MAX_PAGE_S = 20.0
"""A page that takes longer goes through resiliparse too. The limits above come first: they give the same text on
every machine."""

BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
MAX_OPEN_TAGS = 2000
"""Tags open at once. The parsers' time grows with its square, so that beyond it a page's bare text is taken."""

TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*)")
SELF_CLOSING = frozenset(
    [
        "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr",
        "p", "li", "dd", "dt", "tr", "td", "th", "tbody", "thead", "option",
    ]
)  # fmt: skip
"""Void elements, and those whose end HTML lets a page leave out."""
UNSEEN = re.compile(
    r"<(script|style|noscript|template)\b.*?(?:</\1\s*>|\Z)|<!--.*?(?:-->|\Z)", re.IGNORECASE | re.DOTALL
)
LONG_TAG = re.compile(r"<([a-zA-Z][a-zA-Z0-9]*)(\s[^<>]{10000,})>")
MAX_ATTRIBUTES = 500
"""A tag with more of them loses them all: parsers compare each with every other."""
MARKUP = re.compile(r"<[^<>]*>?")
XML_DECLARATION = re.compile(r"^\s*<\?xml[^>]*\?>")
NOT_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f]")


@dataclass(frozen=True, slots=True)
class Extraction:
    """How pages become text: an engine, and a reader where that is `readerlm`."""

    engine: str = DEFAULT_ENGINE
    reader: Reader | None = None


_extraction: ContextVar[Extraction] = ContextVar("extraction", default=Extraction())  # noqa: B039  # frozen


@contextlib.contextmanager
def extracting(engine: str, reader: Reader | None = None) -> Iterator[None]:
    """Within it, html_text uses this engine where its caller names none: corpus readers need not hand it down.

    Raises UsageError for an unknown engine, or `readerlm` without a reader.
    """
    if engine not in ENGINES:
        raise UsageError(f"the engine {engine!r} is not known; write one of {', '.join(ENGINES)}")
    if engine == "readerlm" and (reader is None or "generate" not in reader.can):
        raise UsageError("the engine readerlm needs a reader that generates text, such as openai:MODEL@http://host/v1")
    token = _extraction.set(Extraction(engine, reader))
    try:
        yield
    finally:
        _extraction.reset(token)


def html_text(
    content: bytes, encoding: str | None = None, *, url: str = "", engine: str | None = None
) -> tuple[str, str]:
    """(main text, title) of a web page; both may be empty.

    encoding: the charset that the server named; the page's own mark or its bytes decide where it is missing, unknown
    or does not fit. url: where the page is from. engine: one of ENGINES, else that of `extracting`, else `reread`:

    - `reread`: the main content that trafilatura and readability agree on (main_content), written by our own rules:
      Markdown headings, `- ` items, tables and infoboxes as `| Header | value |` rows, code as it is, formulas as TeX.
    - `trafilatura`, `resiliparse`: the library's own text. resiliparse is some thirty times as fast.
    - `readerlm`: a reader's Markdown (reader_extraction).

    Pages too large, too deep or too slow for the first two go through resiliparse, and those nested thousands deep
    keep their bare text. MissingExtra without the packages.
    """
    settings = _extraction.get()
    engine = engine or settings.engine
    for package in PACKAGES[engine]:
        if importlib.util.find_spec(package) is None:
            raise MissingExtra(INSTALL_NAMES.get(package, package), "web", "reading web pages")
    html = decode_html(content, encoding)
    if not html.strip():
        return "", ""
    html = LONG_TAG.sub(lambda tag: tag[0] if tag[2].count("=") <= MAX_ATTRIBUTES else f"<{tag[1]}>", html)
    if _is_too_deep(html):
        return clean(_bare_text(html)), ""
    if engine == "resiliparse":
        text, title = _resiliparse(html)
        return clean(text), clean(title)
    text, title = "", ""
    if len(html) <= MAX_TREE_CHARS:
        with contextlib.suppress(TooDeep, _OutOfTime), _time_limit(MAX_PAGE_S if engine != "readerlm" else None):
            text, title = _by_tree(html, engine, settings.reader)
    if not text.strip() and engine != "readerlm":
        fallback_text, fallback_title = _resiliparse(html)
        text, title = fallback_text, title or fallback_title
    return clean(text).strip(), clean(title)


def _by_tree(html: str, engine: str, reader: Reader | None) -> tuple[str, str]:
    tree = parse_html(html)
    if tree is None:
        return "", ""
    title = page_title(tree)
    if engine == "readerlm":
        if reader is None:
            raise UsageError("the engine readerlm needs a reader; name one with --reader")
        return reader_text(tree, reader), title
    if sum(1 for _ in tree.iter()) > MAX_TREE_ELEMENTS:
        return "", title
    if engine == "trafilatura":
        return trafilatura_text(html, fast=False), title
    return blocks_to_text(main_blocks(tree, html)), title


def decode_html(content: bytes, encoding: str | None = None) -> str:
    """The page's characters, without those that no text holds (NUL and other controls).

    A byte order mark decides, then the encoding given, then the page's own <meta>, then its bytes; a wrong one gives
    way to UTF-8 or Windows-1252, which every byte string decodes under.
    """
    from resiliparse.parse.encoding import bytes_to_str, detect_encoding

    for mark, name in BYTE_ORDER_MARKS.items():
        if content.startswith(mark):
            return NOT_TEXT.sub("", content[len(mark) :].decode(name, "replace"))
    if encoding:
        try:
            text = content.decode(encoding)
            return NOT_TEXT.sub("", text) if isinstance(text, str) else ""
        except (LookupError, UnicodeError, ValueError):
            pass
    with contextlib.suppress(UnicodeDecodeError):
        return NOT_TEXT.sub("", content.decode("utf-8"))
    return NOT_TEXT.sub("", bytes_to_str(content, detect_encoding(content, from_html_meta=True) or "utf-8"))


def parse_html(html: str) -> Any | None:
    """The page as an lxml tree, however broken; None where it holds no element."""
    import lxml.etree
    import lxml.html

    parser = lxml.html.HTMLParser(remove_comments=True, remove_pis=True, no_network=True, huge_tree=True)
    try:
        return lxml.html.document_fromstring(XML_DECLARATION.sub("", html), parser=parser)
    except (lxml.etree.LxmlError, ValueError):
        return None


def page_title(tree: Any) -> str:
    """The page's only <h1> where <title> holds it (sites add their name there), else <title>, og:title or the <h1>."""
    node = tree.find(".//head/title")
    if node is None:
        node = tree.find(".//title")
    title = "" if node is None else " ".join(node.text_content().split())
    headings = [" ".join(heading.text_content().split()) for heading in tree.iter("h1")]
    headings = [heading for heading in dict.fromkeys(headings) if heading]
    if len(headings) == 1 and headings[0].lower() in title.lower():
        return headings[0]
    if title:
        return title
    for meta in tree.iter("meta"):
        if meta.get("property") == "og:title" and (meta.get("content") or "").strip():
            return " ".join(meta.get("content").split())
    return headings[0] if headings else ""


def _resiliparse(html: str) -> tuple[str, str]:
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.html import HTMLTree

    tree = HTMLTree.parse(html)
    text = extract_plain_text(tree, main_content=True, alt_texts=False, preserve_formatting=True)
    if not text.strip():
        text = extract_plain_text(tree, main_content=False, alt_texts=False)
    return text, " ".join((tree.title or "").split())


def _is_too_deep(html: str) -> bool:
    n_open = 0
    for end, name in TAG.findall(html):
        if name.lower() not in SELF_CLOSING:
            n_open += -1 if end and n_open else 1 if not end else 0
            if n_open > MAX_OPEN_TAGS:
                return True
    return False


def _bare_text(html: str) -> str:
    """What lies between the tags, a line for each stretch."""
    text = unescape(MARKUP.sub("\n", UNSEEN.sub("\n", html)))
    return "\n".join(line for line in (" ".join(line.split()) for line in text.split("\n")) if line)


class _OutOfTime(BaseException):
    """Not an Exception, so that no library takes it for a bad page of its own."""


@contextlib.contextmanager
def _time_limit(seconds: float | None) -> Iterator[None]:
    """Raise _OutOfTime after so many seconds. Timers are the main thread's alone; elsewhere there is no limit."""
    if (
        seconds is None
        or threading.current_thread() is not threading.main_thread()
        or signal.getitimer(signal.ITIMER_REAL)[0]
    ):
        yield
        return

    def stop(*_: object) -> None:
        raise _OutOfTime

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

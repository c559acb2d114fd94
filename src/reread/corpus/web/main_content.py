"""Which blocks of a web page are its main content: two libraries' opinions, and a wiki's own marks."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from typing import Any

from reread.corpus.web.blocks import Block, TooDeep, is_infobox, page_blocks

SHINGLE_TOKENS = 4
KEPT_SHARE = 0.5
"""A block is in a library's text where at least this share of its 4-token shingles is."""
AGREEING_SHARE = 0.6
"""Of the longer of two texts, that both libraries must have in common for them to speak of the same content."""

WIKI_ROOTS = ("mw-parser-output", "mw-content-text", "mw-body-content", "parsoid-body", "bodyContent")
"""Classes and ids in which MediaWiki puts the article and little else, innermost first."""

WITH_CLASS_OR_ID = "//*[contains(concat(' ', normalize-space(@class), ' '), concat(' ', $name, ' ')) or @id = $name]"

WORD = re.compile(r"\w+")


def main_blocks(tree: Any, html: str) -> list[Block]:
    """The blocks of the main content of a parsed page; empty where none is found.

    On a MediaWiki page, the article's element without what it marks as navigation. Elsewhere the blocks on which
    trafilatura (in its fast form) and readability agree; where the two speak of different parts of the page, the
    shorter text of the two. Data tables between them, and infoboxes, are kept although libraries drop them.

    Raises TooDeep for a page nested beyond blocks.MAX_DEPTH.
    """
    if (article := wiki_article(tree)) is not None:
        return page_blocks(article)
    body = tree.find("body")
    blocks = page_blocks(tree if body is None else body)
    tokens = [WORD.findall(block.text.lower()) for block in blocks]
    kept = _agreed(tokens, _said_by(trafilatura_text(html), tokens), _said_by(readability_text(html), tokens))
    _keep_tables(blocks, kept)
    return [block for block, is_kept in zip(blocks, kept, strict=True) if is_kept]


def wiki_article(tree: Any) -> Any | None:
    """The element of a MediaWiki page that holds the article; None on other pages."""
    for name in WIKI_ROOTS:
        found = tree.xpath(WITH_CLASS_OR_ID, name=name)
        if found:
            # Notices and indicators are parsed wikitext too; the article is the longest.
            return max(found, key=lambda node: sum(map(len, node.itertext())))
    return None


def trafilatura_text(html: str, *, fast: bool = True) -> str:
    import trafilatura

    # It reports on every page that it finds hard.
    logging.getLogger("trafilatura").setLevel(logging.CRITICAL)
    return trafilatura.extract(html, fast=fast, include_comments=False, include_tables=True) or ""


def readability_text(html: str) -> str:
    """The text of readability's summary; empty where it finds none or fails on the page."""
    import lxml.etree
    import lxml.html
    from readability import Document
    from readability.readability import Unparseable

    logging.getLogger("readability").setLevel(logging.CRITICAL)
    try:
        summary = Document(html).summary(html_partial=True)
        return "\n".join(block.text for block in page_blocks(lxml.html.fromstring(summary)))
    except (Unparseable, lxml.etree.LxmlError, TooDeep, ValueError, TypeError, AttributeError, KeyError, IndexError):
        # Known of it on odd pages: an element without a parent, a page of comments alone.
        return ""


def _said_by(text: str, tokens: Sequence[list[str]]) -> list[bool]:
    """For each block whether a library's text holds it; a block of few words must be a line of its own there."""
    lines = {tuple(WORD.findall(line)) for line in text.lower().split("\n")}
    said = WORD.findall(text.lower())
    shingles = set(zip(*(said[start:] for start in range(SHINGLE_TOKENS)), strict=False))
    found = []
    for words in tokens:
        own = list(zip(*(words[start:] for start in range(SHINGLE_TOKENS)), strict=False))
        if own:
            found.append(sum(shingle in shingles for shingle in own) >= KEPT_SHARE * len(own))
        else:
            found.append(bool(words) and tuple(words) in lines)
    return found


def _agreed(tokens: Sequence[list[str]], one: list[bool], other: list[bool]) -> list[bool]:
    def n_words(kept: Sequence[bool]) -> int:
        return sum(len(words) for words, is_kept in zip(tokens, kept, strict=True) if is_kept)

    both = [a and b for a, b in zip(one, other, strict=True)]
    n_one, n_other = n_words(one), n_words(other)
    if n_one == 0 or n_other == 0:
        return one if n_one else other
    if n_words(both) >= AGREEING_SHARE * max(n_one, n_other):
        return both
    return one if n_one <= n_other else other


def _keep_tables(blocks: Sequence[Block], kept: list[bool]) -> None:
    """Mark the data tables and code that stand between kept blocks, and every infobox, with headings above them."""
    places = [place for place, is_kept in enumerate(kept) if is_kept]
    if not places:
        return
    first, last = places[0], places[-1]
    for place, block in enumerate(blocks):
        is_within = first < place < last
        is_box = block.kind == "table" and block.node.tag == "table" and is_infobox(block.node)
        kept[place] |= is_box or (is_within and block.kind in ("table", "code"))

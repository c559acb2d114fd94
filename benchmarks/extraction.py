"""Text extraction from web pages: ours beside the libraries, on news pages with human-made text and on Wikipedia pages.

python benchmarks/extraction.py

F1 on the news pages is the article-extraction-benchmark's: per page the counts of 4-token shingles (tokens are \\w+)
true, false and missed, as shares of their sum; precision and recall are the means of the pages'; F1 is theirs.
"Bag" is the same with single tokens. "Half" is F1 on the pages of odd number; the
settings were chosen on all pages.
Cells: share of the non-empty cells of infoboxes and data tables on the Wikipedia pages whose letters and digits stand
in the text in their order, hidden parts and citation numbers left out.
"""

from __future__ import annotations

import gzip
import json
import logging
import os
import re
import statistics
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from reread.corpus.web.html import html_text

DATA = Path(os.environ.get("REREAD_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data") / "extraction"
NO_ARTICLE_TABLE = re.compile(r"navbox|sidebar|metadata|mbox|\btoc\b")
Extractor = Callable[[str], str]


def rows(name: str) -> list[dict[str, Any]]:
    with gzip.open(DATA / name, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def shingles(text: str, n: int) -> Counter[tuple[str, ...]]:
    tokens = re.findall(r"\w+", text)
    grams = (tuple(tokens[start : start + n]) for start in range(max(1, len(tokens) - n + 1)))
    return Counter(gram for gram in grams if gram)


def shares(gold: str, text: str, n: int) -> tuple[float, float, float]:
    """(true, false, missed) as shares of their sum."""
    wanted, found = shingles(gold, n), shingles(text, n)
    counts = ((wanted & found).total(), (found - wanted).total(), (wanted - found).total())
    total = sum(counts)
    return (counts[0] / total, counts[1] / total, counts[2] / total) if total else (0.0, 0.0, 0.0)


def f1(golds: Sequence[str], texts: Sequence[str], n: int) -> float:
    pages = [shares(gold, text, n) for gold, text in zip(golds, texts, strict=True)]
    precision = statistics.mean(true / (true + false) for true, false, _ in pages if true + false > 0)
    recall = statistics.mean(true / (true + missed) for true, _, missed in pages if true + missed > 0)
    return 2 * precision * recall / (precision + recall)


def letters(text: str) -> str:
    return re.sub(r"[\W_]+", "", text)


def article_cells(html: str) -> list[str]:
    """The cells that an article's tables hold, as letters and digits alone."""
    import lxml.html

    tree = lxml.html.document_fromstring(html)
    for node in tree.xpath(
        "//style | //script | //sup[contains(@class, 'reference')]"
        " | //*[contains(translate(@style, ' ', ''), 'display:none')]"
    ):
        node.drop_tree()
    cells = []
    for table in tree.iter("table"):
        around = [table, *table.iterancestors()]
        if not any(NO_ARTICLE_TABLE.search(node.get("class") or "") for node in around):
            for cell in table.iter("td", "th"):
                if cell.find(".//table") is None and (text := letters(cell.text_content())):
                    cells.append(text)
    return cells


def cells_kept(html: str, text: str) -> tuple[int, int]:
    """(cells found in the text, cells)."""
    own = letters(text)
    cells = article_cells(html)
    return sum(cell in own for cell in cells), len(cells)


def extractors() -> dict[str, Extractor]:
    """Ours and every library that is installed."""
    import trafilatura
    from resiliparse.extract.html2text import extract_plain_text

    def ours(engine: str) -> Extractor:
        return lambda html: html_text(html.encode(), "utf-8", engine=engine)[0]

    def trafilatura_with(**settings: bool) -> Extractor:
        return lambda html: trafilatura.extract(html, include_comments=False, **settings) or ""

    found: dict[str, Extractor] = {
        "reread": ours("reread"),
        "trafilatura": trafilatura_with(),
        "trafilatura, fast": trafilatura_with(fast=True),
        "trafilatura, precision": trafilatura_with(favor_precision=True),
        "trafilatura, recall": trafilatura_with(favor_recall=True),
        "resiliparse": lambda html: extract_plain_text(html, main_content=True, alt_texts=False, links=False),
    }
    for name, make in {"readability-lxml": _readability, "jusText": _justext, "boilerpy3": _boilerpy}.items():
        try:
            found[name] = make()
        except ImportError:
            print(f"{name} is not installed: left out", file=sys.stderr)
    return found


def _readability() -> Extractor:
    import lxml.html
    from readability import Document

    return lambda html: lxml.html.fromstring(Document(html).summary()).text_content()


def _justext() -> Extractor:
    import justext

    words = justext.get_stoplist("English")
    return lambda html: "\n".join(
        part.text for part in justext.justext(html.encode(), words, encoding="utf-8") if not part.is_boilerplate
    )


def _boilerpy() -> Extractor:
    from boilerpy3 import extractors as boilerpy

    extractor = boilerpy.ArticleExtractor(raise_on_failure=False)
    return lambda html: extractor.get_content(html)


def main() -> None:
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    pages, wiki = rows("articles_a.jsonl.gz"), rows("wikipedia_html.jsonl.gz")
    golds = [page["gold_text"] for page in pages]
    print("| extractor | F1 | half | bag F1 | cells kept | news pages/s | Wikipedia pages/s |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for name, extract in extractors().items():
        extract(pages[0]["html"])
        began = time.perf_counter()
        texts = [extract(page["html"]) for page in pages]
        news_s = time.perf_counter() - began
        began = time.perf_counter()
        articles = [extract(page["html"]) for page in wiki]
        wiki_s = time.perf_counter() - began
        kept = [cells_kept(page["html"], text) for page, text in zip(wiki, articles, strict=True)]
        share = sum(n for n, _ in kept) / sum(n for _, n in kept)
        scores = [f1(golds, texts, 4), f1(golds[1::2], texts[1::2], 4), f1(golds, texts, 1)]
        print(
            f"| {name} | {' | '.join(f'{score:.4f}' for score in scores)} | {100 * share:.1f} % | "
            f"{len(pages) / news_s:.1f} | {len(wiki) / wiki_s:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()

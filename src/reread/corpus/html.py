"""Web pages into text."""

from __future__ import annotations

import importlib.util

from reread.corpus.records import clean
from reread.errors import MissingExtra


def html_text(content: bytes, encoding: str | None = None) -> tuple[str, str]:
    """(main text, title) of a web page, through resiliparse; both may be empty."""
    if importlib.util.find_spec("resiliparse") is None:
        raise MissingExtra("resiliparse", "web", "reading HTML and WARC files")
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.encoding import bytes_to_str, detect_encoding
    from resiliparse.parse.html import HTMLTree

    tree = HTMLTree.parse(bytes_to_str(content, encoding or detect_encoding(content) or "utf-8"))
    text = extract_plain_text(tree, main_content=True, alt_texts=False, preserve_formatting=True)
    if not text.strip():
        text = extract_plain_text(tree, main_content=False, alt_texts=False)
    return clean(text), clean(tree.title or "").strip()

"""ReaderLM-v2's conventions: a page as HTML in a fenced block, its main content back as Markdown.

The model (jinaai/ReaderLM-v2, 1.54B parameters) is licensed CC BY-NC 4.0. Its card's prompt: one instruction and the
HTML, without scripts, styles and comments; temperature 0, repetition penalty 1.08 where the server offers one.
"""

from __future__ import annotations

import re
from typing import Any

from reread.protocols import Reader

LICENCE = "ReaderLM-v2 is licensed CC BY-NC 4.0: not for commercial use"
INSTRUCTION = "Extract the main content from the given HTML and convert it to Markdown format."
REPETITION_PENALTY = 1.08
DROPPED = ("script", "style", "noscript", "template", "svg", "iframe", "link", "meta", "canvas")
KEPT_ATTRIBUTES = frozenset(
    [
        "href", "src", "alt", "title", "class", "id", "role", "colspan", "rowspan", "encoding", "alttext",
    ]
)  # fmt: skip
MAX_ATTRIBUTE_CHARS = 500
MAX_PIECE_CHARS = 60_000
"""HTML of one prompt (about 20,000 tokens). A longer page is split between elements."""
MAX_ANSWER_TOKENS = 8192

_FENCE = re.compile(r"\A\s*```(?:markdown|md)?[ \t]*\n(.*?)\n?```\s*\Z", re.DOTALL)


def reader_prompt(html: str) -> str:
    return f"{INSTRUCTION}\n```html\n{html}\n```"


def reader_text(tree: Any, reader: Reader) -> str:
    """The page's main content in the reader's words; the pieces of a long page one after the other.

    Removes scripts and styles from `tree`. An empty reply gives no text.
    """
    pieces = page_pieces(tree)
    replies = reader.generate(
        [reader_prompt(piece) for piece in pieces], n=1, temperature=0.0, max_tokens=MAX_ANSWER_TOKENS
    )
    texts = []
    for samples in replies:
        text = samples[0].text if samples else ""
        fenced = _FENCE.match(text)
        texts.append((fenced[1] if fenced else text).strip())
    return "\n\n".join(text for text in texts if text)


def page_pieces(tree: Any, max_chars: int = MAX_PIECE_CHARS) -> list[str]:
    """The page's HTML for a model, in pieces of at most max_chars: cut between elements, within one only where its
    text alone is longer."""
    for node in list(tree.iter(*DROPPED)):
        if node.getparent() is not None and not (node.tag == "script" and "math" in (node.get("type") or "")):
            node.drop_tree()
    for node in tree.iter():
        for name in list(node.attrib):
            if name not in KEPT_ATTRIBUTES or len(node.get(name)) > MAX_ATTRIBUTE_CHARS:
                del node.attrib[name]
    body = tree.find("body")
    pieces: list[str] = []
    for part in _parts(tree if body is None else body, max_chars, 0):
        if pieces and len(pieces[-1]) + len(part) <= max_chars:
            pieces[-1] += part
        elif part.strip():
            pieces.append(part)
    return pieces


def _parts(node: Any, max_chars: int, depth: int) -> list[str]:
    import lxml.html

    whole = lxml.html.tostring(node, encoding="unicode", with_tail=True)
    if len(whole) <= max_chars:
        return [whole]
    if depth > 50 or len(node) == 0:
        return [whole[start : start + max_chars] for start in range(0, len(whole), max_chars)]
    parts = [node.text or ""]
    for child in node:
        parts.extend(_parts(child, max_chars, depth + 1))
    return [*parts, node.tail or ""]

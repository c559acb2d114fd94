"""A web page as blocks of text in reading order: headings, paragraphs, list items, tables as rows, code, formulas."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from reread.corpus.tables import Cell, rows_to_text, spread_cells

MAX_DEPTH = 200
"""Elements within one another; a deeper page is no page that a person wrote."""

SKIPPED = frozenset(
    [
        "script", "style", "noscript", "template", "iframe", "object", "embed", "svg", "canvas", "audio",
        "video", "map", "head", "button", "input", "select", "option", "textarea", "datalist", "nav", "dialog",
    ]
)  # fmt: skip
BLOCKS = frozenset(
    [
        "address", "article", "aside", "blockquote", "body", "caption", "center", "dd", "details", "div", "dl",
        "dt", "fieldset", "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6",
        "header", "hgroup", "hr", "html", "legend", "li", "main", "menu", "ol", "p", "pre", "section",
        "summary", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "ul",
    ]
)  # fmt: skip
HEADINGS = {f"h{level}": level for level in range(1, 7)}

NOISE_CLASSES = frozenset(
    [
        # MediaWiki's own marks of what is not the article: navigation, maintenance boxes, edit links, categories.
        "navbox", "navbox-styles", "vertical-navbox", "sidebar", "metadata", "ambox", "tmbox", "ombox", "cmbox",
        "fmbox", "mbox-small", "navigation-not-searchable", "mw-editsection", "mw-jump-link", "mw-empty-elt",
        "mw-indicators", "noprint", "catlinks", "printfooter", "toc", "toctitle",
        "mw-cite-backlink", "sistersitebox", "portalbox", "portal-bar", "authority-control", "stub", "asbox",
        "shortdescription", "mw-hidden-catlinks", "jump-to-nav", "mw-reflink-text-bracket",
        # Drawn a second time, or for screen readers alone: MathJax' and KaTeX' renderings of a formula kept as TeX.
        "mathjax", "mathjax_display", "mathjax_preview", "mathjax_svg", "katex-html", "screen-reader-text",
        "sr-only", "visually-hidden", "visuallyhidden", "headerlink", "anchorjs-link",
    ]
)  # fmt: skip
NOISE_IDS = frozenset(
    [
        "toc", "siteSub", "contentSub", "jump-to-nav", "catlinks", "mw-navigation", "mw-panel", "mw-head", "footer",
        "siteNotice",
    ]
)  # fmt: skip
NOISE_ROLES = frozenset(
    [
        "navigation", "search", "banner", "contentinfo", "menu", "menubar", "dialog", "alert", "toolbar",
    ]
)  # fmt: skip
HIDDEN_STYLE = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
DISPLAY_STYLE = re.compile(r"^\{\\(?:display|text|script)style\s*(.*)\}$", re.DOTALL)
TEX_SCRIPT = re.compile(r"math/(?:tex|asciimath)", re.IGNORECASE)


@dataclass(slots=True)
class Block:
    """One stretch of text that stands on lines of its own."""

    kind: str
    """ "text", "item", "heading", "table", "code" or "caption"."""
    text: str
    """As it is written out: `# ` before a heading, `- ` before an item, rows of a table."""
    node: Any
    """The element that holds it."""
    n_link_chars: int = 0
    """Characters of the text that lie within links."""


@dataclass(slots=True)
class _Line:
    """Inline text being gathered."""

    parts: list[str] = field(default_factory=list)
    n_link_chars: int = 0
    prefix: str = ""
    kind: str = "text"


class TooDeep(Exception):
    """The page's elements lie deeper than MAX_DEPTH."""


def page_blocks(root: Any) -> list[Block]:
    """The blocks of an lxml element, in reading order. TooDeep where elements are nested beyond MAX_DEPTH."""
    walk = _Walk()
    walk.element(root, 0, False)
    walk.flush(root)
    return walk.blocks


def blocks_to_text(blocks: list[Block]) -> str:
    """The blocks' text: one blank line between them, none between the items of a list."""
    parts: list[str] = []
    for number, block in enumerate(blocks):
        if number:
            is_list = block.kind == blocks[number - 1].kind == "item"
            parts.append("\n" if is_list else "\n\n")
        parts.append(block.text)
    return "".join(parts)


def formula(node: Any) -> str:
    """The TeX of a <math> element or of a formula's image: its annotation, its alternative text, else its letters."""
    tex = ""
    if node.tag == "math":
        for annotation in node.iter("annotation", "annotation-xml"):
            if "tex" in (annotation.get("encoding") or ""):
                tex = annotation.text_content()
        tex = tex or node.get("alttext") or "".join(node.itertext())
    else:
        tex = node.get("alt") or ""
    tex = " ".join(tex.split())
    if found := DISPLAY_STYLE.match(tex):
        tex = found[1].strip()
    return f"${tex}$" if tex else ""


def is_noise(node: Any) -> bool:
    """Whether an element says of itself that it is navigation, hidden, or no part of the text."""
    if node.tag in SKIPPED or node.get("role") in NOISE_ROLES or "hidden" in node.attrib:
        return True
    if (style := node.get("style")) and HIDDEN_STYLE.search(style):
        return True
    if node.get("aria-hidden") == "true" and node.tag != "img":
        return True
    if (identity := node.get("id")) and identity in NOISE_IDS:
        return True
    classes = node.get("class")
    if node.tag == "sup" and classes == "reference":
        # A citation's number. Other sites call their links that.
        return True
    return bool(classes) and not NOISE_CLASSES.isdisjoint(classes.lower().split())


def is_infobox(table: Any) -> bool:
    return "infobox" in (table.get("class") or "").lower()


def is_layout(table: Any) -> bool:
    """Whether a table only places things on the page: its cells are then read as any other text."""
    if table.get("role") in ("presentation", "none"):
        return True
    if is_infobox(table) or "wikitable" in (table.get("class") or ""):
        return False
    if table.find(".//th") is not None or table.find("caption") is not None:
        return False
    for inner in table.iter("table", "h1", "h2", "h3", "form", "article"):
        if inner is not table:
            return True
    n_cells, n_long, n_rows = 0, 0, 0
    for row in table.iter("tr"):
        n_rows += 1
        for cell in row.iter("td"):
            n_cells += 1
            n_long += len(cell.findall(".//p")) > 1 or cell.find(".//pre") is not None
    return n_cells <= n_rows or n_rows < 2 or n_long > 0


class _Walk:
    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.line = _Line()

    def flush(self, node: Any, kind: str = "", prefix: str = "") -> None:
        """End the line that was being gathered; it becomes a block where it holds any text."""
        text = _joined(self.line.parts)
        if text:
            own = kind or self.line.kind
            self.blocks.append(Block(own, (prefix or self.line.prefix) + text, node, self.line.n_link_chars))
            self.line = _Line()
        else:
            self.line.parts, self.line.n_link_chars = [], 0

    def element(self, node: Any, depth: int, in_link: bool) -> None:
        if depth > MAX_DEPTH:
            raise TooDeep
        tag = node.tag
        if not isinstance(tag, str):
            return
        if tag == "math" or (tag == "img" and _is_formula_image(node)):
            self.line.parts.append(formula(node))
            return
        if tag == "script" and TEX_SCRIPT.match(node.get("type") or ""):
            self.line.parts.append(f"${' '.join((node.text or '').split())}$")
            return
        if "mwe-math-element" not in (node.get("class") or "") and is_noise(node) and node.find(".//math") is None:
            return
        if tag in SKIPPED:
            return
        if tag == "br":
            self.line.parts.append("\n")
            return
        if tag == "pre":
            self.flush(node)
            code = node.text_content().expandtabs(4).strip("\n").rstrip()
            if code.strip():
                self.blocks.append(Block("code", f"```\n{code}\n```", node))
            return
        if tag == "table" and not is_layout(node):
            self.flush(node)
            text = table_text(node, depth)
            if text:
                self.blocks.append(Block("table", text, node))
            return
        is_block = tag in BLOCKS
        if is_block:
            self.flush(node.getparent() if node.getparent() is not None else node)
            self._open(tag, node)
        in_link = in_link or tag == "a"
        self._text(node.text, in_link)
        for child in node:
            self.element(child, depth + 1, in_link)
            self._text(child.tail, in_link)
        if is_block:
            self.flush(node)
            self.line = _Line()

    def _open(self, tag: str, node: Any) -> None:
        if tag in HEADINGS:
            self.line = _Line(prefix="#" * HEADINGS[tag] + " ", kind="heading")
        elif tag == "li":
            self.line = _Line(prefix="- ", kind="item")
        elif tag == "dd":
            self.line = _Line(prefix=": ", kind="item")
        elif tag == "dt":
            self.line = _Line(kind="item")
        elif tag in ("figcaption", "caption"):
            self.line = _Line(kind="caption")
        elif self.line.parts:
            self.line = _Line()

    def _text(self, text: str | None, in_link: bool) -> None:
        if text:
            # White space in the source is one space; a line break is <br>'s alone.
            text = " ".join(text.split()) if text.strip() == text else _squeezed(text)
            self.line.parts.append(text)
            if in_link:
                self.line.n_link_chars += len(text.strip())


def _squeezed(text: str) -> str:
    inner = " ".join(text.split())
    if not inner:
        return " "
    return (" " if text[0].isspace() else "") + inner + (" " if text[-1].isspace() else "")


def _joined(parts: list[str]) -> str:
    lines = (" ".join(line.split()) for line in "".join(parts).split("\n"))
    return "\n".join(line for line in lines if line)


def _is_formula_image(node: Any) -> bool:
    classes = node.get("class") or ""
    if "mwe-math" in classes:
        # Where the formula is there as <math> too, that is read.
        parent = node.getparent()
        return parent is None or parent.find(".//math") is None
    return "tex" in classes.lower().split() or "latex" in classes.lower()


def table_text(table: Any, depth: int = 0) -> str:
    """A data table's caption and rows (rows_to_text), with cells that span rows written in each of them."""
    caption = table.find("caption")
    title = _cell_text(caption, depth) if caption is not None and not is_noise(caption) else ""
    return rows_to_text(spread_cells([_cells(row, depth) for row in _rows(table)]), title)


def _rows(table: Any) -> list[Any]:
    """The table's own rows, those of nested tables left out."""
    rows = []
    for child in table:
        if child.tag == "tr":
            rows.append(child)
        elif child.tag in ("thead", "tbody", "tfoot"):
            rows.extend(row for row in child if row.tag == "tr")
    return [row for row in rows if not is_noise(row)]


def _cells(row: Any, depth: int) -> list[Cell]:
    return [
        Cell("" if is_noise(cell) else _cell_text(cell, depth), _span(cell, "colspan"), _span(cell, "rowspan"))
        for cell in row
        if cell.tag in ("td", "th")
    ]


def _span(cell: Any, name: str) -> int:
    value = (cell.get(name) or "1").strip()
    return max(1, int(value)) if value.isdecimal() and len(value) < 6 else 1


def _cell_text(cell: Any, depth: int) -> str:
    """A cell's text on one line, list items and paragraphs after one another; a nested table's rows likewise."""
    walk = _Walk()
    walk.element(cell, depth + 1, False)
    walk.flush(cell)
    return " ".join(_bare(block) for block in walk.blocks)


def _bare(block: Block) -> str:
    if block.kind == "heading":
        return block.text.lstrip("# ")
    if block.kind == "item":
        return block.text.removeprefix("- ").removeprefix(": ")
    if block.kind == "code":
        return block.text.removeprefix("```\n").removesuffix("\n```")
    return block.text

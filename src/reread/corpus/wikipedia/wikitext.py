"""Wikipedia's markup into text that keeps what a reader of the page sees: prose, lists, tables, infoboxes, formulas.

The markup is read in one pass over its brackets, in time that grows with its length alone, however broken or hostile
the page is: templates and links nest at most MAX_DEPTH deep, an opener that never closes is text. (mwparserfromhell,
which would be the library for it, needs quadratic time or worse for unclosed tags, tables and links: more than 20 s
for 150 KB; a limit in seconds would make what is read depend on the machine. Tests hold the two against each other on
whole markup.)
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from reread.corpus.wikipedia.infoboxes import is_infobox, render_infobox
from reread.corpus.wikipedia.templates import BREAK, Arguments, render_template, template_name
from reread.corpus.wikipedia.wikitables import TABLE_LINE, tables_to_text

MAX_DEPTH = 60
FILE, CATEGORY = 6, 14
"""MediaWiki's namespace numbers."""
ENGLISH_NAMESPACES: Mapping[str, int] = {"file": FILE, "image": FILE, "media": FILE, "category": CATEGORY}

# Characters of the private use area stand for what must not be read as markup again; the page's own are taken out.
PIPE, EQUALS = "\ue002", "\ue003"
_PRIVATE = re.compile("[\ue000-\ue00f]")
_KEPT = re.compile("\ue000(\\d+)\ue001")
_PROTECTED = str.maketrans({"|": PIPE, "=": EQUALS})
_UNPROTECTED = str.maketrans({PIPE: "|", EQUALS: "=", BREAK: "\n"})

VERBATIM = ("nowiki", "pre", "syntaxhighlight", "source", "math", "chem", "ce")
DROPPED = (
    "ref", "references", "templatestyles", "timeline", "score", "graph", "mapframe", "maplink", "templatedata",
    "imagemap", "indicator", "section", "hiero", "inputbox", "categorytree", "style", "script",
)  # fmt: skip
_PAIRED = re.compile(rf"<(/?)({'|'.join((*VERBATIM, *DROPPED, 'gallery'))})\b([^<>]*?)(/?)>", re.IGNORECASE)
_TAG = re.compile(r"<(/?)([a-z][a-z0-9]*)\b[^<>]*>", re.IGNORECASE)
_SUPERSCRIPT = re.compile(r"<sup\b[^<>]*>([-+−–]?\d{1,6}|[a-z])</sup>", re.IGNORECASE)
_BREAK_TAGS = frozenset(
    ("br", "p", "div", "center", "blockquote", "tr", "table", "ul", "ol", "dl", "dd", "dt", "h1", "h2", "h3", "h4",
     "h5", "h6", "hr", "poem", "caption")
)  # fmt: skip
_CELL_TAGS = frozenset(("td", "th"))
_INLINE_TAGS = frozenset(
    ("b", "i", "u", "s", "em", "strong", "small", "big", "sub", "sup", "span", "font", "tt", "code", "kbd", "samp",
     "var", "cite", "abbr", "acronym", "del", "ins", "q", "strike", "mark", "bdi", "bdo", "li", "ruby", "rb", "rt",
     "rp", "rtc", "dfn", "time", "data", "wbr", "noinclude", "includeonly", "onlyinclude", "tbody", "thead", "tfoot",
     "nobr", "a", "img")
)  # fmt: skip
_EXTERNAL = re.compile(r"\[(?:https?:|ftp:|mailto:|//)[^\s\]\[<>\"]*+([^\]\[\n]*+)\]", re.IGNORECASE)
_TOKEN = re.compile(r"\{\{|\}\}|\[\[|\]\]|\||(?:^|(?<=\n))[:*# \t]{0,8}\{\|(?![|}])|(?<=\n)[ \t]{0,8}\|\}(?!\})")
_SWITCH = re.compile(r"__[A-Z]{3,30}__")
_QUOTES = re.compile(r"'{2,5}")
_IMAGE_OPTION = re.compile(
    r"\s*(?:thumb(?:nail)?|frame(?:d|less)?|border|left|right|center|centre|none|baseline|middle|sub|super|top|bottom"
    r"|text-top|text-bottom|upright|\d{0,6}x?\d{1,6} ?px"
    r"|(?:thumb|upright|alt|link|class|lang|page|start|end|thumbtime|muted|loop)\s*=.*)\s*",
    re.IGNORECASE | re.DOTALL,
)
_SPACES = re.compile(r"[ \t]{2,}")
_LIST = re.compile(r"([*#:;]+)[ \t]*")


def wikitext_text(wikitext: str, namespaces: Mapping[str, int] = ENGLISH_NAMESPACES) -> str:
    """The page as text: headings and paragraphs between blank lines, list items after "- ", tables as rows
    (tables.rows_to_text), infoboxes as `Label: value` lines, formulas as TeX between dollar signs, code verbatim.

    References, comments, categories, navigation and maintenance templates are left out; links and files leave their
    label and caption. Templates that write text are written out (templates); of others the positional arguments
    are kept in infoboxes and tables, and nothing in prose. namespaces: the wiki's names, in small letters, of the
    file and category namespaces. Deterministic, in time linear in the length.
    """
    kept: list[str] = []
    text = _without_comments(_PRIVATE.sub("", wikitext.replace("\r\n", "\n")))
    text = _paired_tags(text, kept)
    text = _SUPERSCRIPT.sub(r"^\1", text)
    text = _TAG.sub(_plain_tag, text)
    text = _EXTERNAL.sub(lambda match: match.group(1).strip(), text)
    text = _Brackets(text, namespaces).rendered()
    text = _lines(tables_to_text(_SWITCH.sub("", _QUOTES.sub("", text))))
    text = html.unescape(text.translate(_UNPROTECTED)).replace("\xa0", " ")
    text = _KEPT.sub(lambda match: kept[int(match.group(1))], text)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(line.rstrip() for line in text.split("\n"))).strip()


def _without_comments(text: str) -> str:
    """An open comment reaches to the end, as in MediaWiki."""
    parts = []
    position = 0
    while (start := text.find("<!--", position)) >= 0:
        parts.append(text[position:start])
        end = text.find("-->", start + 4)
        position = len(text) if end < 0 else end + 3
    return "".join((*parts, text[position:]))


def _paired_tags(text: str, kept: list[str]) -> str:
    """Takes out what lies between tags whose content is no wikitext: verbatim content is put into `kept`, and a mark
    with its place there into the text; galleries become lists of their captions; the others are dropped."""
    tags = list(_PAIRED.finditer(text))
    last_end = {tag.group(2).lower(): tag.start() for tag in tags if tag.group(1)}
    parts = []
    position = index = 0
    while index < len(tags):
        tag = tags[index]
        name = tag.group(2).lower()
        index += 1
        parts.append(text[position : tag.start()])
        position = tag.end()
        if tag.group(1) or tag.group(4) or last_end.get(name, -1) < tag.end():
            continue
        while not (tags[index].group(1) and tags[index].group(2).lower() == name):
            index += 1
        content = text[tag.end() : tags[index].start()]
        position = tags[index].end()
        index += 1
        if name == "gallery":
            parts.append(_gallery(content))
        elif name in VERBATIM:
            shown = _verbatim(name, content)
            around = "\n" if "\n" in shown and name != "nowiki" else ""
            parts.append(f"{around}\ue000{len(kept)}\ue001{around}" if shown else "")
            kept.append(shown)
    parts.append(text[position:])
    return "".join(parts)


def _verbatim(name: str, content: str) -> str:
    if name in ("math", "chem", "ce"):
        tex = " ".join(html.unescape(content).split())
        return (f"${tex}$" if name == "math" else f"$\\ce{{{tex}}}$") if tex else ""
    if name in ("syntaxhighlight", "source"):
        return content.strip("\n")
    return html.unescape(content) if name == "nowiki" else html.unescape(content).strip("\n")


def _gallery(content: str) -> str:
    lines = []
    for line in content.splitlines():
        caption = re.sub(r"^(?:\s*(?:alt|link|class|lang|page)\s*=[^|]*\|)+", "", line.partition("|")[2]).strip()
        if caption and not re.match(r"(?:alt|link|class|lang|page)\s*=[^|]*$", caption):
            lines.append(f"\n* {caption}")
    return "".join((*lines, "\n")) if lines else ""


def _plain_tag(tag: re.Match[str]) -> str:
    name = tag.group(2).lower()
    if name in _BREAK_TAGS:
        return BREAK
    if name in _CELL_TAGS:
        return "" if tag.group(1) else f" {PIPE} "
    if name == "li" and not tag.group(1):
        return f"{BREAK}- "
    return "" if name in _INLINE_TAGS else tag.group()


@dataclass(slots=True)
class _Open:
    """A template or link that is not closed yet: the pieces of each of its parts, between pipes."""

    mark: str
    is_infobox: bool = False
    parts: list[list[str]] = field(default_factory=lambda: [[]])

    def as_text(self) -> str:
        # The opener itself says nothing to a reader.
        return " ".join("".join(part) for part in self.parts)


class _Brackets:
    """The text with templates, links and files written out, innermost first, in one pass."""

    def __init__(self, text: str, namespaces: Mapping[str, int]) -> None:
        self._text = text
        self._namespaces = namespaces
        self._pieces: list[str] = []
        self._open: list[_Open] = []
        self._n_open = {"{{": 0, "[[": 0}
        self._n_infoboxes = 0
        self._n_tables = 0

    def rendered(self) -> str:
        position = 0
        for match in _TOKEN.finditer(self._text):
            if match.start() > position:
                self._add(self._text[position : match.start()])
            position = match.end()
            self._token(match.group())
        self._add(self._text[position:])
        while self._open:
            self._add_unclosed()
        return "".join(self._pieces)

    def _add(self, text: str) -> None:
        (self._open[-1].parts[-1] if self._open else self._pieces).append(text)

    def _token(self, token: str) -> None:
        if token in self._n_open:
            if len(self._open) < MAX_DEPTH:
                self._open.append(_Open(token))
                self._n_open[token] += 1
        elif token == "|" and self._open:
            self._next_part(self._open[-1])
        elif token in ("}}", "]]"):
            mark = "{{" if token == "}}" else "[["
            if self._n_open[mark]:
                while self._open[-1].mark != mark:
                    self._add_unclosed()
                self._add_closed()
        else:
            if token.endswith("{|"):
                self._n_tables += 1
            elif token.endswith("|}"):
                self._n_tables = max(0, self._n_tables - 1)
            self._add(token)

    def _next_part(self, top: _Open) -> None:
        if top.mark == "{{" and len(top.parts) == 1 and is_infobox(template_name("".join(top.parts[0]))):
            top.is_infobox = True
            self._n_infoboxes += 1
        top.parts.append([])

    def _pop(self) -> _Open:
        top = self._open.pop()
        self._n_open[top.mark] -= 1
        self._n_infoboxes -= top.is_infobox
        return top

    def _add_unclosed(self) -> None:
        self._add(self._pop().as_text())

    def _add_closed(self) -> None:
        top = self._pop()
        parts = ["".join(part) for part in top.parts]
        is_value = self._n_infoboxes > 0 or self._n_tables > 0
        if top.mark == "[[":
            self._add(_link(parts, self._namespaces, is_value=is_value).translate(_PROTECTED))
            return
        name = template_name(parts[0])
        if name in TABLE_MARKS:
            self._add(TABLE_MARKS[name])
            return
        arguments = _arguments(parts[1:])
        shown = render_infobox(arguments) if top.is_infobox else render_template(name, arguments, is_value=is_value)
        self._add(shown.translate(_PROTECTED))


TABLE_MARKS = {"!": "|", "!!": "||", "!-": "|-", "!+": "|+", "(!": "{|", "!)": "|}"}
"""Templates that write the marks of a table, inside another template's arguments."""


def _arguments(parts: list[str]) -> Arguments:
    positional = []
    named = {}
    for part in parts:
        key, equals, value = part.partition("=")
        if equals:
            named[key.strip()] = value.strip()
        else:
            positional.append(part.strip())
    return Arguments(tuple(positional), named)


def _link(parts: list[str], namespaces: Mapping[str, int], *, is_value: bool) -> str:
    """A link's label; a file's caption, where the page shows it; nothing for a category."""
    target = parts[0].strip()
    prefix, colon, rest = target.partition(":")
    namespace = namespaces.get(" ".join(prefix.replace("_", " ").split()).lower()) if colon else None
    if namespace == CATEGORY:
        return ""
    if namespace == FILE:
        captions = [part.strip() for part in parts[1:] if not _IMAGE_OPTION.fullmatch(part)]
        is_framed = any(part.strip().lower() in ("thumb", "thumbnail", "frame", "framed") for part in parts[1:])
        return f"\n\n{captions[-1]}\n\n" if captions and is_framed and not is_value else ""
    if len(parts) > 1:
        label = " ".join(part.strip() for part in parts[1:] if part.strip())
        if label:
            return label
    if not prefix and colon:
        target = rest
    elif colon and namespace is None and re.fullmatch(r"[a-z]{2,3}(?:-[a-z]{2,8})?", prefix) and len(parts) == 1:
        # The page in another language.
        return ""
    return target.replace("_", " ") if len(parts) == 1 else re.sub(r" \([^()]*\)$", "", target.rpartition(":")[2])


def _lines(text: str) -> str:
    """Headings, lists and rules as plain lines; a heading with nothing below it is left out."""
    blocks: list[tuple[int, str]] = []
    numbers: list[int] = []
    for line in text.split("\n"):
        if line.startswith(TABLE_LINE):
            numbers.clear()
            blocks.append((0, line[len(TABLE_LINE) :]))
            continue
        line = _SPACES.sub(" ", line.strip())
        level = min(len(line) - len(line.lstrip("=")), len(line) - len(line.rstrip("=")), 6)
        if 0 < level < len(line) / 2 and line[level:-level].strip():
            blocks.append((level, f"\n{line[level:-level].strip()}\n"))
        elif line[:1] in ("*", "#", ":", ";"):
            if item := _list_item(line, numbers):
                blocks.append((0, item))
            continue
        elif not line.startswith("----"):
            blocks.append((0, line))
        numbers.clear()
    shown: list[str] = []
    level_below = 1
    for level, block in reversed(blocks):
        if level and level_below and level >= level_below:
            continue
        if block.strip():
            level_below = level
        shown.append(block)
    return "\n".join(reversed(shown))


def _list_item(line: str, numbers: list[int]) -> str:
    match = _LIST.match(line)
    marks = match.group(1)[:10] if match else ""
    content = line[match.end() :].strip() if match else line
    if not content:
        return ""
    depth = len(marks)
    del numbers[depth:]
    numbers.extend([0] * (depth - len(numbers)))
    indent = "  " * (depth - 1)
    if marks.endswith("*"):
        return f"{indent}- {content}"
    if marks.endswith("#"):
        numbers[depth - 1] += 1
        return f"{indent}{numbers[depth - 1]}. {content}"
    if marks.endswith(";"):
        term, colon, meaning = content.partition(" : ")
        return f"{term.strip()}: {meaning.strip()}" if colon else content
    return f"{indent}{content}" if depth > 1 else content

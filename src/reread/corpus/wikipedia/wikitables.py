"""Wikitables into rows. Links and templates inside are text already; what is left are the table's own marks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from reread.corpus.tables import Cell, rows_to_text, spread_cells
from reread.corpus.wikipedia.templates import one_line

MAX_NESTING = 8
TABLE_LINE = "\ue008"
"""Opens every line of a finished table, so that its text is not taken for a list or heading."""
_START = re.compile(r"[:*#\s]*\{\|")
_SPAN = re.compile(r"""\b(colspan|rowspan)\s*+=\s*+["']?\s*+(\d{1,5})""", re.IGNORECASE)


@dataclass(slots=True)
class _Cell:
    """A cell while it is read: further lines may follow."""

    text: str
    colspan: int = 1
    rowspan: int = 1


@dataclass(slots=True)
class _Table:
    """One `{| ... |}` while it is read."""

    caption: list[str] = field(default_factory=list)
    rows: list[list[_Cell]] = field(default_factory=lambda: [[]])
    is_captioning: bool = False

    def line(self, line: str) -> None:
        stripped = line.strip()
        if stripped.startswith("|-"):
            self.is_captioning = False
            self.rows.append([])
        elif stripped.startswith("|+"):
            self.is_captioning = True
            self.caption.append(_split_attributes(stripped[2:])[1])
        elif stripped.startswith(("|", "!")):
            self.is_captioning = False
            marks = r"\|\||!!" if stripped[0] == "!" else r"\|\|"
            for content in re.split(marks, stripped[1:]):
                attributes, text = _split_attributes(content)
                spans = {name.lower(): int(n) for name, n in _SPAN.findall(attributes)}
                self.rows[-1].append(_Cell(text, spans.get("colspan", 1), spans.get("rowspan", 1)))
        else:
            self.more(line)

    def more(self, text: str) -> None:
        """A further line of the last cell."""
        if self.is_captioning:
            self.caption.append(text)
        elif self.rows[-1]:
            self.rows[-1][-1].text += f"\n{text}"

    def text(self) -> str:
        return rows_to_text(self.grid(), one_line("\n".join(self.caption)))

    def grid(self) -> list[list[str]]:
        rows = [[Cell(one_line(cell.text), cell.colspan, cell.rowspan) for cell in row] for row in self.rows if row]
        return spread_cells(rows)


def _split_attributes(content: str) -> tuple[str, str]:
    """(attributes, text) of `attributes | text`."""
    attributes, bar, text = content.partition("|")
    return (attributes, text) if bar else ("", content)


def tables_to_text(text: str) -> str:
    """The text with every wikitable as rows (tables.rows_to_text), each line after TABLE_LINE, between blank lines.

    A table within a cell becomes part of its text; a table that never ends ends with the text.
    """
    if "{|" not in text:
        return text
    return "\n".join(_lines(text))


def _lines(text: str) -> Iterator[str]:
    stack: list[_Table] = []
    for line in text.split("\n"):
        if _START.match(line) and len(stack) < MAX_NESTING:
            stack.append(_Table())
        elif stack and line.lstrip().startswith("|}"):
            rest = line.lstrip()[2:]
            yield from _closed(stack)
            if rest.strip():
                if stack:
                    stack[-1].more(rest)
                else:
                    yield rest
        elif stack:
            stack[-1].line(line)
        else:
            yield line
    while stack:
        yield from _closed(stack)


def _closed(stack: list[_Table]) -> Iterator[str]:
    table = stack.pop()
    if stack:
        stack[-1].more("\n".join(one_line("\n".join(cell for cell in row if cell)) for row in table.grid()))
    else:
        rows = table.text()
        if rows:
            yield ""
            yield from (f"{TABLE_LINE}{row}" for row in rows.split("\n"))
            yield ""

"""Wikitables into rows. Links and templates inside are text already; what is left are the table's own marks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from reread.corpus.tables import rows_to_text
from reread.corpus.wikitemplates import one_line

MAX_SPAN = 200
MAX_NESTING = 8
TABLE_LINE = "\ue008"
"""Opens every line of a finished table, so that its text is not taken for a list or heading."""
_START = re.compile(r"[:*#\s]*\{\|")
_SPAN = re.compile(r"""\b(colspan|rowspan)\s*+=\s*+["']?\s*+(\d{1,5})""", re.IGNORECASE)


@dataclass(slots=True)
class _Cell:
    text: str
    colspan: int = 1
    rowspan: int = 1


@dataclass(slots=True)
class _Table:
    """One `{| ... |}` while it is read."""

    caption: list[str] = field(default_factory=list)
    rows: list[list[_Cell]] = field(default_factory=lambda: [[]])
    n_chars: int = 0
    is_captioning: bool = False

    def line(self, line: str) -> None:
        self.n_chars += len(line)
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
                self.rows[-1].append(_Cell(text, _bounded(spans.get("colspan", 1)), _bounded(spans.get("rowspan", 1))))
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
        """The rows, each cell in its column. A cell that spans rows is repeated in each, so that every row can be
        read by itself; one that spans columns is written once. Repeats end where they would outgrow the table."""
        budget = 2 * self.n_chars + 10_000
        held: dict[int, tuple[int, str]] = {}
        grid = []
        for row in self.rows:
            if not row:
                continue
            cells: list[str] = []

            def place_held(cells: list[str] = cells) -> None:
                while len(cells) in held:
                    n_left, text = held.pop(len(cells))
                    if n_left > 1:
                        held[len(cells)] = (n_left - 1, text)
                    cells.append(text)

            for cell in row:
                place_held()
                text = one_line(cell.text)
                for offset in range(cell.colspan if budget > 0 else 1):
                    shown = text if offset == 0 else ""
                    if cell.rowspan > 1 and budget > 0:
                        held[len(cells)] = (cell.rowspan - 1, shown)
                    cells.append(shown)
            place_held()
            budget -= sum(len(cell) + 3 for cell in cells)
            if budget < 0:
                held.clear()
            grid.append(cells)
        return grid


def _bounded(n: int) -> int:
    return min(max(n, 1), MAX_SPAN)


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
        stack[-1].n_chars += table.n_chars
        stack[-1].more("\n".join(one_line("\n".join(cell for cell in row if cell)) for row in table.grid()))
    else:
        rows = table.text()
        if rows:
            yield ""
            yield from (f"{TABLE_LINE}{row}" for row in rows.split("\n"))
            yield ""

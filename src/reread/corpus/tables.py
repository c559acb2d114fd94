"""Tables as text: the one form that web pages, Wikipedia's HTML and wikitext share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MAX_COLUMNS = 200
"""A cell that spans columns does not reach beyond."""
REPEATED_CELL_CHARS = 200
"""A cell over several rows is written in each of them, unless it is longer."""
SPREAD_CHARS = 10_000
"""Repeats may double a table, and add this much: spans can be made to multiply."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell as the markup has it."""

    text: str
    colspan: int = 1
    rowspan: int = 1


def spread_cells(rows: Sequence[Sequence[Cell]]) -> list[list[str]]:
    """The rows, each cell in its column. A cell that spans rows is repeated in each, so that every row can be read by
    itself; one that spans columns is written once. Repeats end where they would outgrow the table."""
    budget = SPREAD_CHARS + sum(_cost(cell.text) for row in rows for cell in row)
    held: dict[int, tuple[int, str]] = {}
    """By column: for how many more rows its cell reaches down, and with what text."""
    grid = []
    for row in rows:
        cells: list[str] = []
        for cell in row:
            budget -= _add_held(cells, held)
            repeated = cell.text if len(cell.text) <= REPEATED_CELL_CHARS else ""
            n_columns = max(1, min(cell.colspan, MAX_COLUMNS - len(cells))) if budget > 0 else 1
            for place in range(n_columns):
                if cell.rowspan > 1:
                    held[len(cells)] = (cell.rowspan - 1, "" if place else repeated)
                cells.append("" if place else cell.text)
                budget -= _cost("") if place else 0
        budget -= _add_held(cells, held)
        if budget <= 0:
            held.clear()
        grid.append(cells)
    return grid


def _add_held(cells: list[str], held: dict[int, tuple[int, str]]) -> int:
    """Append what reaches down from the rows above; returns what it costs."""
    cost = 0
    while (column := len(cells)) in held:
        n_left, text = held.pop(column)
        if n_left > 1:
            held[column] = (n_left - 1, text)
        cells.append(text)
        cost += _cost(text)
    return cost


def _cost(text: str) -> int:
    return len(text) + len(" | ")


def rows_to_text(rows: Sequence[Sequence[str]], caption: str = "") -> str:
    """The table as lines: the caption, then `| cell | cell |` for each row; "" where no cell holds text.

    A cell takes one line, however its text is broken. Empty cells keep their place, so that columns line up, but not
    at a row's end. A row of one filled cell (a heading across the table, an infobox' title) is that text alone.
    """
    lines = [" ".join(caption.split())]
    for row in rows:
        cells = [" ".join(cell.split()) for cell in row]
        while cells and not cells[-1]:
            cells.pop()
        filled = [cell for cell in cells if cell]
        lines.append(filled[0] if len(filled) == 1 else f"| {' | '.join(cells)} |" if filled else "")
    return "\n".join(line for line in lines if line)

"""Tables as text: the one form that web pages, Wikipedia's HTML and wikitext share."""

from __future__ import annotations

from collections.abc import Sequence


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

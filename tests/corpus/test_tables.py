"""Cells into columns: what spans rows and columns, and what is made to multiply."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from reread.corpus.tables import Cell, rows_to_text, spread_cells

CELLS = st.builds(Cell, st.text("ab ", max_size=5), st.integers(0, 70_000), st.integers(0, 70_000))


def test_a_cell_over_rows_is_repeated_and_one_over_columns_is_not() -> None:
    rows = [[Cell("year", rowspan=2), Cell("films", colspan=2)], [Cell("one"), Cell("two")], [Cell("1920")]]
    assert spread_cells(rows) == [["year", "films", ""], ["year", "one", "two"], ["1920"]]


def test_a_long_cell_over_rows_is_written_once() -> None:
    assert spread_cells([[Cell("word " * 50, rowspan=2), Cell("a")], [Cell("b")]])[1] == ["", "b"]


@given(st.lists(st.lists(CELLS, max_size=4), max_size=12))
@settings(max_examples=60, deadline=None)
def test_every_cell_is_kept_in_its_row_whatever_it_spans(rows: list[list[Cell]]) -> None:
    for row, spread in zip(rows, spread_cells(rows), strict=True):
        left = iter(spread)
        assert all(cell.text in left for cell in row)


def test_spans_cannot_be_made_to_multiply() -> None:
    row = [Cell("x" * 190, colspan=1, rowspan=60_000) for _ in range(200)]
    text = rows_to_text(spread_cells([row, *([] for _ in range(5000))]))
    assert len(text) < 3 * 200 * 193 + 10_000

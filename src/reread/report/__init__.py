"""Reports from a run folder's files alone: a table for the terminal, one self-contained HTML file."""

from reread.report.examples import examples
from reread.report.page import render_html, write_report
from reread.report.run import Run, load_run
from reread.report.terminal import recall_table, score_table, summary_lines

__all__ = ["Run", "examples", "load_run", "recall_table", "render_html", "score_table", "summary_lines", "write_report"]

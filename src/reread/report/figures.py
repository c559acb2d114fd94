"""The figures: series in, SVG text out. Drawing only; every number comes from series.py.

Colours are roles. In the page a role becomes a CSS variable, so that a figure follows the page's light or
dark theme; in a file of its own it keeps its light colour.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reread.report import numbers
from reread.report.series import ArmRow, LadderSeries, SensitivityRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, GRID, BASE, ARM, CONTROL, SHADE = (
    "#1c2330", "#66707f", "#d9dde3", "#2f5f9e", "#b8471b", "#7a6f9b", "#f3f0ea"
)  # fmt: skip
ROLES = {
    INK: "ink", MUTED: "muted", GRID: "grid", BASE: "base", ARM: "arm", CONTROL: "control", SHADE: "shade"
}  # fmt: skip

WIDTH = 7.6
"""Inches; the page scales a figure to its column."""

LABEL_POINTS = 5.0
"""Height of a label, in points of accuracy."""
MAX_NAME = 36

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    # A name with two dollar signs is a name, not a formula.
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.edgecolor": GRID,
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "text.color": INK,
    "axes.titlecolor": INK,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "legend.frameon": False,
}


@dataclass(frozen=True, slots=True)
class Drawing:
    """One figure: a file name, what it shows for who cannot see it, and its SVG."""

    name: str
    alt: str
    svg: str

    def inline(self) -> str:
        """The SVG element for a page: roles as CSS variables, ids of its own, no XML head."""
        svg = self.svg[self.svg.index("<svg") :]
        for color, role in ROLES.items():
            svg = svg.replace(color, f"var(--{role})")
        svg = re.sub(r'(\bid="|href="#|url\(#)', lambda match: f"{match.group(1)}{self.name}-", svg)
        # The page sets the size; viewBox keeps the shape.
        return re.sub(r'\s(width|height)="[\d.]+pt"', "", svg, count=2)


def draw_ladder(name: str, series: LadderSeries) -> Drawing:
    """Accuracy against training FLOPs: curve, base rungs, the arm, and an arrow for every multiplier."""

    def draw(figure: Figure) -> None:
        from matplotlib.ticker import FuncFormatter, NullFormatter

        axes = figure.add_subplot()
        axes.set_xscale("log")
        axes.set_xlim(*series.x_range)
        _curve_lines(axes, series)
        for arrow in series.arrows:
            _arrow(axes, arrow.start, arrow.end, arrow.accuracy, series.x_range[1])
            label = numbers.times(arrow.multiplier) if arrow.multiplier else "beyond the curve"
            mark = "*" if arrow.multiplier and arrow.extrapolated else ""
            end = arrow.end or series.x_range[1]
            axes.annotate(
                label + mark,
                ((arrow.start * end) ** 0.5, arrow.accuracy),
                xytext=(0, -11 if _has_neighbour_above(arrow, series.arrows) else 4),
                textcoords="offset points",
                ha="center",
                fontsize=9,
                color=ARM,
            )
        for dots, color, label, shape in (
            (series.base, BASE, "baseline", "o"),
            (series.arms, ARM, _short(series.arm), "D"),
        ):
            _dots(axes, dots, color, label, shape)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: numbers.decade(value)))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("training compute (FLOPs)")
        axes.set_ylabel("accuracy (%)")
        axes.grid(axis="y", color=GRID, linewidth=0.6)
        axes.legend(loc="upper left")

    shown = ", ".join(numbers.times(arrow.multiplier) for arrow in series.arrows)
    alt = f"Accuracy against training compute: the baseline's curve, and {series.arm} read off it: {shown}."
    return Drawing(name, alt, _svg(draw, 4.2, name))


def draw_arms(name: str, rows: tuple[ArmRow, ...], chance: float | None) -> Drawing:
    """Accuracy of every arm on the largest rung, with intervals; smaller rungs as faint dots."""

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        heights = list(range(len(rows)))[::-1]
        if chance:
            axes.axvline(100 * chance, color=MUTED, linewidth=0.9, linestyle=(0, (2, 3)))
            axes.annotate(
                "chance",
                (100 * chance, 1),
                xycoords=("data", "axes fraction"),
                xytext=(0, 3),
                textcoords="offset points",
                ha="center",
                fontsize=8.5,
                color=MUTED,
            )
        for height, row in zip(heights, rows, strict=True):
            color = CONTROL if row.is_control else BASE if row.arm == "baseline" else ARM
            axes.plot(
                row.others,
                [height] * len(row.others),
                "o",
                color=color,
                markersize=4,
                fillstyle="none",
                alpha=0.6,
            )
            if row.top.low is not None and row.top.high is not None:
                axes.plot([row.top.low, row.top.high], [height, height], color=color, linewidth=2)
            axes.plot([row.top.accuracy], [height], "o", color=color, markersize=7)
        axes.set_yticks(heights, [_short(row.arm) for row in rows], color=INK)
        axes.set_ylim(-0.7, len(rows) - 0.3)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("accuracy (%)")
        axes.grid(axis="x", color=GRID, linewidth=0.6)

    shown = "; ".join(f"{row.arm} {numbers.percent(row.top.accuracy / 100)}" for row in rows)
    return Drawing(name, f"Accuracy in percent by arm on the largest rung: {shown}.", _svg(draw, _height(rows), name))


def draw_sensitivity(name: str, rows: tuple[SensitivityRow, ...], arm: str) -> Drawing:
    """The arm's multipliers under every fit, on a log scale; larger marks are larger rungs."""

    def draw(figure: Figure) -> None:
        from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

        axes = figure.add_subplot()
        axes.set_xscale("log")
        heights = list(range(len(rows)))[::-1]
        for height, row in zip(heights, rows, strict=True):
            color = ARM if row.is_chosen else MUTED
            found = [(value, i) for i, value in enumerate(row.multipliers) if value]
            values = [value for value, _ in found]
            axes.plot([min(values), max(values)], [height, height], color=color, linewidth=1)
            for value, i in found:
                axes.plot([value], [height], "o", color=color, markersize=4 + 1.2 * i, alpha=0.85)
        axes.set_yticks(heights, [_short(row.fit) for row in rows], color=INK)
        axes.set_ylim(-0.7, len(rows) - 0.3)
        axes.tick_params(axis="y", length=0)
        low, high = axes.get_xlim()
        # Beyond two decades 1, 2 and 5 of each would run into one another.
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high / low < 100 else (1.0,), numticks=8))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: numbers.times_mark(value)))
        axes.set_xlabel(f"multiplier of {_short(arm)}; larger marks are larger rungs")
        axes.grid(axis="x", color=GRID, linewidth=0.6)

    shown = "; ".join(f"{row.fit}: {', '.join(numbers.times(v) for v in row.multipliers)}" for row in rows)
    return Drawing(name, f"Multipliers of {arm} under other curves. {shown}.", _svg(draw, _height(rows), name))


def _curve_lines(axes: Axes, series: LadderSeries) -> None:
    if not series.curve_x:
        return
    low, high = series.ladder
    axes.axvspan(high, series.x_range[1], color=SHADE, linewidth=0, zorder=0)
    axes.axvspan(series.x_range[0], low, color=SHADE, linewidth=0, zorder=0)
    pairs = list(zip(series.curve_x, series.curve_y, strict=True))
    inside = [(x, y) for x, y in pairs if low <= x <= high]
    for part, style in (
        (inside, "-"),
        ([(x, y) for x, y in pairs if x <= low] + inside[:1], (0, (4, 3))),
        (inside[-1:] + [(x, y) for x, y in pairs if x >= high], (0, (4, 3))),
    ):
        if part:
            axes.plot(*zip(*part, strict=True), color=BASE, linewidth=1.6, linestyle=style)
    for height, label in ((series.chance, "chance"), (series.ceiling, "ceiling")):
        near = [dot.accuracy for dot in (*series.base, *series.arms)]
        if height is not None and min(near) - 15 <= height <= max(near) + 15:
            axes.axhline(height, color=MUTED, linewidth=0.9, linestyle=(0, (2, 3)))
            axes.annotate(
                label,
                (1, height),
                xycoords=("axes fraction", "data"),
                xytext=(-3, 3),
                textcoords="offset points",
                ha="right",
                fontsize=8.5,
                color=MUTED,
            )


def _arrow(axes: Axes, start: float, end: float | None, height: float, edge: float) -> None:
    axes.annotate(
        "",
        xy=(end if end is not None else edge, height),
        xytext=(start, height),
        arrowprops={"arrowstyle": "->", "color": ARM, "linewidth": 1.2, "shrinkA": 5, "shrinkB": 1},
    )


def _has_neighbour_above(arrow: Any, arrows: Any) -> bool:
    """Whether another arrow runs so close above that a label between them would be struck through."""
    return any(0 < other.accuracy - arrow.accuracy < LABEL_POINTS for other in arrows)


def _dots(axes: Axes, dots: Any, color: str, label: str, shape: str) -> None:
    for dot in dots:
        if dot.low is not None and dot.high is not None:
            axes.plot([dot.x, dot.x], [dot.low, dot.high], color=color, linewidth=1.6)
    axes.plot([dot.x for dot in dots], [dot.accuracy for dot in dots], shape, color=color, markersize=6, label=label)


def _short(name: str) -> str:
    """A name that leaves room for the figure."""
    return name if len(name) <= MAX_NAME else name[: MAX_NAME - 1] + "…"


def _height(rows: tuple[Any, ...]) -> float:
    return 0.9 + 0.34 * max(len(rows), 2)


def _svg(draw: Callable[[Figure], None], height: float, name: str) -> str:
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with _styled(name):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        FigureCanvasSVG(figure)
        draw(figure)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def _styled(name: str) -> AbstractContextManager[None]:
    from matplotlib import rc_context

    # The salt makes the ids, and so the bytes, the same on every run.
    return rc_context({**_STYLE, "svg.hashsalt": name})

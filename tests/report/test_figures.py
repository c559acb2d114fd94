"""What can be read off a figure."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from reread.report import numbers
from reread.report.figures import draw_sensitivity
from reread.report.series import SensitivityRow

DIGIT_EM = 0.64
"""Width of a digit of the figures' font, in its size."""


def marks(low: float, high: float) -> list[tuple[float, str]]:
    """(place, label) of every mark on the axis of a figure of fits that spans these multipliers."""
    rows = tuple(SensitivityRow(f"fit {i}", i == 0, (low, high)) for i in range(4))
    svg = draw_sensitivity("fits", rows, "retrieval").svg
    found = re.findall(r'<text [^>]*?x="([-\d.]+)"[^>]*>([^<]*x)</text>', svg)
    return sorted((float(place), label) for place, label in found)


@pytest.mark.parametrize(
    ("low", "high"),
    [(1.1, 1.3), (0.9, 4.0), (0.21, 19.0), (0.011, 0.9), (0.16, 24_000.0), (0.6, 2e6), (3e3, 2.5e5), (1e-9, 1e15)],
)
def test_marks_of_the_figure_of_fits_stand_apart(low: float, high: float) -> None:
    found = marks(low, high)
    assert len(found) >= 2
    for (left, label), (right, other) in pairwise(found):
        width = 10 * DIGIT_EM * (len(label) + len(other)) / 2
        assert right - left > width + 4, (label, other)


@pytest.mark.parametrize(
    ("value", "mark"),
    [(1.0, "1x"), (0.25, "0.25x"), (5000.0, "5000x"), (1e4, "10⁴x"), (2e5, "2·10⁵x"), (1e-4, "10⁻⁴x"), (1e6, "10⁶x")],
)
def test_a_long_multiplier_on_an_axis_is_a_power_of_ten(value: float, mark: str) -> None:
    assert numbers.times_mark(value) == mark

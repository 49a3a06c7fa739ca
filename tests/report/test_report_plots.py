"""Plots: inline SVG whose colours are CSS variables and whose bytes follow from the data."""

import re
import xml.etree.ElementTree as xml

import pytest

from builders.report_sources import HOSTILE
from report.figures import figure, series
from report.plots import SENTINELS, draw, swatches

KINDS = ("lines", "stack", "bars", "points", "scatter")


def some(kind, names=("one", "two"), values=(0.2, None, 0.9), **more):
    x = ["a", "b", HOSTILE] if kind in ("bars", "points") else [0.1, 0.5, 0.9]
    bounds = {"low": [0.1, None, 0.8], "high": [0.3, None, 1.0]} if kind == "points" else {}
    drawn = [series(name, values, dashed=False, **bounds) for name in names]
    return figure(f"id-{kind}", "A title", kind, x, "the x", "the y (units)", drawn, **more)


@pytest.mark.parametrize("kind", KINDS)
def test_a_drawing_is_well_formed_labelled_and_reproducible(kind):
    svg = draw(some(kind))
    root = xml.fromstring(svg)
    assert root.get("aria-label") == "A title: the y (units)" and root.get("role") == "img"
    assert root.get("width") is None and "the y (units)" in "".join(root.itertext())
    assert svg == draw(some(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_every_colour_is_a_variable(kind):
    svg = draw(some(kind))
    assert not set(re.findall(r"#[0-9a-f]{6}", svg)) and "var(--c1)" in svg
    assert not any(sentinel in svg for sentinel in SENTINELS)


@pytest.mark.parametrize("kind", ["bars", "points"])
def test_names_of_categories_are_text(kind):
    svg = draw(some(kind))
    assert "<script" not in svg and "<img" not in svg and "\u202e" not in svg


def test_mathematics_is_not_typeset():
    names = ["$x^2$", "$\\frac{", "b"]
    drawn = figure("m", "t", "bars", names, "x", "y", [series("one", [1, 2, 3])])
    assert "$\\frac{" in draw(drawn)


def test_a_log_axis_leaves_zeros_out():
    svg = draw(some("lines", values=(0.0, 1e-6, 1e-3), log=True))
    assert "mathdefault" not in svg and "1e-05" in svg


@pytest.mark.parametrize("values", [(None, None, None), (0.0, 0.0, 0.0)])
def test_a_figure_without_values_can_be_drawn(values):
    assert draw(some("lines", values=values, log=True)).startswith("<svg")


def test_a_legend_tells_series_apart_without_colour():
    legend = swatches(some("lines", names="abc"))
    assert len({(one["dash"]) for one in legend}) == 3
    assert len({one["mark"] for one in swatches(some("scatter", names="abc"))}) == 3

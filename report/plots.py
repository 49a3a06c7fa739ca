"""Draws the document's figures as inline SVG with matplotlib.

Colours are drawn as sentinels and then replaced by CSS variables, so that one drawing serves light
and dark screens and print. Texts stay texts. Equal data gives equal bytes: ids are salted with the
figure's own name, and no date is written. Legends are HTML (`swatches`), where long names wrap."""

import io
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from report.visible import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Figure = Mapping[str, Any]
COLOURS = ("#a00001", "#a00002", "#a00003", "#a00004", "#a00005", "#a00006", "#a00007")
"""Sentinels of the series, `--c1` to `--c7`; no palette has these values."""
INK, FAINT, PAPER = "#b00001", "#b00002", "#b00003"
SENTINELS = {
    **{colour: f"var(--c{place})" for place, colour in enumerate(COLOURS, start=1)},
    **{INK: "var(--ink-soft)", FAINT: "var(--line)", PAPER: "var(--paper)"},
}
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
"""Marks of the series: colour is never the only difference."""
SHAPES = (
    "M15 5a4 4 0 1 1-8 0a4 4 0 1 1 8 0z",
    "M7 1h8v8h-8z",
    "M11 1l4.5 8h-9z",
    "M11 0l5 5l-5 5l-5-5z",
)
"""The first marks as paths, for legends."""
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (2, 1.5)), (0, (7, 2, 1.5, 2)), "-", "-", "-")
SIZE, TALLEST, ROW = (5.6, 3.1), 12.0, 0.34
"""Inches; the page scales a drawing to its column."""
LONGEST = 26
"""Letters of a category's name beside the axis."""
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 11,
    "text.parse_math": False,
    "axes.unicode_minus": False,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.linewidth": 1.0,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": FAINT,
    "grid.linewidth": 0.7,
}


def draw(figure: Figure) -> str:
    """The figure as an `<svg>` element without a size of its own."""
    import logging

    import matplotlib
    from matplotlib.figure import Figure as Canvas

    # Texts are measured with a font that lacks many scripts; the browser has its own.
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": figure["id"]}):
        canvas = Canvas(figsize=(SIZE[0], _height(figure)), layout="constrained")
        axes = canvas.subplots()
        _frame(axes, figure)
        _DRAWN[figure["kind"]](axes, figure)
        written = io.StringIO()
        canvas.savefig(written, format="svg", transparent=True, metadata={"Date": None})
    return _inline(written.getvalue(), f"{figure['title']}: {figure['y_label']}")


def swatches(figure: Figure) -> list[dict[str, Any]]:
    """What the legend shows of each series: its name, colour and dash, as the drawing has them."""
    plain, marked = figure["kind"] in ("stack", "bars"), figure["kind"] in ("points", "scatter")
    return [
        {
            "name": one["name"],
            "colour": f"var(--c{place % len(COLOURS) + 1})",
            "dash": "" if plain else _DASH_TEXT[_dash_number(place, one)],
            "block": plain,
            "mark": SHAPES[place % len(SHAPES)] if marked else "",
        }
        for place, one in enumerate(figure["series"])
    ]


_DASH_TEXT = ("", "5 2", "2 1.5", "7 2 1.5 2", "", "", "", "1 2.5")


def _dash_number(place: int, one: Mapping[str, Any]) -> int:
    return len(DASHES) if one.get("dashed") else place % len(DASHES)


def _dash(place: int, one: Mapping[str, Any]) -> Any:
    return (*DASHES, (0, (1, 2.5)))[_dash_number(place, one)]


def _colour(place: int) -> str:
    return COLOURS[place % len(COLOURS)]


def _height(figure: Figure) -> float:
    rows = len(figure["x"]) if figure["kind"] == "bars" else 0
    return min(TALLEST, max(SIZE[1], 0.9 + ROW * rows))


def _frame(axes: "Axes", figure: Figure) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    axes.grid(axis="x" if figure["kind"] == "bars" else "y")
    axes.tick_params(length=0)
    axes.set_xlabel(figure["x_label"])
    axes.set_ylabel(figure["y_label"])
    if figure["range"]:
        low, high = figure["range"]
        axes.set_ylim(low - 0.02 * (high - low), high + 0.02 * (high - low))


def _nan(values: Sequence[float | None]) -> list[float]:
    return [float("nan") if value is None else value for value in values]


def _lines(axes: "Axes", figure: Figure) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    for place, one in enumerate(figure["series"]):
        points = [
            (x, y)
            for x, y in zip(figure["x"], one["values"], strict=True)
            if y is not None and (y > 0 or not figure["log"])
        ]
        mark = MARKERS[place % len(MARKERS)] if len(points) <= 30 and not one["dashed"] else ""
        axes.plot(
            *zip(*points, strict=True) if points else ([], []),
            color=_colour(place),
            linestyle=_dash(place, one),
            marker=mark,
            markersize=3.5,
            linewidth=1.8,
        )
    if figure["log"] and any(value for one in figure["series"] for value in one["values"]):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    elif all(float(value or 0).is_integer() for one in figure["series"] for value in one["values"]):
        axes.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        axes.set_ylim(top=max(1.0, axes.get_ylim()[1]))
    _whole_steps(axes, figure)


def _whole_steps(axes: "Axes", figure: Figure) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    if all(isinstance(x, int) or float(x).is_integer() for x in figure["x"]):
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def _stack(axes: "Axes", figure: Figure) -> None:
    values = [[value or 0.0 for value in one["values"]] for one in figure["series"]]
    colours = [_colour(place) for place in range(len(values))]
    axes.stackplot(figure["x"], values, colors=colours, edgecolor=PAPER, linewidth=0.8)
    axes.margins(x=0)
    _whole_steps(axes, figure)


def _bars(axes: "Axes", figure: Figure) -> None:
    places = range(len(figure["x"]))
    start = [0.0] * len(figure["x"])
    for place, one in enumerate(figure["series"]):
        values = [value or 0.0 for value in one["values"]]
        axes.barh(places, values, left=start, color=_colour(place), edgecolor=PAPER, height=0.72)
        start = [low + value for low, value in zip(start, values, strict=True)]
    axes.set_yticks(places, [_short(name) for name in figure["x"]])
    axes.set_xlabel(figure["y_label"])
    axes.set_ylabel("")
    axes.invert_yaxis()


def _points(axes: "Axes", figure: Figure) -> None:
    for place, one in enumerate(figure["series"]):
        middle, low, high = (_nan(one[name]) for name in ("values", "low", "high"))
        below = [m - e for m, e in zip(middle, low, strict=True)]
        above = [e - m for m, e in zip(middle, high, strict=True)]
        errors = [[max(0.0, value) for value in values] for values in (below, above)]
        axes.errorbar(
            range(len(middle)),
            middle,
            yerr=errors,
            color=_colour(place),
            marker=MARKERS[place % len(MARKERS)],
            linewidth=1.4,
            elinewidth=1.6,
            capsize=4,
            markersize=6,
        )
    step = -(-len(figure["x"]) // 12)
    shown = range(0, len(figure["x"]), max(1, step))
    axes.set_xticks(shown, [_short(figure["x"][place]) for place in shown])
    axes.margins(x=0.12)


def _scatter(axes: "Axes", figure: Figure) -> None:
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1.2)
    for place, one in enumerate(figure["series"]):
        mark = MARKERS[place % len(MARKERS)]
        axes.plot(
            _nan(figure["x"]),
            _nan(one["values"]),
            color=_colour(place),
            marker=mark,
            linestyle="",
            markersize=6,
        )
    axes.set_xlim(-0.02, 1.02)


_DRAWN = {
    "lines": _lines,
    "stack": _stack,
    "bars": _bars,
    "points": _points,
    "scatter": _scatter,
}


def _short(name: str) -> str:
    shown = visible(" ".join(name.split()))
    return shown if len(shown) <= LONGEST else f"{shown[: LONGEST - 1]}…"


def _inline(text: str, label: str) -> str:
    """The `<svg>` element alone: no size, no style of the whole page, ids only where needed."""
    from html import escape

    svg = text[text.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)
    used = set(re.findall(r"(?:url\(#|xlink:href=\"#)([^)\"]+)", svg))
    svg = re.sub(r' id="([^"]+)"', lambda own: own[0] if own[1] in used else "", svg)
    svg = re.sub(r" font-family: [^;\"]*;", "", svg)
    box = re.search(r'viewBox="[^"]+"', svg)
    assert box is not None, "matplotlib writes a viewBox"
    head = f'<svg {box[0]} role="img" aria-label="{escape(visible(label))}"'
    names = ' xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">'
    svg = re.sub(r"^<svg[^>]*>", lambda _: head + names, svg)
    svg = re.sub(r"(?<=(?:fill|roke): )#[ab]0000\d", lambda own: SENTINELS[own[0]], svg)
    return re.sub(r"\s*\n\s*", " ", svg).strip()

"""A stage's curriculum in one figure: difficulty over time, how groups ended, and calibration."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curriculum.accounting import OUTCOMES, PREDICTIONS, RolloutAccounting

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PREFIX = "curriculum/"
"""Prefix of the curriculum's metrics in a trainer's log."""
RATES = (
    *("pool_rate", "drawn_rate", "start_difficulty", "committed_mixed_share"),
    *("band_low", "band_high"),
)
"""Metrics of the first panel."""
Rows = Sequence[Mapping[str, Any]]


def plot(rows: Rows, accounting: RolloutAccounting, path: Path) -> None:
    """Write a PNG of a stage's logged steps (`step` and metrics named `curriculum/...`) and its
    accounting."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 8), layout="constrained")
    rates, shares, tokens, curve = figure.subplots(2, 2).flatten()
    steps = [row["step"] for row in rows]
    _plot_rates(rates, steps, rows)
    _plot_shares(shares, steps, rows)
    outcomes = [_series(rows, f"tokens/{outcome}") for outcome in OUTCOMES]
    tokens.stackplot(steps, outcomes, labels=OUTCOMES)
    tokens.set(
        title="share of generated tokens so far, by outcome of the group",
        xlabel="step",
        ylim=(0, 1),
    )
    _plot_calibration(curve, accounting)
    for axes in (rates, shares, tokens, curve):
        axes.legend(fontsize=7, loc="upper left")
    figure.savefig(path, dpi=100, metadata={"Software": None})


def _series(rows: Rows, name: str) -> list[float]:
    return [row.get(PREFIX + name, float("nan")) for row in rows]


def _plot_rates(axes: "Axes", steps: list[Any], rows: Rows) -> None:
    for name in RATES:
        style = ":" if name.startswith("band") else "-"
        axes.plot(steps, _series(rows, name), style, label=name)
    axes.set(
        title="pass rates, and share of committed groups that were mixed",
        xlabel="step",
        ylim=(0, 1),
    )


def _plot_shares(axes: "Axes", steps: list[Any], rows: Rows) -> None:
    classes = sorted(
        {name for row in rows for name in row if name.startswith(f"{PREFIX}pass_rate_")}
    )
    labels = [name.removeprefix(f"{PREFIX}pass_rate_").replace("_", " to ") for name in classes]
    values = [[row.get(name, 0.0) for row in rows] for name in classes]
    axes.stackplot(steps, values, labels=labels)
    axes.set(title="prompts drawn, by estimated pass rate", xlabel="step", ylim=(0, 1))


def _plot_calibration(axes: "Axes", accounting: RolloutAccounting) -> None:
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
    for kind in PREDICTIONS:
        points = getattr(accounting, kind).curve()
        predicted = [point["predicted"] for point in points]
        observed = [point["observed"] for point in points]
        axes.plot(predicted, observed, "o-", label=kind)
    axes.set(
        title="P(group is mixed): predicted and observed",
        xlabel="predicted",
        ylabel="observed share",
    )

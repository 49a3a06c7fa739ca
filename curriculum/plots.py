"""A stage's curriculum in one picture: difficulty over time, what rollouts became, how well they
were foretold."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from curriculum.accounting import FATES, PREDICTIONS, RolloutAccounting

PREFIX = "curriculum/"
"""What the names of a curriculum's metrics begin with in a trainer's log."""


def plot(rows: Sequence[Mapping[str, Any]], accounting: RolloutAccounting, path: Path) -> None:
    """Write a PNG of a stage's logged steps (`step` and metrics named `curriculum/...`) and its
    account."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 8), layout="constrained")
    rates, shares, tokens, curve = figure.subplots(2, 2).flatten()
    steps = [row["step"] for row in rows]

    def series(name: str) -> list[float]:
        return [row.get(PREFIX + name, float("nan")) for row in rows]

    names = (
        "pool_rate",
        "drawn_rate",
        "start_difficulty",
        "committed_mixed_share",
        "band_low",
        "band_high",
    )
    for name in names:
        rates.plot(steps, series(name), ":" if name.startswith("band") else "-", label=name)
    rates.set(
        title="pass rates, and share of committed groups that were mixed",
        xlabel="step",
        ylim=(0, 1),
    )
    bands = sorted({name for row in rows for name in row if name.startswith(f"{PREFIX}pass_rate_")})
    labels = [name.removeprefix(f"{PREFIX}pass_rate_").replace("_", " to ") for name in bands]
    shares.stackplot(steps, [[row.get(name, 0.0) for row in rows] for name in bands], labels=labels)
    shares.set(title="what was drawn, by believed pass rate", xlabel="step", ylim=(0, 1))
    tokens.stackplot(steps, [series(f"tokens/{fate}") for fate in FATES], labels=FATES)
    tokens.set(
        title="share of generated tokens so far, by what became of them", xlabel="step", ylim=(0, 1)
    )
    curve.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
    for kind in PREDICTIONS:
        points = getattr(accounting, kind).curve()
        curve.plot([p["foretold"] for p in points], [p["came"] for p in points], "o-", label=kind)
    curve.set(
        title="P(group has a spread): foretold and come",
        xlabel="foretold",
        ylabel="share that came",
    )
    for axis in (rates, shares, tokens, curve):
        axis.legend(fontsize=7, loc="upper left")
    figure.savefig(path, dpi=100, metadata={"Software": None})

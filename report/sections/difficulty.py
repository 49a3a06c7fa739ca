"""The curriculum: how hard the prompts were that it drew, and what their tokens were used for."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from common.artifacts import RELIABILITY
from curriculum.accounting import OUTCOMES, PREDICTIONS, difficulty_shares
from curriculum.plots import PREFIX
from report.figures import curve, figure, series
from report.reading import number, whole
from report.sections.curves import STEP, metrics_of
from report.source import RunSource, StageSource

Rows = Sequence[Mapping[str, Any]]
RATES = {
    "pool_rate": "pass rate of the pool",
    "drawn_rate": "of the prompts drawn",
    "band_low": "band, lower end",
    "band_high": "band, upper end",
}
WORDS = {
    "trained": "trained on",
    "zero_easy": "all passed",
    "zero_hard": "all failed",
    "pilot": "pilots alone",
    "surplus": "mixed, not needed",
    "faulty": "faulty",
    "probed": "probes",
}


def difficulty(run: RunSource, number: int) -> list[dict[str, Any]]:
    """The stages with a curriculum, each with its figures."""
    found = []
    for place, stage in enumerate(run.stages):
        drawn = list(_figures(f"r{number}s{place}", metrics_of(stage)))
        drawn += _reliability(f"r{number}s{place}", stage)
        if drawn:
            found.append({"stage": stage.id, "figures": drawn})
    return found


def _figures(prefix: str, logged: Rows) -> Iterator[dict[str, Any]]:
    classes = {
        PREFIX + name: name.removeprefix("pass_rate_").replace("_", " to ")
        for name in difficulty_shares([])
    }
    yield from curve(
        f"{prefix}-classes",
        "Prompts drawn, by estimated pass rate",
        logged,
        STEP,
        "share of the step's prompts",
        classes,
        kind="stack",
        range=[0, 1],
    )
    yield from curve(
        f"{prefix}-rates",
        "Pass rates of the pool and of what was drawn",
        logged,
        STEP,
        "pass rate",
        {PREFIX + name: text for name, text in RATES.items()},
        dashed=[f"{PREFIX}band_low", f"{PREFIX}band_high"],
        range=[0, 1],
    )
    yield from curve(
        f"{prefix}-outcomes",
        "Generated tokens so far, by what they were used for",
        logged,
        STEP,
        "share of tokens",
        {f"{PREFIX}tokens/{name}": WORDS.get(name, name) for name in OUTCOMES},
        kind="stack",
        range=[0, 1],
    )
    names = {"ledger/retired": "retired", "ledger/reactivated": "reactivated"}
    if any(row.get(name) for row in logged for name in names):
        yield from curve(f"{prefix}-retired", "Retired prompts", logged, STEP, "prompts", names)


def _reliability(prefix: str, stage: StageSource) -> list[dict[str, Any]]:
    """The predicted probability that a group is mixed, against the observed share."""
    curves = whole(stage, RELIABILITY)
    points = [(kind, one) for kind in PREDICTIONS for one in (curves or {}).get(kind, [])]
    if not points:
        return []
    drawn = [
        series(kind, [one["observed"] if kind == own else None for own, one in points])
        for kind in PREDICTIONS
    ]
    about = "Predicted before a step's rollouts, and committed after a pilot. On the line: right."
    return [
        figure(
            f"{prefix}-reliability",
            "Will a group be mixed? Predicted and observed",
            "scatter",
            [number(one["predicted"]) for _, one in points],
            "predicted probability",
            "observed share",
            drawn,
            range=[0, 1],
            about=about,
        )
    ]

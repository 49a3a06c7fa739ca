"""The judges: what a filter found, its audit, and whether judges agree with verifiers."""

from typing import Any

from common.artifacts import AUDIT, REASONS, REWARD_AGREEMENT
from report.figures import figure, series
from report.reading import rows, whole
from report.source import RunSource, StageSource

FIGURES = {
    "prompts": "integer",
    "kept": "integer",
    "dropped": "integer",
    "unjudged": "integer",
    "broken": "integer",
    "pass_rate": "percent",
    "all_pass_share": "percent",
    "all_fail_share": "percent",
    "faulty_share": "percent",
}
"""The metrics of a filter that are shown, with their format."""


def judging(run: RunSource, number: int) -> list[dict[str, Any]]:
    """The stages in which judges took part."""
    found = []
    for place, stage in enumerate(run.stages):
        audits, agreements = whole(stage, AUDIT) or [], list(rows(stage, REWARD_AGREEMENT))
        if stage.has(REASONS) or audits or agreements:
            found.append(_judge(f"r{number}s{place}", stage, audits, agreements))
    return found


def _judge(prefix: str, stage: StageSource, audits: Any, agreements: Any) -> dict[str, Any]:
    pool = stage.metrics.get("pool") or {}
    drawn = [
        *(_calibration(f"{prefix}-audit-{n}", one, "pass_rate") for n, one in enumerate(audits)),
        *(
            _calibration(f"{prefix}-agreement-{n}", one, "verifier")
            for n, one in enumerate(agreements)
            if one.get("calibration")
        ),
    ]
    return {
        "stage": stage.id,
        "figures_of": [
            {"name": name.replace("_", " "), "value": stage.metrics[name], "format": format}
            for name, format in FIGURES.items()
            if name in stage.metrics and stage.has(REASONS)
        ],
        "lines": [*pool.get("lines", []), *pool.get("warnings", [])],
        "audits": audits,
        "agreements": agreements,
        "figures": drawn,
    }


def _calibration(id: str, one: dict[str, Any], observed: str) -> dict[str, Any]:
    """What the judge says of the answers, against what was measured, by class of the former."""
    said = "ease" if observed == "pass_rate" else "judge"
    points = one["calibration"]
    title = "Judge's ease and the policy's pass rate" if said == "ease" else "Judge and verifier"
    return figure(
        id,
        title,
        "scatter",
        [point[said] for point in points],
        "the judge says",
        "measured",
        [series(observed.replace("_", " "), [point[observed] for point in points])],
        range=[0, 1],
    )

"""Learning curves: what each training stage logged, by the metrics that are there."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

from common.artifacts import DEV_SCORES, METRICS, PROBES
from report.figures import curve
from report.reading import figures, rows
from report.sections.headline import interval_figure
from report.source import RunSource, StageSource

Rows = Sequence[Mapping[str, Any]]
STEP = ("step", "optimiser step")
TOKENS = ("tokens_generated_total", "generated tokens")
SECONDS = ("seconds_total", "seconds of training steps")
REWARDS = {"reward": "reward", "pass_rate": "pass rate"}
SHARES = {"mixed_share": "mixed groups", "cut_off_share": "cut off"}


def curves(run: RunSource, number: int) -> list[dict[str, Any]]:
    """The training stages that logged anything, each with its figures."""
    found = []
    for place, stage in enumerate(run.stages):
        prefix = f"r{number}s{place}"
        logged = metrics_of(stage)
        drawn = [
            *_rollouts(prefix, logged),
            *(_losses(prefix, logged) if not _has(logged, "reward") else []),
            *_probes(prefix, stage),
            *_dev_scores(prefix, stage),
        ]
        if drawn:
            found.append({"stage": stage.id, "kind": stage.kind, "figures": drawn})
    return found


def metrics_of(stage: StageSource) -> list[dict[str, Any]]:
    """The logged rows, with seconds summed up and the mean length of a completion."""
    logged = [figures(row) for row in rows(stage, METRICS)]
    seconds = accumulate(row.get("step_time", 0.0) for row in logged)
    return [
        {**row, **({SECONDS[0]: total} if "step_time" in row else {}), **_length(row)}
        for row, total in zip(logged, seconds, strict=True)
    ]


def _length(row: Mapping[str, float]) -> dict[str, float]:
    tokens, rollouts = row.get("tokens_generated"), row.get("rollouts")
    return {"completion_length": tokens / rollouts} if tokens is not None and rollouts else {}


def _has(logged: Rows, name: str) -> bool:
    return any(name in row for row in logged)


def _rollouts(prefix: str, logged: Rows) -> Iterator[dict[str, Any]]:
    """Reward, mixed groups, entropy and length of a stage that samples rollouts."""
    if not _has(logged, "reward"):
        return
    same = all(row.get("reward") == row.get("pass_rate") for row in logged)
    names = {"reward": "reward (equal to the pass rate)"} if same else REWARDS
    about = "Mean over a step's rollouts."
    for x, end in ((TOKENS, "tokens"), (SECONDS, "seconds")):
        yield from curve(
            f"{prefix}-reward-{end}",
            f"Reward by {x[1]}",
            logged,
            x,
            "reward, 0 to 1",
            names,
            range=[0, 1],
            about=about,
        )
    yield from curve(
        f"{prefix}-mixed",
        "Mixed groups and cut-off rollouts",
        logged,
        TOKENS,
        "share",
        SHARES,
        range=[0, 1],
        about="Only groups with different rewards have a gradient.",
    )
    yield from curve(
        f"{prefix}-entropy", "Entropy", logged, TOKENS, "nats per token", {"entropy": "entropy"}
    )
    yield from curve(
        f"{prefix}-length",
        "Length of completions",
        logged,
        TOKENS,
        "tokens",
        {"completion_length": "mean length"},
    )


LOSSES: tuple[tuple[str, str, str, Mapping[str, str]], ...] = (
    ("loss", "Loss", "nats per token", {"loss": "training loss"}),
    ("accuracy", "Token accuracy", "share", {"mean_token_accuracy": "tokens predicted right"}),
    ("margins", "Margin of rewards", "nats", {"rewards/margins": "chosen minus rejected"}),
    ("preferred", "Pairs in the right order", "share", {"rewards/accuracies": "share of pairs"}),
    (
        "logps",
        "Log-probabilities of the answers",
        "nats per answer",
        {"logps/chosen": "chosen", "logps/rejected": "rejected"},
    ),
)
"""End of the id, title, unit, metrics."""


def _losses(prefix: str, logged: Rows) -> Iterator[dict[str, Any]]:
    for end, title, unit, names in LOSSES:
        unit = "loss" if end == "loss" and _has(logged, "rewards/margins") else unit
        yield from curve(f"{prefix}-{end}", title, logged, STEP, unit, names)


def _probes(prefix: str, stage: StageSource) -> Iterator[dict[str, Any]]:
    """What a stage measured while it trained, to know when to stop."""
    probed = [figures(row) for row in rows(stage, PROBES)]
    k = next((f"{row['k']:g}" for row in probed if "k" in row), "k")
    names = {"pass_at_k": f"pass@{k}", "pass_at_1": "pass@1", "format": "right format"}
    yield from curve(
        f"{prefix}-probes", "Probes on held-out prompts", probed, STEP, "share", names, range=[0, 1]
    )
    yield from curve(
        f"{prefix}-probe-entropy",
        "Entropy of the probes",
        probed,
        STEP,
        "nats per token",
        {"entropy": "entropy"},
    )


def _dev_scores(prefix: str, stage: StageSource) -> Iterator[dict[str, Any]]:
    """The stage's own evaluations on a dev part."""
    scored = [row for row in rows(stage, DEV_SCORES) if row.get("score") is not None]
    if scored:
        cells = [{"value": row["score"], "low": row["low"], "high": row["high"]} for row in scored]
        steps = [str(row["step"]) for row in scored]
        title = f"Dev score on {scored[0]['suite']} while training"
        drawn = interval_figure(f"{prefix}-dev", title, steps, [("dev part", cells)], "score (%)")
        yield {**drawn, "x_label": STEP[1]}

"""The same RL stage in four layouts of processes: seconds a step, score, parity, share of the
weight sync.

    make bench-processes          # resumable: what is measured is not measured again

For each seed one start (prompts, SFT and its evaluation) is copied for every layout, so layouts
are compared on the same model and prompts. `results/processes.json` has, for each layout, the
median seconds of a step and the range of the seeds' medians, the mean score of the seeds, the
largest gap of any rollout or probe, and the share of a step that the weight sync takes; `overlap`
is B's seconds over D's, paired by seed."""

import shutil
from pathlib import Path
from statistics import fmean, median
from typing import Any

from benchmarks.curves import interval
from benchmarks.harness import ROOT, Results
from benchmarks.layouts import DEVICES, options, run
from common.artifacts import GROUPS, METRICS
from common.files import read_json_lines
from evals.parts import final_scores

RECIPE = ROOT / "benchmarks" / "recipes" / "processes.yaml"
WORK = ROOT / "runs" / "bench-processes"
SEEDS = (1, 2, 3, 4)
WARM_UP = 2
"""Steps at the start that are not timed."""
CODE = ("rollouts", "stages/rl", "training", "models", str(RECIPE.relative_to(ROOT)))
"""What a measurement depends on."""
WAITS = tuple(
    f"time/{name}" for name in ("rollouts", "waited_for_rollouts", "engine_idle", "sync", "parity")
)
GAPS = ("parity/largest_gap", "parity/probe_gap")


def begun(seed: int) -> Path:
    """The folder of a run up to the evaluation of SFT."""
    folder = WORK / f"start-{seed}"
    run(RECIPE, folder, [*of_seed(seed), "--until", "eval-sft"])
    return folder / "processes"


def of_seed(seed: int) -> list[str]:
    return ["--set", f"seed={seed}"]


def trained(seed: int, layout: str) -> Path:
    """The run folder of a seed in a layout, to its end."""
    start, folder = begun(seed), WORK / f"{layout}-{seed}"
    if not (folder / "processes").exists():
        shutil.copytree(start, folder / "processes")
    run(RECIPE, folder, [*of_seed(seed), *options(layout)])
    return folder / "processes"


def measured(seed: int, layout: str) -> dict[str, Any]:
    """The figures of one run."""
    folder = trained(seed, layout)
    rows = METRICS.read(folder / "04-rl")[WARM_UP:]
    seconds = [row["step_time"] for row in rows]
    waits = {name: median(row.get(name, 0.0) for row in rows) for name in WAITS}
    return {
        "seconds_per_step": median(seconds),
        "score": score(folder, "rl"),
        "score_before": score(folder, "sft"),
        "largest_gap": max(row.get(name, 0.0) for row in rows for name in GAPS),
        "sync_share": median(row["time/sync"] / row["step_time"] for row in rows),
        "waits": waits,
        "effective_share": min(row.get("importance/effective_share", 1.0) for row in rows),
        "by_step": [
            {name.removeprefix("time/"): round(row.get(name, 0.0), 3) for name in WAITS}
            for row in rows
        ],
    }


def score(folder: Path, stage: str) -> float:
    """The score of a stage's checkpoint on the final part of the held-out prompts."""
    return float(final_scores(folder / "evals" / stage)["held_out"]["score"])


def same_groups(seed: int) -> dict[str, Any]:
    """How many groups of the first step two servers sample as one does: same prompts, same
    tokens."""
    one, two = (
        [row for row in read_json_lines(GROUPS.path(folder / "04-rl")) if row["step"] == 0]
        for folder in (trained(seed, "B"), trained(seed, "C"))
    )
    same = sum(a == b for a, b in zip(one, two, strict=True))
    return {"groups": len(one), "same": same}


def summary(found: dict[tuple[int, str], dict[str, Any]]) -> dict[str, Any]:
    """What a reader looks for."""
    layouts = {}
    for layout in DEVICES:
        runs = [figures for (_, name), figures in found.items() if name == layout]
        seconds = [figures["seconds_per_step"] for figures in runs]
        layouts[layout] = {
            "seconds_per_step": {
                "median": median(seconds),
                "low": min(seconds),
                "high": max(seconds),
            },
            "score": fmean(figures["score"] for figures in runs),
            "scores": [figures["score"] for figures in runs],
            "score_before": fmean(figures["score_before"] for figures in runs),
            "largest_gap": max(figures["largest_gap"] for figures in runs),
            "sync_share": median(figures["sync_share"] for figures in runs),
            "waits": {name: median(figures["waits"][name] for figures in runs) for name in WAITS},
        }
    ratios = [
        found[seed, "B"]["seconds_per_step"] / found[seed, "D"]["seconds_per_step"]
        for seed in SEEDS
        if (seed, "D") in found
    ]
    return {"layouts": layouts, "overlap": interval(ratios)}


def table(figures: dict[str, Any]) -> str:
    """The layouts as a Markdown table, and the overlap below it."""
    names = "layout", "seconds a step", "score after, before", "largest gap", "sync", "rollouts"
    lines = [f"| {' | '.join(names)} | waited |", "| --- " * 7 + "|"]
    for name, one in figures["layouts"].items():
        seconds, waits = one["seconds_per_step"], one["waits"]
        cells = [
            name,
            f"{seconds['median']:.2f} [{seconds['low']:.2f}, {seconds['high']:.2f}]",
            f"{one['score']:.3f}, {one['score_before']:.3f}",
            f"{one['largest_gap']:.1e}",
            f"{one['sync_share']:.1%}",
            f"{waits['time/rollouts']:.2f} s",
            f"{waits['time/waited_for_rollouts']:.2f} s",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    overlap = figures["overlap"]
    ratio = f"{overlap['mean']:.2f} [{overlap['low']:.2f}, {overlap['high']:.2f}]"
    return "\n".join([*lines, "", f"B's seconds over D's: {ratio}"])


def main() -> None:
    results = Results("processes", "make bench-processes")
    found: dict[tuple[int, str], dict[str, Any]] = {}
    for seed in SEEDS:
        for layout in DEVICES:
            name = f"{layout}-{seed}"
            found[seed, layout] = results.part(name, CODE, lambda: measured(seed, layout))  # noqa: B023
        groups = results.part(f"groups-{seed}", CODE, lambda: same_groups(seed))  # noqa: B023
        results.write({**summary(found), "one_server_and_two": groups})
    print(table(summary(found)))


if __name__ == "__main__":
    main()

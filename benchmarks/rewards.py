"""RL with a graded reward against its binarised form, on one task with partial credit.

    make bench-rewards          # resumable: what is measured is not measured again

Arms differ in the reward's parts and in nothing else: with equal seeds they have the same prompts
and the same start. An arm is added by its parts in `ARMS`, such as those of a judge. All arms are
asked the same held-out prompts and measured by the same yardsticks: `score`, the share of full
scores, and `partial`, the mean partial credit, whatever reward an arm was trained with.
`results/rewards.json` has the means by arm, and the differences to `binary` paired by seed, with
95 % bootstrap intervals."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.curves import interval
from benchmarks.harness import ROOT, Results
from benchmarks.layouts import run
from common.artifacts import ANSWERS, HELD_OUT, METRICS
from evals.parts import FINAL, final_scores, part_of
from prompts.schema import read_prompts
from stages.grading import open_grader

Parts = Sequence[Mapping[str, Any]]
Figures = dict[str, Any]

RECIPE = ROOT / "benchmarks" / "recipes" / "rewards.yaml"
WORK = ROOT / "runs" / "bench-rewards"
SEEDS = (1, 2, 3, 4)
BASELINE = "binary"
ARMS: dict[str, Parts] = {
    BASELINE: [{"verifier": "reasoning_gym"}],
    "graded": [{"verifier": "reasoning_gym", "partial": True}],
}
"""The parts of the reward by arm."""
YARDSTICK = ARMS["graded"]
"""What `partial` is measured with."""
LAST = 10
"""Steps at the end whose figures are averaged."""
CODE = (
    *("curriculum", "prompts", "rewards", "rollouts", "stages/rl", "training", "models"),
    str(RECIPE.relative_to(ROOT)),
)
"""What a measurement depends on."""
FIGURES = ("score", "partial", "pass_rate", "mixed_share")


def options(seed: int, arm: str) -> list[str]:
    """The options of `uphill run` for an arm."""
    parts = json.dumps(ARMS[arm])
    return ["--set", f"seed={seed}", "--set", f"prompts.0.rewards={parts}"]


def measured(seed: int, arm: str) -> Figures:
    """The figures of one run."""
    work = WORK / f"{arm}-{seed}"
    run(RECIPE, work, options(seed, arm))
    folder = work / "rewards"
    rows = METRICS.read(folder / "04-rl")
    return {
        "score": score(folder, "rl"),
        "score_before": score(folder, "sft"),
        "partial": partial_credit(folder, "rl"),
        "partial_before": partial_credit(folder, "sft"),
        "pass_rate": fmean(row["pass_rate"] for row in rows[-LAST:]),
        "mixed_share": fmean(row["mixed_share"] for row in rows),
        "tokens_generated": rows[-1]["tokens_generated_total"],
        "pass_rate_by_step": [round(row["pass_rate"], 4) for row in rows],
    }


def score(folder: Path, stage: str) -> float:
    """The score of a stage's checkpoint on the final part of the held-out prompts."""
    return float(final_scores(folder / "evals" / stage)["held_out"]["score"])


def partial_credit(folder: Path, stage: str) -> float:
    """The mean partial credit of a stage's checkpoint on the final part of the held-out prompts."""
    prompts = {
        prompt.id: replace(prompt, rewards=tuple(map(dict, YARDSTICK)))
        for prompt in read_prompts(HELD_OUT.path(folder / "01-prompts"))
    }
    rows = [row for row in ANSWERS.read(folder / "evals" / stage) if part_of(row["id"]) == FINAL]
    with open_grader() as grader:
        return fmean(grader(prompts[row["id"]], row["text"]).reward for row in rows)


def summary(found: Mapping[tuple[int, str], Figures]) -> Figures:
    """What a reader looks for; `found` is by seed and arm, and has the baseline of every seed."""
    arms, against = {}, {}
    for arm in dict.fromkeys(arm for _, arm in found):
        runs = {seed: figures for (seed, name), figures in found.items() if name == arm}
        arms[arm] = {
            name: interval([figures[name] for figures in runs.values()]) for name in FIGURES
        }
        arms[arm]["before"] = {
            name: fmean(figures[f"{name}_before"] for figures in runs.values())
            for name in ("score", "partial")
        }
        if arm != BASELINE:
            against[arm] = {
                name: interval([runs[seed][name] - found[seed, BASELINE][name] for seed in runs])
                for name in FIGURES
            }
    return {"arms": arms, f"less_{BASELINE}": against}


def table(figures: Figures) -> str:
    """The arms as a Markdown table, and below it their differences to the baseline."""
    lines = [f"| arm | {' | '.join(FIGURES)} |", "| --- " * (len(FIGURES) + 1) + "|"]
    differences = figures[f"less_{BASELINE}"]
    rows = {**figures["arms"]}
    rows |= {f"{arm} less {BASELINE}": differences[arm] for arm in differences}
    for name, one in rows.items():
        cells = [
            f"{one[f]['mean']:.3f} [{one[f]['low']:.3f}, {one[f]['high']:.3f}]" for f in FIGURES
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    before = figures["arms"][BASELINE]["before"]
    start = f"Before RL: score {before['score']:.3f}, partial {before['partial']:.3f}"
    return "\n".join([*lines, "", start])


def main() -> None:
    results = Results("rewards", "make bench-rewards")
    found: dict[tuple[int, str], Figures] = {}
    for seed in SEEDS:
        for arm in ARMS:
            found[seed, arm] = results.part(f"{arm}-{seed}", CODE, lambda: measured(seed, arm))  # noqa: B023
        results.write(summary(found))
    print(table(summary(found)))


if __name__ == "__main__":
    main()

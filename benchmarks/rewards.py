"""RL with a graded reward against its binarised form, and with the rewards of judges, on one task
with partial credit.

    make bench-rewards          # resumable: what is measured is not measured again

Arms differ in the reward's parts and in nothing else: with equal seeds they have the same prompts
and the same start. Two arms learn from a judge alone (`benchmarks/taught_judge.py`): one agrees
with the verifier, the other does not, and the report that RL writes before it trains has to say
so. All arms are asked the same held-out prompts and measured by the same yardsticks: `score`, the
share of full scores, and `partial`, the mean partial credit, whatever reward an arm was trained
with. `results/rewards.json` has the means by arm, and the differences to `binary` paired by seed,
with 95 % bootstrap intervals."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.curves import interval
from benchmarks.harness import ROOT, Results
from benchmarks.layouts import run
from benchmarks.taught_judge import ITEM, TASTES, taught
from common.artifacts import ANSWERS, HELD_OUT, METRICS, RESULTS, REWARD_AGREEMENT
from prompts.schema import read_prompts
from stages.grading import open_grader

Parts = Sequence[Mapping[str, Any]]
Figures = dict[str, Any]

RECIPE = ROOT / "benchmarks" / "recipes" / "rewards.yaml"
WORK = ROOT / "runs" / "bench-rewards"
SEEDS = (1, 2, 3, 4)
BASELINE = "binary"


def judged_by(taste: str) -> Parts:
    """A judge's reward; the verifier's is beside it to measure the judge, and trains nothing."""
    rubric = {"model": str(WORK / f"judge-{taste}"), "items": [{"item": ITEM}]}
    shown = {"show_reference": True, "max_model_len": 512}
    return [{"verifier": "reasoning_gym", "weight": 0}, {"verifier": "rubric", **rubric, **shown}]


ARMS: dict[str, Parts] = {
    BASELINE: [{"verifier": "reasoning_gym"}],
    "graded": [{"verifier": "reasoning_gym", "partial": True}],
    **{f"judge_{taste}": judged_by(taste) for taste in TASTES},
}
"""The parts of the reward by arm."""
YARDSTICK = ARMS["graded"]
"""What `partial` is measured with."""
LAST = 10
"""Steps at the end whose figures are averaged."""
JUDGES = ("benchmarks/taught_judge.py", "judges/texts")
CODE = (
    *("curriculum", "prompts", "rewards", "rollouts", "stages/rl", "training", "models"),
    *("judges", *JUDGES[:1], str(RECIPE.relative_to(ROOT))),
)
"""What a measurement depends on."""
FIGURES = ("score", "partial", "pass_rate", "mixed_share")


def options(seed: int, arm: str) -> list[str]:
    """The options of `uphill run` for an arm."""
    parts = json.dumps(ARMS[arm])
    half = ["--set", "stages.1.pass_at=0.5"] if arm.startswith("judge") else []
    return ["--set", f"seed={seed}", "--set", f"prompts.0.rewards={parts}", *half]


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
        **agreement(folder / "04-rl"),
    }


def agreement(folder: Path) -> Figures:
    """What RL said of its judge before it trained; nothing where there is none."""
    if not REWARD_AGREEMENT.path(folder).exists():
        return {}
    (said,) = REWARD_AGREEMENT.read(folder)
    return {"agreement": said["agreement"], "conclusion": said["conclusion"]}


def score(folder: Path, stage: str) -> float:
    """The held-out score of a stage's checkpoint."""
    suites = RESULTS.read(folder / "evals" / stage)["suites"]
    return float(suites["held_out"]["score"])


def partial_credit(folder: Path, stage: str) -> float:
    """The mean partial credit of the held-out answers of a stage's checkpoint."""
    prompts = {
        prompt.id: replace(prompt, rewards=tuple(map(dict, YARDSTICK)))
        for prompt in read_prompts(HELD_OUT.path(folder / "01-prompts"))
    }
    rows = ANSWERS.read(folder / "evals" / stage)
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
        said = {seed: figures.get("conclusion") for seed, figures in runs.items()}
        if any(said.values()):
            arms[arm]["conclusions"] = said
            arms[arm]["agreement"] = [figures["agreement"]["value"] for figures in runs.values()]
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
    said = [
        f"{arm}: {', '.join(one['conclusions'].values())} (prefers the better answer in"
        f" {', '.join(f'{100 * share:.0f} %' for share in one['agreement'])})"
        for arm, one in figures["arms"].items()
        if "conclusions" in one
    ]
    return "\n".join([*lines, "", start, *said])


def judge(taste: str) -> Figures:
    """Teach a judge; how often it is right by its own taste."""
    return {"right": taught(taste, WORK / f"judge-{taste}")}


def main() -> None:
    results = Results("rewards", "make bench-rewards")
    for taste in TASTES:
        results.part(f"judge-{taste}", JUDGES, lambda: judge(taste))  # noqa: B023
    found: dict[tuple[int, str], Figures] = {}
    for seed in SEEDS:
        for arm in ARMS:
            found[seed, arm] = results.part(f"{arm}-{seed}", CODE, lambda: measured(seed, arm))  # noqa: B023
        results.write(summary(found))
    print(table(summary(found)))


if __name__ == "__main__":
    main()

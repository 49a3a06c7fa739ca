"""RL with a graded reward against its binarised form, and with the rewards of judges, on one task
with partial credit.

    make bench-rewards          # resumable: what is measured is not measured again

The start of a seed is taught by demonstrations of mixed quality: it knows the task, and is unsure
of letters. Arms differ in the reward's parts and in nothing else: with equal seeds they have the
same prompts and the same start. Two arms learn from a judge alone (`benchmarks/taught_judge.py`):
one agrees with the verifier, the other does not, and the report that RL writes before it trains has
to say so. All arms are asked the same held-out prompts and measured by the same yardsticks,
whatever reward an arm was trained with: `score`, the mean probability of the reference answer,
which is the expected share of full scores at temperature 1, at which RL samples; `greedy`, the
share of full scores at temperature 0, and `partial`, its mean partial credit.
`results/rewards.json` has the means by arm, and the differences to `binary` paired by seed, with 95
% bootstrap intervals."""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.curves import interval
from benchmarks.harness import ROOT, Results
from benchmarks.held_out import probabilities
from benchmarks.layouts import run
from benchmarks.start import chosen, make_start, write_demonstrations
from benchmarks.taught_judge import ITEM, TASTES, taught
from common.artifacts import ANSWERS, CHECKPOINT, HELD_OUT, METRICS, REWARD_AGREEMENT
from common.files import read_json, write_json
from evals.parts import FINAL, final_scores, in_part, part_of
from prompts.schema import read_prompts
from stages.grading import open_grader

Parts = Sequence[Mapping[str, Any]]
Figures = dict[str, Any]

RECIPE = ROOT / "benchmarks" / "recipes" / "rewards.yaml"
WORK = ROOT / "runs" / "bench-rewards"
DEMONSTRATIONS = WORK / "demonstrations.jsonl"
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
DEMONSTRATED = (6000, 0.15)
"""Demonstrations, and the share of their letters that are drawn at random."""
RL_EXECUTION = {"rows_per_forward": 128, "save_every": 200}
"""As in the recipe; an adopted stage reads none."""
LAST = 10
"""Steps at the end whose figures are averaged."""
JUDGES = ("benchmarks/taught_judge.py", "judges/texts")
CODE = (
    *("curriculum", "prompts", "rewards", "rollouts", "stages/rl", "training", "models"),
    *("judges", *JUDGES[:1], str(RECIPE.relative_to(ROOT))),
)
"""What a measurement depends on."""
STAGES = {"sft": "03-sft", "rl": "04-rl"}
YARDSTICKS = ("score", "greedy", "partial")
FIGURES = (*YARDSTICKS, "pass_rate", "mixed_share")


def options(seed: int, arm: str) -> list[str]:
    """The options of `uphill run` for an arm. All arms of a seed go on from one start."""
    settings: dict[str, Any] = {
        "seed": seed,
        "prompts.0.rewards": ARMS[arm],
        "stages.0": {"id": "sft", "kind": "adopt", "folder": str(start(seed))},
        "runtime.stages": {"rl": RL_EXECUTION},
    }
    if arm != BASELINE:
        settings["evaluate.after"] = ["rl"]
    if arm.startswith("judge"):
        settings["stages.1.pass_at"] = 0.5
    return chosen(settings)


def start(seed: int) -> Path:
    """The stage that the arms of a seed start from."""
    return WORK / f"start-{seed}" / "rewards" / "03-sft"


def work(seed: int, arm: str) -> Path:
    """The run of an arm."""
    return WORK / f"{arm}-{seed}" / "rewards"


def measured(seed: int, arm: str) -> Figures:
    """The figures of one run."""
    folder = work(seed, arm)
    run(RECIPE, folder.parent, options(seed, arm))
    rows = METRICS.read(folder / "04-rl")
    return {
        **yardsticks(folder, "rl"),
        **(before(seed) if arm == BASELINE else {}),
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


def before(seed: int) -> Figures:
    """The yardsticks of the start, which the baseline's run evaluates."""
    return {f"{k}_before": v for k, v in yardsticks(work(seed, BASELINE), "sft").items()}


def yardsticks(folder: Path, stage: str) -> Figures:
    return {
        "score": score(folder, stage),
        "greedy": greedy(folder, stage),
        "partial": partial_credit(folder, stage),
    }


def score(folder: Path, stage: str) -> float:
    """The mean probability that a stage's checkpoint gives the held-out reference answers of the
    final part."""
    prompts = in_part(read_prompts(HELD_OUT.path(folder / "01-prompts")), FINAL)
    return fmean(probabilities(CHECKPOINT.path(folder / STAGES[stage]), prompts))


def greedy(folder: Path, stage: str) -> float:
    """The share of the final part that a stage's checkpoint answers right at temperature 0."""
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
    arms: dict[str, Figures] = {}
    against: dict[str, Figures] = {}
    for arm in dict.fromkeys(arm for _, arm in found):
        runs = {seed: figures for (seed, name), figures in found.items() if name == arm}
        arms[arm] = {
            name: interval([figures[name] for figures in runs.values()]) for name in FIGURES
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
    starts = [figures for (_, arm), figures in found.items() if arm == BASELINE]
    started = {name: interval([one[f"{name}_before"] for one in starts]) for name in YARDSTICKS}
    return {"before": started, "arms": arms, f"less_{BASELINE}": against}


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
    started = figures["before"]
    start = "Before RL: " + ", ".join(f"{name} {started[name]['mean']:.3f}" for name in YARDSTICKS)
    said = [
        f"{arm}: {', '.join(one['conclusions'].values())} (prefers the better answer in"
        f" {', '.join(f'{100 * share:.0f} %' for share in one['agreement'])})"
        for arm, one in figures["arms"].items()
        if "conclusions" in one
    ]
    return "\n".join([*lines, "", start, *said])


def judge(taste: str) -> Figures:
    """Teach a judge, unless it is there; how often it is right by its own taste."""
    folder = WORK / f"judge-{taste}"
    done = folder / "right.json"
    if not done.is_file():
        write_json(done, {"right": taught(taste, folder)})
    figures: Figures = read_json(done)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("part", choices=("demonstrations", "judges", "arms", "summary"))
    parser.add_argument("--share", default="0/1", help="0/2 and 1/2: every other seed or judge")
    arguments = parser.parse_args()
    place, of = map(int, arguments.share.split("/"))
    if arguments.part == "demonstrations":
        write_demonstrations(RECIPE, DEMONSTRATIONS, [DEMONSTRATED])
    elif arguments.part == "judges":
        for taste in list(TASTES)[place::of]:
            print(taste, judge(taste), flush=True)
    elif arguments.part == "arms":
        for seed in SEEDS[place::of]:
            make_start(RECIPE, start(seed).parents[1], seed, DEMONSTRATIONS)
            for arm in ARMS:
                print(seed, arm, json.dumps(measured(seed, arm)), flush=True)
    else:
        write()


def write() -> None:
    """Write `results/rewards.json` from the finished runs, and print the table."""
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

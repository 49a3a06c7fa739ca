"""Does each stage earn its place? What a cut by the judge, a light SFT and a light DPO do to a
policy, all else equal.

    make bench-stages    # paired seeds; interrupted, it goes on with the next arm

An arm is a chain of steps from one start over one pool of prompts (`benchmarks/stage_pools.py`),
written as a path: `mostly_solved/light_sft/rl/dpo`. Arms with equal seeds differ in what their
names say and in nothing else, and share the steps that they begin with. `score` is the mean
probability of the reference answer over held-out prompts: the pass rate at temperature 1 without
the noise of sampling.

- Cuts: RL on what is left of a pool after the easiest prompts of every capability are dropped: by
  the judge (SmolLM2), at random, or by a judge that knows the start's pass rates. Compared at equal
  generated tokens, with plain GRPO (`uniform_rl`) and with the curriculum `posterior` (`rl`), which
  leaves easy prompts out by itself.
- SFT: light (the half that the judge keeps, stopped by probes) against heavy (all prompts, 4 times
  the epochs), and none.
- DPO: after RL, before RL, not at all; light and heavy."""

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks import stage_pools, stage_steps
from benchmarks.curriculum_settings import SETTINGS
from benchmarks.harness import RESULTS, commit, machine, markdown
from benchmarks.stage_claims import (
    CHAINS,
    CUTS,
    MAIN,
    POOLS,
    Found,
    arm_table,
    beginnings,
    claim_table,
    plot,
    summary,
)
from common.artifacts import PROMPTS
from common.files import read_json, write_json
from prompts.schema import read_prompts

SEEDS = 6


def finished() -> Found:
    """The figures of every step that was run."""
    arms = list(dict.fromkeys(arm for chain in CHAINS for arm in beginnings(chain)))
    done = {(arm, seed): stage_steps.folder(arm, seed) for arm in arms for seed in range(SEEDS)}
    return {key: read_json(path / "done.json") for key, path in done.items() if _is_done(path)}


def _is_done(path: Path) -> bool:
    return (path / "done.json").is_file()


def curricula(axis: str) -> dict[str, Any]:
    """How many times less of `axis` the curriculum `posterior` took to uniform's final score, by
    model and by what it is held against; of the settings that `benchmarks.curves` has written."""
    by_model: dict[str, Any] = {}
    for model, setting in (("nano", SETTINGS[MAIN]), ("smollm2", SETTINGS["smollm2"])):
        path = RESULTS / f"{setting.name}.json"
        if not path.is_file():
            continue
        ratios = read_json(path)["ratios"]
        names = {one: f"{axis}_{one}_over_posterior" for one in ("uniform", "dynamic_sampling")}
        by_model[model] = {one: ratios[name] for one, name in names.items() if name in ratios}
    return by_model


def cut_table(found: Found) -> list[list[str]]:
    """What each cut keeps of a pool, by how hard it is for the start; of the first seed."""
    rows = [["pool", "cut", *stage_pools.ASKED, "judge's AUC in the audit"]]
    for arm, seed in found:
        pool, *steps = arm.split("/")
        if seed == 0 and len(steps) == 1 and steps[0] in CUTS:
            kept = read_prompts(PROMPTS.path(stage_steps.folder(arm, seed)))
            counts = Counter(map(stage_pools.difficulty, kept))
            auc = f"{stage_steps.judged(pool)['audit/auc']:.2f}" if "judge" in steps[0] else ""
            rows.append([pool, steps[0], *(str(counts[name]) for name in stage_pools.ASKED), auc])
    return rows


def write() -> None:
    found = finished()
    figures = summary(found) | {axis: curricula(axis) for axis in ("tokens", "seconds")}
    head = {"command": "make bench-stages", "commit": commit(), "machine": machine()}
    write_json(RESULTS / "stages.json", {**head, **figures})
    plot(figures["claims"], RESULTS / "stages.png")
    print(markdown(claim_table(figures["claims"])))
    print(markdown(arm_table(figures["arms"])))
    print(markdown(cut_table(found)))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("part", choices=("start", "judge", "arms", "summary"))
    parser.add_argument("--share", default="0/1", help="0/2 and 1/2: every other seed or pool")
    arguments = parser.parse_args()
    place, of = map(int, arguments.share.split("/"))
    if arguments.part == "start":
        stage_pools.make()
    elif arguments.part == "judge":
        for pool in POOLS[place::of]:
            stage_steps.judge(pool)
    elif arguments.part == "summary":
        write()
    else:
        steps = stage_steps.Steps()
        for seed in range(SEEDS)[place::of]:
            for chain in CHAINS:
                for arm in beginnings(chain):
                    done = steps.run(arm, seed)
                print(
                    chain, seed, json.dumps({k: done[k] for k in done if k != "curve"}), flush=True
                )


if __name__ == "__main__":
    main()

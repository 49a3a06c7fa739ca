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
  generated tokens.
- SFT: light (the half that the judge keeps, stopped by probes) against heavy (all prompts, 4 times
  the epochs), and none.
- DPO: after RL, before RL, not at all; light and heavy."""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import stage_pools, stage_steps
from benchmarks.curriculum_settings import SETTINGS
from benchmarks.curves import interval
from benchmarks.harness import RESULTS, commit, machine
from common.files import read_json, write_json

Found = Mapping[tuple[str, int], Mapping[str, Any]]
"""Figures by arm and seed."""

SEEDS = 6
CUTS = tuple(f"cut-{who}-{share}" for share in (50, 80) for who in ("judge", "random", "perfect"))
POOLS = tuple(stage_pools.MIXES)
MAIN = POOLS[0]
LIGHT = f"{MAIN}/cut-judge-50/light_sft"
HEAVY = f"{MAIN}/heavy_sft"
CHAINS = (
    *(f"{pool}/{cut}rl" for pool in POOLS for cut in ("", *(f"{one}/" for one in CUTS))),
    *(f"{LIGHT}/rl", f"{HEAVY}/rl"),
    *(f"{LIGHT}/rl/dpo", f"{LIGHT}/rl/heavy_dpo", f"{LIGHT}/sampled/dpo/rl"),
)
"""Every arm; the others are their beginnings."""


def claims() -> list[tuple[str, str, str, str]]:
    """Name, arm, the arm it is held against, and the figure that is compared."""
    cuts = [
        (f"{cut} on {pool}", f"{pool}/{cut}/rl", f"{pool}/rl", "at_equal_tokens")
        for pool in POOLS
        for cut in CUTS
    ]
    against_random = [
        (
            f"judge's cut of {share} % against a random one on {pool}",
            f"{pool}/cut-judge-{share}/rl",
            f"{pool}/cut-random-{share}/rl",
            "at_equal_tokens",
        )
        for pool in POOLS
        for share in (50, 80)
    ]
    return [
        *cuts,
        *against_random,
        ("light SFT against heavy, before RL", LIGHT, HEAVY, "score"),
        ("light SFT against heavy, after RL", f"{LIGHT}/rl", f"{HEAVY}/rl", "score"),
        ("light SFT against heavy: entropy before RL", LIGHT, HEAVY, "entropy"),
        ("light SFT against heavy: pass@8 before RL", LIGHT, HEAVY, "pass_8"),
        ("RL after light SFT against RL without SFT", f"{LIGHT}/rl", f"{MAIN}/rl", "score"),
        ("RL after light SFT against light SFT alone", f"{LIGHT}/rl", LIGHT, "score"),
        ("DPO after RL against none", f"{LIGHT}/rl/dpo", f"{LIGHT}/rl", "score"),
        ("heavy DPO after RL against none", f"{LIGHT}/rl/heavy_dpo", f"{LIGHT}/rl", "score"),
        ("DPO before RL against none", f"{LIGHT}/sampled/dpo/rl", f"{LIGHT}/rl", "score"),
        (
            "DPO after RL against before RL",
            f"{LIGHT}/rl/dpo",
            f"{LIGHT}/sampled/dpo/rl",
            "score",
        ),
    ]


def beginnings(chain: str) -> list[str]:
    """A chain's arms: itself and what it begins with, the pool left out."""
    steps = chain.split("/")
    return ["/".join(steps[:end]) for end in range(2, len(steps) + 1)]


def at_equal_tokens(found: Found, arms: Sequence[str], seed: int) -> dict[str, float]:
    """The score of each arm that ends with RL, when it had generated as many tokens as the most
    economical of them at its end."""
    curves = {arm: found[arm, seed]["curve"] for arm in arms}
    budget = min(curve[-1]["tokens"] for curve in curves.values())
    return {
        arm: float(np.interp(budget, [p["tokens"] for p in curve], [p["score"] for p in curve]))
        for arm, curve in curves.items()
    }


def summary(found: Found) -> dict[str, Any]:
    """The claims whose arms were run with equal seeds, and the means of every arm."""
    lines = []
    for name, arm, against, figure in claims():
        seeds = [seed for a, seed in found if a == arm and (against, seed) in found]
        if not seeds:
            continue
        differences = [difference(found, arm, against, figure, seed) for seed in seeds]
        setting = f"nano, {arm.split('/')[0]}"
        line = {"name": name, "arm": arm, "against": against, "setting": setting}
        lines.append(line | {"figure": figure, "seeds": len(seeds), **interval(differences)})
    arms = {}
    for arm in dict.fromkeys(arm for arm, _ in found):
        runs = [figures for (a, _), figures in found.items() if a == arm]
        names = [name for name, value in runs[0].items() if isinstance(value, float)]
        arms[arm] = {name: interval([one[name] for one in runs]) for name in names}
    return {"claims": lines, "arms": arms}


def difference(found: Found, arm: str, against: str, figure: str, seed: int) -> float:
    if figure == "at_equal_tokens":
        scores = at_equal_tokens(found, (arm, against), seed)
        return scores[arm] - scores[against]
    return float(found[arm, seed][figure] - found[against, seed][figure])


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


def write() -> None:
    figures = summary(finished()) | {axis: curricula(axis) for axis in ("tokens", "seconds")}
    head = {"command": "make bench-stages", "commit": commit(), "machine": machine()}
    write_json(RESULTS / "stages.json", {**head, **figures})
    for claim in figures["claims"]:
        shown = "{name}: {mean:+.4f} [{low:+.4f}, {high:+.4f}] ({figure}, {seeds} seeds)"
        print(shown.format(**claim))


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

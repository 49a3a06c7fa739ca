"""The kinds of curriculum on one pool of prompts: what a generated token teaches, and a second.

    make bench-curriculum           # six kinds, 6 seeds, two pools, four parts left out; resumes
    make bench-curriculum-smollm2   # three kinds, 3 seeds

Every arm trains the same start on the same prompts for the same number of optimiser steps, with
paired seeds, and is asked the same held-out prompts along the way: `score` is the mean probability
of the reference answer, which is the pass rate at temperature 1 (what GRPO maximises) without the
noise of sampling; `pass_1` is that pass rate from rollouts, `greedy_pass_1` the one at temperature
0 (both at the end, as a check). Probes and pilots count as generated tokens; held-out evaluations
do not, nor does their time.

Figures, for pairs of arms with the same seed (`benchmarks/curves.py`): generated tokens, and
seconds, until the final held-out score of uniform GRPO; mean over seeds with a 95 % bootstrap
interval."""

import argparse
import json
from pathlib import Path

from benchmarks.curriculum_settings import ARMS, SETTINGS, Material, Setting
from benchmarks.harness import commit
from benchmarks.measured_rl import train
from common.files import read_json_lines, write_json
from common.seeds import derive
from rollouts.engine import Engine


def run(engine: Engine, setting: Setting, arm: str, seed: int, material: Material) -> Path:
    """Train one arm with one seed; the folder with `curve.jsonl`, `metrics.jsonl` and, in the end,
    `done.json`."""
    folder = setting.work / "arms" / f"{arm}-{seed}"
    if (folder / "done.json").exists():
        return folder
    config, yardstick = setting.stage(ARMS[arm]), material.yardstick
    collector = train(
        engine,
        config,
        material.checkpoint,
        material.pool,
        yardstick,
        setting.every,
        folder,
        derive(seed, "bench"),
    )
    lines = read_json_lines(folder / "curve.jsonl")
    lines[-1] |= yardstick.sampled(engine, setting.samples, 1.0, setting.max_tokens)
    greedy = yardstick.sampled(engine, 1, 0.0, setting.max_tokens)
    lines[-1] |= {f"greedy_{name}": value for name, value in greedy.items() if "pass" in name}
    write_json(folder / "calibration.json", collector.curriculum.accounting.to_json())
    done = {"commit": commit(), "curriculum": ARMS[arm], "last": lines[-1]}
    write_json(folder / "done.json", done)
    return folder


def runs(setting: Setting) -> list[tuple[int, str]]:
    """Every seed and arm, in the order to run them."""
    whole = [(seed, arm) for seed in range(setting.seeds) for arm in setting.arms]
    return whole + [(seed, arm) for seed in range(setting.seeds // 2) for arm in setting.left_out]


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--setting", choices=SETTINGS, default="mostly_solved")
    arguments.add_argument(
        "--share", default="0/1", help="0/2 and 1/2: every other run, for two processes"
    )
    chosen = arguments.parse_args()
    setting = SETTINGS[chosen.setting]
    place, of = map(int, chosen.share.split("/"))
    material = setting.material()
    engine = Engine(material.checkpoint, setting.stage(ARMS["uniform"]).rollouts, 0)
    for number, (seed, arm) in enumerate(runs(setting)):
        if number % of == place:
            folder = run(engine, setting, arm, seed, material)
            last = read_json_lines(folder / "curve.jsonl")[-1]
            print(f"{arm} {seed}: {json.dumps(last)}", flush=True)


if __name__ == "__main__":
    main()

"""The five kinds of curriculum on one pool of prompts: what a generated token teaches.

    make bench-curriculum           # five kinds, 8 seeds, four parts left out; resumes
    make bench-curriculum-smollm2   # uniform against posterior, 3 seeds

Every arm trains the same start (taught a part of the pool's spread by SFT) on the same prompts for
the same number of optimiser steps, with paired seeds, and is asked the same held-out prompts along
the way: `score` is the mean probability of the reference answer, which is the pass rate at
temperature 1 (what GRPO maximises) without the noise of sampling; `sampled` is that pass rate from
rollouts, `greedy` the one at temperature 0 (both at the end, as a check). Probes and pilots count
as generated tokens; held-out evaluations do not, nor does their time.

Figures, for pairs of arms with the same seed (`benchmarks/curves.py`): generated tokens, and
seconds, until the final held-out score of uniform GRPO; mean over seeds with a 95 % bootstrap
interval."""

import argparse
import json
import time
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.curriculum_settings import ARMS, SETTINGS, Material, Setting
from benchmarks.harness import commit
from benchmarks.held_out import answer_probabilities
from common.execution import ExecutionConfig
from common.files import append_json_line, read_json_lines, write_json
from common.seeds import derive
from common.stage import StageContext
from curriculum.ledger import Ledger
from curriculum.posterior import Beta
from curriculum.records import NewPrompt
from prompts.schema import Prompt
from rewards.grade import grade
from rewards.grader import Grader
from rollouts.engine import Engine
from stages.rl.ahead import StepRollouts
from stages.rl.collector import RolloutCollector, StepBatch
from stages.rl.leader import Leader
from stages.rl.recorder import StepRecorder
from stages.rl.run import build_trainer, probe_of
from training.loop import fit
from training.policy import Trained, load


class Measured(RolloutCollector):
    """Measures on the held-out prompts every so many steps, outside of the clock and of the token
    count."""

    def start(self, setting: Setting, held_out: list[Prompt], trained: Trained, path: Path) -> None:
        self.setting, self.held_out, self.policy, self.path = (
            setting,
            held_out,
            trained.policy,
            path,
        )
        self.asked = [self.engine.encode(prompt.messages) for prompt in held_out]
        end = trained.tokenizer.eos_token_id
        self.answers = [[*self.engine.encode_text(prompt.answer), end] for prompt in held_out]
        self.tokens, self.away, self.began = 0, 0.0, time.perf_counter()

    def collect(self, step: int, version: int | None = None) -> StepBatch:
        if step % self.setting.every == 0:
            self.measure(step)
        batch = super().collect(step, version)
        self.tokens += batch.tokens
        return batch

    def measure(self, step: int) -> None:
        """One point of the curve, with the policy that the engine holds."""
        now = time.perf_counter()
        point: dict[str, Any] = {
            "step": step,
            "tokens": self.tokens,
            "seconds": now - self.began - self.away,
        }
        point |= self.by_capability("score", self.probabilities())
        if step == self.setting.steps:
            point |= self.by_capability("sampled", self.right(1.0, self.setting.samples))
            point |= self.by_capability("greedy", self.right(0.0, 1))
        append_json_line(self.path, point)
        self.away += time.perf_counter() - now

    def by_capability(self, name: str, values: list[float]) -> dict[str, Any]:
        """The mean over the held-out prompts, and by capability."""
        parts: dict[str, list[float]] = {}
        for prompt, value in zip(self.held_out, values, strict=True):
            parts.setdefault(prompt.capability, []).append(value)
        return {
            name: fmean(values),
            f"{name}_by_capability": {part: fmean(parts[part]) for part in sorted(parts)},
        }

    def probabilities(self) -> list[float]:
        """Probability that the policy answers each held-out prompt with its reference answer and
        ends there."""
        return answer_probabilities(self.policy, self.asked, self.answers, self.setting.rows)

    def right(self, temperature: float, samples: int) -> list[float]:
        """Share of right answers among those sampled to each held-out prompt."""
        seeds = [derive(0, "held out", n) for n in range(len(self.asked))]
        answers = self.engine.generate(
            self.asked,
            samples=samples,
            temperature=temperature,
            max_tokens=self.setting.max_tokens,
            seeds=seeds,
        )
        return [
            fmean(grade(prompt, answer.text).correct for answer in group)
            for prompt, group in zip(self.held_out, answers, strict=True)
        ]


def run(
    engine: Engine,
    setting: Setting,
    arm: str,
    seed: int,
    material: Material,
) -> Path:
    """Train one arm with one seed; the folder with `curve.jsonl`, `metrics.jsonl` and, in the end,
    `done.json`."""
    pool, held_out, checkpoint = material
    folder = setting.work / "arms" / f"{arm}-{seed}"
    if (folder / "done.json").exists():
        return folder
    for left in folder.glob("*.jsonl"):
        left.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    config = setting.stage(arm)
    execution = ExecutionConfig(
        save_every=10 * setting.steps, rows_per_forward=setting.groups * setting.group_size
    )
    context = StageContext(
        folder,
        derive(seed, "bench"),
        lambda *_, **__: None,
        lambda: False,
        threads=2,
        execution=execution,
    )
    ledger = Ledger(None)
    ledger.add(
        NewPrompt(p.id, p.capability, p.source, Beta(1.0, 1.0), settings=p.difficulty) for p in pool
    )
    trained = load(config, checkpoint, context.seed)
    collector = Measured(
        config,
        {p.id: p for p in pool},
        ledger,
        engine,
        Grader(),
        context.seed,
        execution.rows_per_forward,
    )
    rollouts = StepRollouts(collector, ahead=0, steps=config.steps)
    leader = Leader(rollouts, StepRecorder(collector, context), 1)
    trainer = build_trainer(config, context, trained, leader, probe_of(collector))
    collector.start(setting, held_out, trained, folder / "curve.jsonl")
    fit(trainer, config, context, start=None, probe=[collector.asked[0]], shown=())
    trainer.publish()
    collector.measure(setting.steps)
    write_json(folder / "calibration.json", collector.curriculum.accounting.to_json())
    write_json(folder / "done.json", {"commit": commit(), "curriculum": ARMS[arm]})
    return folder


def runs(setting: Setting) -> list[tuple[int, str]]:
    """Every seed and arm, in the order to run them."""
    whole = [(seed, arm) for seed in range(setting.seeds) for arm in setting.arms]
    return whole + [(seed, arm) for seed in range(setting.seeds // 2) for arm in setting.left_out]


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--setting", choices=SETTINGS, default="nano")
    arguments.add_argument(
        "--share", default="0/1", help="0/2 and 1/2: every other run, for two processes"
    )
    chosen = arguments.parse_args()
    setting = SETTINGS[chosen.setting]
    place, of = map(int, chosen.share.split("/"))
    material = setting.material()
    engine = Engine(material[2], setting.stage("uniform").rollouts, 0)
    for number, (seed, arm) in enumerate(runs(setting)):
        if number % of == place:
            folder = run(engine, setting, arm, seed, material)
            last = read_json_lines(folder / "curve.jsonl")[-1]
            print(f"{arm} {seed}: {json.dumps(last)}", flush=True)


if __name__ == "__main__":
    main()

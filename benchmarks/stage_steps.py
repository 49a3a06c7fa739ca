"""The steps of the arms of `benchmarks/stages.py`: each has a folder below that of the step before,
and is not run again once `done.json` is in it."""

import shutil
from collections import defaultdict
from collections.abc import Callable, Sequence
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import Any

from benchmarks import stage_pools
from benchmarks.curriculum_settings import HELD_OUT, POOL, SETTINGS
from benchmarks.harness import commit
from benchmarks.held_out import Yardstick, probabilities
from benchmarks.measured_rl import quiet, train
from common.artifacts import CHECKPOINT, GROUPS, PROMPTS, REASONS
from common.files import read_json, read_json_lines, write_json
from common.seeds import derive
from models.adapters import policy_weights
from models.checkpoint import load_policy
from prompts.schema import Prompt, read_prompts, write_prompts
from rollouts.engine import Engine
from stages.dpo.config import DpoStage
from stages.dpo.run import run as dpo
from stages.judge_filter.config import JudgeFilterStage
from stages.judge_filter.run import run as judge_filter
from stages.rl.config import RlStage
from stages.sft.config import SftStage
from stages.sft.run import run as sft

WORK = stage_pools.WORK
SAMPLES = 8
NANO = SETTINGS["mostly_solved"]
STEPS = {"rl": 16, "uniform_rl": NANO.steps, "sampled": 10}
"""Optimiser steps by the name of the step: with the curriculum `posterior`, which learns faster and
generates more tokens a step, and with plain GRPO. `sampled` is RL that learns nothing, for its
groups."""
EVERY = 2
DONE = "done.json"
ROWS, SAVE = 64, 1000
"""Rows of a forward pass of SFT and DPO; steps between checkpoints, which nobody needs."""
FULL_SFT: dict[str, Any] = {"train": "full", "epochs": 2, "batch_size": 32, "learning_rate": 3e-4}
PROBES = {"every": 2, "limit": 64, "samples": 8, "max_tokens": 24, "patience": 2}
SFTS = {"light_sft": FULL_SFT | {"stop_when": PROBES}, "heavy_sft": FULL_SFT | {"epochs": 8}}
LIGHT_DPO: dict[str, Any] = {
    **{"train": "full", "pairs": "rl", "max_pairs": 128, "learning_rate": 2e-5},
}
DPOS = {"dpo": LIGHT_DPO, "heavy_dpo": LIGHT_DPO | {"max_pairs": 512, "learning_rate": 1e-4}}
EXAMPLES = {
    "numbers": [("gcd 12, 18", "6"), ("gcd 7, 21, 14", "7"), ("20 + 31 - 4 =", "47")],
    "letters": [("reverse stone", "enots"), ("swap cat, Two", "Two, cat")],
}
JUDGE = {
    "kind": "attempts",
    "model": "smollm2-135m-instruct",
    "max_tokens": 16,
    "examples": {
        name: [{"question": q, "answer": a} for q, a in tasks] for name, tasks in EXAMPLES.items()
    },
}
FILTER = JudgeFilterStage.model_validate(
    {
        **{"id": "filter", "kind": "judge_filter", "judges": [JUDGE], "drop_easiest": 0.5},
        "audit": {"prompts": 200, "max_tokens": NANO.max_tokens},
    }
)


def folder(arm: str, seed: int) -> Path:
    return WORK / "arms" / str(seed) / arm


def judge(pool: str) -> None:
    """Judge a pool once."""
    target = WORK / "judged" / pool
    if (target / "metrics.json").exists():
        return
    shutil.rmtree(target, ignore_errors=True)
    (target / "pool").mkdir(parents=True)
    write_prompts(PROMPTS.path(target / "pool"), stage_pools.pool(pool, POOL))
    inputs = {"prompts": target / "pool", "policy": stage_pools.start()}
    outputs = judge_filter(FILTER, inputs, quiet(target / "filter", 0, 64, 100))
    write_json(target / "metrics.json", outputs.metrics)


def judged(pool: str) -> dict[str, Any]:
    """The metrics of a pool's judge filter."""
    metrics: dict[str, Any] = read_json(WORK / "judged" / pool / "metrics.json")
    return metrics


def rl_config(name: str) -> RlStage:
    """The RL of a step."""
    kind = "uniform" if name == "uniform_rl" else "posterior"
    rate = {"learning_rate": 1e-12} if name == "sampled" else {}
    # A cut may leave nothing that can be learned: that is its result, and no end of the benchmark.
    curriculum = {"kind": kind, "empty_steps": STEPS[name] + 1}
    settings = NANO.stage(curriculum).model_dump(by_alias=True)
    return RlStage.model_validate(settings | {"steps": STEPS[name], **rate})


class Steps:
    """Runs steps, with one engine that takes the weights of all of them. A process has one engine
    at a time, so it is closed for steps that start their own."""

    def __init__(self) -> None:
        self._engine: Engine | None = None
        self.yardstick = Yardstick(
            stage_pools.held_out(HELD_OUT), stage_pools.checkpoint(), kind=stage_pools.difficulty
        )

    @property
    def engine(self) -> Engine:
        if self._engine is None:
            self._engine = Engine(stage_pools.checkpoint(), rl_config("rl").rollouts, 0)
        return self._engine

    def _close(self) -> None:
        if self._engine is not None:
            self._engine.close()
        self._engine = None

    def run(self, arm: str, seed: int) -> dict[str, Any]:
        """The figures of an arm's last step; the steps before it are there."""
        target = folder(arm, seed)
        if not (target / DONE).exists():
            shutil.rmtree(target, ignore_errors=True)
            target.mkdir(parents=True)
            # Equal seeds for equal steps, whatever comes before them.
            figures = self._figures(arm, target, derive(seed, target.name))
            write_json(target / DONE, {"commit": commit(), **figures})
        done: dict[str, Any] = read_json(target / DONE)
        return done

    def _figures(self, arm: str, target: Path, seed: int) -> dict[str, Any]:
        pool, name = arm.split("/")[0], arm.split("/")[-1]
        inputs = Inputs(target, pool)
        if name.startswith("cut-"):
            _, who, share = name.split("-")
            kept = cut(pool, who, Fraction(int(share), 100), seed)
            write_prompts(PROMPTS.path(target), kept)
            return {"prompts": len(kept)}
        curve: dict[str, Any] = {}
        if name in SFTS:
            self._close()
            teach(name, inputs, target, seed)
        elif name in DPOS:
            prefer(name, inputs, target, seed)
        else:
            curve = self._roll(name, inputs, target, seed)
        return curve | self._measured(CHECKPOINT.path(target))

    def _roll(self, name: str, inputs: "Inputs", target: Path, seed: int) -> dict[str, Any]:
        """RL on what the last cut kept."""
        config = rl_config(name)
        prompts = inputs.prompts()
        write_prompts(PROMPTS.path(target), prompts)
        start = CHECKPOINT.path(inputs.trained)
        train(self.engine, config, start, prompts, self.yardstick, EVERY, target, seed, keep=True)
        return {"curve": read_json_lines(target / "curve.jsonl")}

    def _measured(self, checkpoint: Path) -> dict[str, Any]:
        policy, yardstick = load_policy(checkpoint), self.yardstick
        self.engine.publish(policy_weights(policy), self.engine.version + 1)
        sampled = yardstick.sampled(self.engine, SAMPLES, 1.0, NANO.max_tokens)
        return {**yardstick.score(policy), **sampled}


class Inputs:
    """What a step finds in the folders of the steps before."""

    def __init__(self, target: Path, pool: str) -> None:
        before = list(target.parents)[: len(target.relative_to(WORK / "arms").parts) - 2]
        self.before, self.pool = before, pool

    @property
    def trained(self) -> Path:
        """The last stage with a checkpoint, or the start."""
        return self._last(CHECKPOINT.path) or stage_pools.start()

    @property
    def grouped(self) -> Path:
        """The last stage with groups of rollouts."""
        stage = self._last(GROUPS.path)
        assert stage is not None
        return stage

    def prompts(self) -> list[Prompt]:
        """What the last cut kept, or the pool."""
        stage = self._last(PROMPTS.path)
        return read_prompts(PROMPTS.path(stage)) if stage else stage_pools.pool(self.pool, POOL)

    def _last(self, path: Callable[[Path], Path]) -> Path | None:
        return next((stage for stage in self.before if path(stage).exists()), None)


def cut(pool: str, who: str, share: Fraction, seed: int) -> list[Prompt]:
    """The prompts of a pool without the easiest share of every capability."""
    prompts = stage_pools.pool(pool, POOL)
    ease = eases(pool, who, prompts)
    capabilities = defaultdict(list)
    for prompt in prompts:
        capabilities[prompt.capability].append(prompt)
    kept: list[Prompt] = []
    for members in capabilities.values():
        members.sort(key=lambda one: (-ease[one.id], derive(seed, "ties", one.id)))
        kept += members[floor(share * len(members)) :]
    return kept


def eases(pool: str, who: str, prompts: Sequence[Prompt]) -> dict[str, float]:
    """How easy each prompt is: for the judge, by chance, or for the start itself."""
    if who == "judge":
        path = REASONS.path(WORK / "judged" / pool / "filter")
        if not path.exists():
            raise SystemExit(f"{path}: no such file; run first: python -m benchmarks.stages judge")
        lines = read_json_lines(path)
        # Prompts that the judge set aside have no rank, and stay.
        return {one["id"]: -float(one["rank"] or len(lines)) for one in lines}
    if who == "random":
        return dict.fromkeys((one.id for one in prompts), 0.0)
    values = probabilities(stage_pools.checkpoint(), prompts)
    return dict(zip((one.id for one in prompts), values, strict=True))


def teach(name: str, inputs: Inputs, target: Path, seed: int) -> None:
    """SFT on the prompts with their reference answers."""
    source = target / "on"
    source.mkdir()
    write_prompts(PROMPTS.path(source), inputs.prompts())
    config = SftStage.model_validate({"id": "sft", "kind": "sft", "on": "filter", **SFTS[name]})
    folders = {"prompts": source, "checkpoint": inputs.trained, "held_out": stage_pools.prompts()}
    sft(config, folders, quiet(target, seed, ROWS, SAVE))


def prefer(name: str, inputs: Inputs, target: Path, seed: int) -> None:
    """DPO on the groups of the last rollouts."""
    config = DpoStage.model_validate({"id": "dpo", "kind": "dpo", "from": "rl", **DPOS[name]})
    trained = inputs.trained
    folders = {"pairs": inputs.grouped, "checkpoint": trained, "reference": trained}
    dpo(config, folders, quiet(target, seed, ROWS, SAVE))

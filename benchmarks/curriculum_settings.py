"""What the benchmark of curricula compares, on which models and pools."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import stage_pools
from benchmarks.harness import ROOT
from benchmarks.held_out import ROWS, Yardstick
from common.seeds import derive
from prompts.schema import Prompt, read_prompts
from rollouts.config import RolloutConfig
from stages.rl.config import RlStage

ARMS: dict[str, dict[str, Any]] = {
    "uniform": {"kind": "uniform"},
    "drop_zero_variance": {"kind": "drop_zero_variance"},
    "dynamic_sampling": {"kind": "dynamic_sampling"},
    "refilter": {"kind": "refilter", "refilter_every": 15},
    "gaussian": {"kind": "gaussian", "plateau_steps": 8},
    "posterior": {"kind": "posterior"},
    "without_prior": {"kind": "posterior", "prior": "judge"},
    "without_pilot": {"kind": "posterior", "pilot": 0},
    "without_probes": {"kind": "posterior", "probe_share": 0},
    "without_exploration": {"kind": "posterior", "explore": 1e-9},
}
"""The last four leave one part of `posterior` out; a prior without its kind is flat, as no judge
was asked here."""

KINDS = tuple(arm for arm in ARMS if not arm.startswith("without"))
MAIN_KINDS = ("uniform", "dynamic_sampling", "posterior")


@dataclass(frozen=True)
class Material:
    """What an arm is trained on and measured with."""

    pool: list[Prompt]
    yardstick: Yardstick
    checkpoint: Path


@dataclass(frozen=True)
class Setting:
    """One model with its pool, and how it is trained and asked."""

    name: str
    """Of the result files."""
    material: Callable[[], Material]
    """Reads what `uphill run` of a recipe wrote."""
    arms: tuple[str, ...]
    seeds: int
    left_out: tuple[str, ...]
    """Arms that leave a part of `posterior` out, with the first half of the seeds."""
    samples: int
    """Answers sampled to each held-out prompt at the end."""
    steps: int
    every: int
    """Steps between points of the curve."""
    groups: int
    max_tokens: int
    learning_rate: float
    train: str
    group_size: int = 8

    @property
    def work(self) -> Path:
        return ROOT / "runs" / f"bench-{self.name}"

    def stage(self, curriculum: dict[str, Any]) -> RlStage:
        return RlStage.model_validate(
            {
                "id": "rl",
                "kind": "rl",
                "from": "sft",
                "on": "prompts",
                "train": self.train,
                "steps": self.steps,
                "prompts_per_step": self.groups,
                "group_size": self.group_size,
                "max_tokens": self.max_tokens,
                "cut_off": "zero",
                "learning_rate": self.learning_rate,
                "curriculum": curriculum,
                "rollouts": RolloutConfig(max_model_len=128).model_dump(),
            }
        )


def mixed(mix: str) -> Material:
    """A pool of `benchmarks/stage_pools.py`."""
    start = stage_pools.checkpoint()
    held_out = stage_pools.held_out(HELD_OUT)
    yardstick = Yardstick(held_out, start, ROWS, stage_pools.difficulty)
    return Material(stage_pools.pool(mix, POOL), yardstick, start)


def smollm2() -> Material:
    """The pool of `benchmarks/recipes/curriculum-smollm2.yaml`."""
    stages = ROOT / "runs" / "bench-curriculum-smollm2" / "start" / "bench-curriculum-smollm2"
    pool = read_prompts(stages / "01-prompts" / "prompts.parquet")
    held = read_prompts(stages / "01-prompts" / "held_out.parquet")
    held.sort(key=lambda prompt: derive(0, "held out", prompt.id))
    pool.sort(key=lambda prompt: derive(0, "pool", prompt.id))
    start = stages / "03-sft" / "checkpoint"
    return Material(pool[:1200], Yardstick(held[:160], start, rows=16), start)


POOL, HELD_OUT = 1200, 500
NANO: dict[str, Any] = {
    "arms": KINDS,
    "seeds": 6,
    "left_out": tuple(arm for arm in ARMS if arm not in KINDS),
    "samples": 1,
    "steps": 30,
    "every": 3,
    "groups": 16,
    "max_tokens": 24,
    "learning_rate": 1.5e-4,
    "train": "full",
}
FEWER: dict[str, Any] = NANO | {"arms": MAIN_KINDS, "left_out": ()}
SETTINGS = {
    "mostly_solved": Setting("curriculum-mostly-solved", lambda: mixed("mostly_solved"), **NANO),
    "mostly_out_of_reach": Setting(
        "curriculum-mostly-out-of-reach", lambda: mixed("mostly_out_of_reach"), **FEWER
    ),
    "smollm2": Setting(
        "curriculum-smollm2",
        smollm2,
        arms=MAIN_KINDS,
        seeds=3,
        left_out=(),
        samples=1,
        steps=16,
        every=4,
        groups=12,
        max_tokens=20,
        learning_rate=1.5e-4,
        train="lora",
    ),
}

"""What the benchmark of curricula compares, on which models and pools."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.harness import ROOT
from common.seeds import derive
from prompts.schema import Prompt, read_prompts
from rollouts.config import RolloutConfig
from stages.rl.config import RlStage

ARMS: dict[str, dict[str, Any]] = {
    "uniform": {"kind": "uniform"},
    "drop_zero_variance": {"kind": "drop_zero_variance"},
    "dynamic_sampling": {"kind": "dynamic_sampling"},
    "refilter": {"kind": "refilter", "refilter_every": 30},
    "gaussian": {"kind": "gaussian", "plateau_steps": 15},
    "posterior": {"kind": "posterior"},
    "without_prior": {"kind": "posterior", "prior": "judge"},
    "without_pilot": {"kind": "posterior", "pilot": 0},
    "without_review": {"kind": "posterior", "probe_share": 0, "retire_above": 0.999},
    "without_exploration": {"kind": "posterior", "explore": 1e-9},
}
"""The last four leave one part of `posterior` out; a prior without its kind is flat, as no judge
was asked here."""

KINDS = tuple(arm for arm in ARMS if not arm.startswith("without"))

Material = tuple[list[Prompt], list[Prompt], Path]
"""The pool, the held-out prompts, the start's checkpoint."""


@dataclass(frozen=True)
class Setting:
    """One model with its pool, and how it is trained and asked."""

    name: str
    """Of the recipe that makes the start, in benchmarks/recipes/, and of the folder below runs/."""
    arms: tuple[str, ...]
    seeds: int
    left_out: tuple[str, ...]
    """Arms that leave a part of `posterior` out, with the first half of the seeds."""
    pool: int
    held_out: int
    samples: int
    """Answers sampled to each held-out prompt at the end."""
    steps: int
    every: int
    """Steps between points of the curve."""
    groups: int
    max_tokens: int
    learning_rate: float
    train: str
    rows: int
    """Held-out prompts in one forward pass."""
    group_size: int = 8

    @property
    def work(self) -> Path:
        return ROOT / "runs" / f"bench-{self.name}"

    def stage(self, arm: str) -> RlStage:
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
                "curriculum": ARMS[arm],
                "rollouts": RolloutConfig(max_model_len=128).model_dump(),
            }
        )

    def material(self) -> Material:
        """Reads what `uphill run` of the recipe wrote."""
        stages = self.work / "start" / f"bench-{self.name}"
        pool = read_prompts(stages / "01-prompts" / "prompts.parquet")
        held = read_prompts(stages / "01-prompts" / "held_out.parquet")
        held.sort(key=lambda prompt: derive(0, "held out", prompt.id))
        pool.sort(key=lambda prompt: derive(0, "pool", prompt.id))
        return pool[: self.pool], held[: self.held_out], stages / "03-sft" / "checkpoint"


SETTINGS = {
    "nano": Setting(
        "curriculum",
        arms=KINDS,
        seeds=8,
        left_out=tuple(arm for arm in ARMS if arm not in KINDS),
        pool=3000,
        held_out=800,
        samples=1,
        steps=60,
        every=6,
        groups=16,
        max_tokens=16,
        learning_rate=1e-4,
        train="full",
        rows=400,
    ),
    "smollm2": Setting(
        "curriculum-smollm2",
        arms=("uniform", "posterior"),
        seeds=3,
        left_out=(),
        pool=1200,
        held_out=160,
        samples=1,
        steps=16,
        every=4,
        groups=12,
        max_tokens=20,
        learning_rate=1.5e-4,
        train="lora",
        rows=16,
    ),
}

"""The names of figures in trackers: those that TRL's users know where TRL has the same figure, our
own elsewhere.

`metrics.jsonl` keeps our names. SFT and DPO log TRL's names already."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

STEP = "step"
RENAMED = {
    "cut_off_share": "completions/clipped_ratio",
    "parity/rollout_gap": "sampling/sampling_logp_difference/mean",
    "parity/largest_gap": "sampling/sampling_logp_difference/max",
    "importance/ratio": "sampling/importance_sampling_ratio/mean",
}
"""Ours to TRL's."""
PART = "reward/"
"""Before the label of a part of the reward, whose mean TRL calls `rewards/<label>/mean`."""
MIXED, SURPLUS = "mixed_share", "curriculum/tokens/surplus"
"""The share of groups that were trained on, and whether there are groups with a spread that were
not: then TRL's `frac_reward_zero_std` is unknown."""


def numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Those of the values that are finite numbers."""
    return {
        name: value
        for name, value in values.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    }


def curve_values(row: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """The figures of a line of `metrics.jsonl`, by the names that trackers get."""
    known = numbers(row)
    named = {_name(name): value for name, value in known.items() if name != STEP}
    if known.get("rollouts"):
        named["completions/mean_length"] = known["tokens_generated"] / known["rollouts"]
    if MIXED in known and not known.get(SURPLUS):
        named["frac_reward_zero_std"] = 1.0 - known[MIXED]
    return {f"{prefix}{name}": value for name, value in named.items()}


def _name(name: str) -> str:
    if name.startswith(PART):
        return f"rewards/{name.removeprefix(PART)}/mean"
    return RENAMED.get(name, name)


def summary_values(record: Mapping[str, Any]) -> dict[str, float]:
    """The figures of a stage's record."""
    cost = ("seconds", "attempts", "peak_memory_mib", "tokens_generated", "tokens_trained")
    figures = {**record.get("metrics", {}), **{name: record.get(name) for name in cost}}
    return {f"summary/{name}": value for name, value in numbers(figures).items()}


def evaluation_values(folder: Path) -> dict[str, float]:
    """The scores of a finished evaluation by suite: those of the final part, and below `dev` those
    of the dev part."""
    from evals.parts import dev_scores, final_scores

    parts = {"": final_scores(folder), "dev/": dev_scores(folder).suites}
    return {
        f"eval/{suite}/{part}{name}": value
        for part, suites in parts.items()
        for suite, figures in suites.items()
        for name, value in numbers(figures).items()
    }

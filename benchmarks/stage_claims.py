"""What `benchmarks/stages.py` compares: its arms, its claims, and their figures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import stage_pools
from benchmarks.curves import interval

Found = Mapping[tuple[str, int], Mapping[str, Any]]
"""Figures by arm and seed."""

CUTS = tuple(f"cut-{who}-{share}" for share in (50, 80) for who in ("judge", "random", "perfect"))
POOLS = tuple(stage_pools.MIXES)
MAIN = POOLS[0]
LIGHT = f"{MAIN}/cut-judge-50/light_sft"
HEAVY = f"{MAIN}/heavy_sft"
WITH_CURRICULUM = ("cut-judge-50", "cut-perfect-50")
"""The cuts that are tried with the curriculum too."""
CHAINS = (
    *(f"{pool}/{cut}uniform_rl" for pool in POOLS for cut in ("", *(f"{one}/" for one in CUTS))),
    *(f"{pool}/{cut}rl" for pool in POOLS for cut in ("", *(f"{c}/" for c in WITH_CURRICULUM))),
    *(f"{LIGHT}/rl", f"{HEAVY}/rl"),
    *(f"{LIGHT}/rl/dpo", f"{LIGHT}/rl/heavy_dpo", f"{LIGHT}/sampled/dpo/rl"),
)
"""Every arm; the others are their beginnings."""
SCORES = ("score", "at_equal_tokens")
"""Figures that are held-out scores."""


def cut_claims(pool: str) -> list[tuple[str, str, str, str]]:
    """The claims about cuts of one pool, as in `claims`."""
    tried = [("uniform_rl", cut) for cut in CUTS] + [("rl", cut) for cut in WITH_CURRICULUM]
    cuts = [
        (f"{cut} before {rl} on {pool}", f"{pool}/{cut}/{rl}", f"{pool}/{rl}", "at_equal_tokens")
        for rl, cut in tried
    ]
    against_random = [
        (
            f"judge's cut of {share} % against a random one on {pool}",
            f"{pool}/cut-judge-{share}/uniform_rl",
            f"{pool}/cut-random-{share}/uniform_rl",
            "at_equal_tokens",
        )
        for share in (50, 80)
    ]
    return [*cuts, *against_random]


def claims() -> list[tuple[str, str, str, str]]:
    """Name, arm, the arm it is held against, and the figure that is compared."""
    return [
        *(claim for pool in POOLS for claim in cut_claims(pool)),
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


def claim_table(lines: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """A row per claim; scores and pass@8 in points."""
    rows = [["claim", "figure", "difference", "seeds"]]
    for line in lines:
        scale = 1 if line["figure"] == "entropy" else 100
        shown = _with_interval(line, scale, "+")
        rows.append([line["name"], line["figure"], shown, str(line["seeds"])])
    return rows


def arm_table(arms: Mapping[str, Mapping[str, Mapping[str, float]]]) -> list[list[str]]:
    """A row per arm whose policy was measured."""
    figures = {"score": 100, "pass_8": 100, "entropy": 1}
    rows = [["arm", *figures]]
    for arm, found in arms.items():
        if "score" in found:
            shown = [(scale, found[name]) for name, scale in figures.items()]
            rows.append([arm, *(_with_interval(one, scale, "") for scale, one in shown)])
    return rows


def _with_interval(figure: Mapping[str, float], scale: float, sign: str) -> str:
    mean, low, high = (f"{scale * figure[name]:{sign}.2f}" for name in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"


def plot(lines: Sequence[Mapping[str, Any]], path: Path) -> None:
    """The differences of the claims about scores with their intervals, from top to bottom."""
    import matplotlib.pyplot as plt

    shown = [line for line in lines if line["figure"] in SCORES][::-1]
    figure, axis = plt.subplots(figsize=(10, 0.3 * len(shown) + 1), layout="constrained")
    means = [100 * line["mean"] for line in shown]
    sides = [
        [100 * (line["mean"] - line["low"]) for line in shown],
        [100 * (line["high"] - line["mean"]) for line in shown],
    ]
    axis.errorbar(means, range(len(shown)), xerr=sides, fmt="o", capsize=3)
    axis.axvline(0, color="black", linewidth=0.8)
    axis.set_yticks(range(len(shown)), [line["name"] for line in shown], fontsize=8)
    axis.set_xlabel("difference of held-out scores in points, 95 % interval over paired seeds")
    axis.grid(axis="x", alpha=0.3)
    figure.savefig(path, dpi=110)
    plt.close(figure)

"""From curves of held-out score to figures: tokens until a score, paired ratios with intervals, the
plot.

    .venv/bin/python -m benchmarks.curves    # benchmarks/results/curriculum-*.json and .png

A curve is smoothed by the mean of three neighbouring points. The target of a seed is the end of
uniform's smoothed curve; an arm reaches it where its smoothed curve, linear between points, first
does. An arm that never does counts with all that it generated, which flatters it, and is counted
under `unreached`. Ratios are averaged as logarithms; the interval is the 2.5th to 97.5th percentile
of 10,000 resamplings of the seeds."""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.curriculum_settings import ARMS, KINDS, SETTINGS, Setting
from benchmarks.harness import RESULTS, commit, machine, markdown
from common.files import read_json, read_json_lines, write_json

Curve = list[dict[str, Any]]
RESAMPLES = 10_000
AXES = ("tokens", "seconds")
BASELINES = ("uniform", "dynamic_sampling", "posterior")
"""What a kind is held against: the first two; what `posterior` without one of its parts: itself as
a whole."""


def smoothed(curve: Curve) -> list[float]:
    scores = [point["score"] for point in curve]
    return [float(np.mean(scores[max(i - 1, 0) : i + 2])) for i in range(len(scores))]


def until(curve: Curve, target: float, axis: str) -> float | None:
    """What `axis` had reached when the smoothed score first came to `target`; None if it never
    did."""
    scores, values = smoothed(curve), [point[axis] for point in curve]
    for i, score in enumerate(scores):
        if score >= target:
            if i == 0:
                return float(values[0])
            share = (target - scores[i - 1]) / (score - scores[i - 1])
            return float(values[i - 1] + share * (values[i] - values[i - 1]))
    return None


def interval(values: list[float]) -> dict[str, float]:
    """Mean of `values` and the bootstrap interval of the mean."""
    drawn = np.random.default_rng(0).choice(values, size=(RESAMPLES, len(values))).mean(1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return {"mean": float(np.mean(values)), "low": float(low), "high": float(high)}


def ratio(
    curves: dict[str, dict[int, Curve]], baseline: str, arm: str, axis: str
) -> dict[str, Any]:
    """How many times less of `axis` the arm takes to uniform's final score than the baseline, over
    paired seeds."""
    logs, unreached = [], 0
    for seed in sorted(set(curves["uniform"]) & set(curves[baseline]) & set(curves[arm])):
        target = smoothed(curves["uniform"][seed])[-1]
        both = []
        for name in (baseline, arm):
            found = until(curves[name][seed], target, axis)
            unreached += found is None
            both.append(curves[name][seed][-1][axis] if found is None else found)
        if min(both) > 0:
            logs.append(float(np.log(both[0] / both[1])))
    if not logs:
        return {}
    figures = {name: float(np.exp(value)) for name, value in interval(logs).items()}
    return {**figures, "seeds": len(logs), "unreached": unreached}


def final(curve: Curve, kind: str | None = None) -> float:
    """The mean score of the last three points, of all prompts or of one kind."""
    scores = [p["score"] if kind is None else p["score_by_kind"][kind] for p in curve[-3:]]
    return float(np.mean(scores))


def against_uniform(
    curves: dict[str, dict[int, Curve]], arm: str, kind: str | None = None
) -> dict[str, Any]:
    """Final score less uniform's, paired, in points of 0 to 1."""
    seeds = sorted(set(curves["uniform"]) & set(curves[arm]))
    pairs = [
        (final(curves[arm][seed], kind), final(curves["uniform"][seed], kind)) for seed in seeds
    ]
    differences = interval([one - other for one, other in pairs])
    return {**differences, "final": float(np.mean([one for one, _ in pairs]))}


def gained(curves: dict[int, Curve]) -> dict[str, float]:
    """Final score less that of the start."""
    return interval([final(curve) - curve[0]["score"] for curve in curves.values()])


def summary(folders: dict[str, dict[int, Path]]) -> dict[str, Any]:
    curves = {
        arm: {s: read_json_lines(f / "curve.jsonl") for s, f in found.items()}
        for arm, found in folders.items()
    }
    kinds = sorted(next(iter(curves["uniform"].values()))[0]["score_by_kind"])
    figures: dict[str, Any] = {
        "ratios": {},
        "gained": {},
        "final_against_uniform": {},
        "curriculum": {},
        "curves": {},
    }
    for arm in curves:
        for axis in AXES:
            for baseline in BASELINES:
                whole = arm in KINDS and arm != baseline and baseline != "posterior"
                if baseline in curves and (whole or (arm not in KINDS and baseline == "posterior")):
                    figures["ratios"][f"{axis}_{baseline}_over_{arm}"] = ratio(
                        curves, baseline, arm, axis
                    )
        figures["gained"][arm] = gained(curves[arm])
        figures["final_against_uniform"][arm] = {"all": against_uniform(curves, arm)} | {
            name: against_uniform(curves, arm, name) for name in kinds
        }
        figures["curriculum"][arm] = of_curriculum(folders[arm])
        figures["curves"][arm] = {str(seed): curve for seed, curve in sorted(curves[arm].items())}
    return figures


def of_curriculum(folders: dict[int, Path]) -> dict[str, Any]:
    """What the curriculum says of itself at the end, averaged over seeds."""
    found = defaultdict(list)
    for folder in folders.values():
        rows = read_json_lines(folder / "metrics.jsonl")
        for name in (
            "curriculum/committed_mixed_share",
            "curriculum/tokens/pilot",
            "curriculum/tokens/probed",
            "curriculum/predicted/calibration_error",
            "curriculum/predicted/brier",
            "curriculum/committed/calibration_error",
        ):
            found[name.removeprefix("curriculum/")].append(rows[-1][name])
        found["groups_trained"].append(
            np.mean([row["mixed_share"] * row["groups"] for row in rows])
        )
        found["tokens"].append(rows[-1]["tokens_generated_total"])
    return {name: float(np.mean(values)) for name, values in found.items()}


def kind_table(figures: Mapping[str, Any]) -> list[list[str]]:
    """A row per kind: how many times fewer tokens and seconds it took to uniform's final score, and
    the points that it gained."""
    heads = [f"{axis} fewer than {other}" for axis in AXES for other in BASELINES[:2]]
    rows = [["kind", *heads, "gained (points)", "groups with a spread a step", "tokens"]]
    for arm in (one for one in KINDS if one in figures["gained"]):
        names = [f"{axis}_{other}_over_{arm}" for axis in AXES for other in BASELINES[:2]]
        ratios = [_shown(figures["ratios"].get(name)) for name in names]
        own = figures["curriculum"][arm]
        counts = [f"{own['groups_trained']:.1f}", f"{own['tokens']:,.0f}"]
        rows.append([arm, *ratios, _shown(figures["gained"][arm], 100, 1), *counts])
    return rows


def left_out_table(figures: Mapping[str, Any]) -> list[list[str]]:
    """A row per part that was left out of `posterior`: tokens and seconds of the arm without it
    over those of the whole, and the points that it gained."""
    rows = [["arm", "tokens over those of posterior", "seconds over", "gained (points)"]]
    for arm in (one for one in figures["gained"] if one not in KINDS):
        own = [figures["ratios"][f"{axis}_posterior_over_{arm}"] for axis in AXES]
        inverse = [
            {"mean": 1 / one["mean"], "low": 1 / one["high"], "high": 1 / one["low"]} for one in own
        ]
        gained = _shown(figures["gained"][arm], 100, 1)
        rows.append([arm, *map(_shown, inverse), gained])
    return rows


def _shown(value: Mapping[str, float] | None, scale: float = 1.0, digits: int = 2) -> str:
    if not value:
        return ""
    mean, low, high = (f"{scale * value[name]:.{digits}f}" for name in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"


def plot(curves: dict[str, dict[str, Curve]], path: Path) -> None:
    """Held-out score against generated tokens, and against seconds; a line an arm, the mean over
    seeds."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(12, 4.5), sharey=True, layout="constrained")
    for axis, name in zip(axes, ("tokens", "seconds"), strict=True):
        for arm, by_seed in curves.items():
            runs = list(by_seed.values())
            points = min(map(len, runs))
            x = np.mean([[point[name] for point in run[:points]] for run in runs], axis=0)
            y = np.mean([smoothed(run)[:points] for run in runs], axis=0)
            style = "--" if arm.startswith("without") else "-"
            axis.plot(x, y, style, label=arm, alpha=0.6 if style == "--" else 1.0)
        axis.set_xlabel(
            {"tokens": "generated tokens, probes and pilots included", "seconds": "seconds"}[name]
        )
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("held-out score (mean of seeds, smoothed)")
    axes[0].legend(fontsize=8)
    figure.savefig(path, dpi=110)


def write(setting: Setting, command: str) -> None:
    """The figures and the plot of what was run of a setting; nothing if nothing was."""
    folders: dict[str, dict[int, Path]] = {}
    for arm in ARMS:
        done = {
            int(path.parent.name.rsplit("-", 1)[1]): path.parent
            for path in setting.work.glob(f"arms/{arm}-*/done.json")
        }
        if done:
            folders[arm] = dict(sorted(done.items()))
    if not folders:
        return
    figures = summary(folders)
    commits = sorted(
        {read_json(f / "done.json")["commit"] for found in folders.values() for f in found.values()}
    )
    head = {"command": command, "commit": commit(), "runs_at": commits, "machine": machine()}
    write_json(RESULTS / f"{setting.name}.json", {**head, **figures})
    plot(figures["curves"], RESULTS / f"{setting.name}.png")
    print(f"{setting.name}\n\n{markdown(kind_table(figures))}\n")
    if any(arm not in KINDS for arm in figures["gained"]):
        print(f"{markdown(left_out_table(figures))}\n")


def main() -> None:
    for name, setting in SETTINGS.items():
        smollm2 = "-smollm2" if name == "smollm2" else ""
        write(setting, f"make bench-curriculum{smollm2}")


if __name__ == "__main__":
    main()

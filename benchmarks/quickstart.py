"""What finished runs of the quickstart say: Markdown tables and a picture.

    .venv/bin/python -m benchmarks.quickstart [RUN ...]      # runs/quickstart by default

Of the first run it prints the scores by suite and stage, as `uphill compare` does, the seconds and
tokens of every stage, and the commit and machine; of every run, as with other seeds, what each
stage changed. Writes docs/results/quickstart.png: the held-out scores and the rate of
corner cases by stage, and RL's reward by step."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.harness import ROOT, markdown
from common.files import read_json_lines
from evals.suite_file import CORNER_CASES
from pipeline.cli.compare import compare_table, rows_of
from pipeline.execution.run_folder import load_plan
from pipeline.execution.state import inspect
from pipeline.store.record import read_record

PICTURE = ROOT / "docs" / "results" / "quickstart.png"
SUITE = "held_out"
Rows = Sequence[Mapping[str, Any]]


def records_of(run: Path) -> dict[str, tuple[Path, dict[str, Any]]]:
    """Folder and record of every finished stage, by id, in the plan's order."""
    states = inspect(load_plan(run), run)
    records = {stage: (state.folder, read_record(state.folder)) for stage, state in states.items()}
    return {stage: (folder, record) for stage, (folder, record) in records.items() if record}


def cost_table(records: Mapping[str, tuple[Path, dict[str, Any]]]) -> list[list[str]]:
    """A row per stage, and their sums."""
    columns = ("seconds", "tokens_generated", "tokens_trained")
    figures = {stage: [record[name] for name in columns] for stage, (_, record) in records.items()}
    total = [sum(column) for column in zip(*figures.values(), strict=True)]
    rows = [
        [stage, *(f"{value:,.0f}" for value in values)]
        for stage, values in [*figures.items(), ("all", total)]
    ]
    return [["stage", "seconds", "tokens generated", "tokens trained on"], *rows]


def origin(records: Mapping[str, tuple[Path, dict[str, Any]]]) -> str:
    """Commits and machines of the run, in a sentence."""
    commits = dict.fromkeys(record["commit"] for _, record in records.values())
    machines = dict.fromkeys(record["machine"] for _, record in records.values())
    return f"Run at commit {', '.join(commits)}; machine: {'; '.join(machines)}."


def change_table(runs: Sequence[Path]) -> list[list[str]]:
    """A row per run: what stages changed, in points, with 95 % intervals of paired differences."""
    found = [[row for row in rows_of([run]) if _told(row)] for run in runs]
    heads = [f"{row['stage']}: {row['suite'].replace('_', '-')}" for row in found[0]]
    lines = ([run.name, *map(_change, rows)] for run, rows in zip(runs, found, strict=True))
    return [["run", *heads], *lines]


def _told(row: Mapping[str, Any]) -> bool:
    """Whether a change is told: of each stage that of all held-out prompts, of RL also those of
    each capability, of DPO that of the corner cases."""
    stage, suite = row["stage"], row["suite"]
    if row["delta"] is None:
        return False
    parts = stage == "rl" and suite.startswith(f"{SUITE}/")
    return suite == SUITE or parts or (stage, suite) == ("dpo", CORNER_CASES)


def _change(row: Mapping[str, Any]) -> str:
    name = "rate_delta" if "rate" in row else "delta"
    mean, low, high = (100 * row[name + end] for end in ("", "_low", "_high"))
    return f"{mean:+.1f} [{low:+.1f}, {high:+.1f}]"


def plot_scores(axis: Axes, rows: Rows, of: str, figure: str, title: str) -> None:
    """The `figure` of a suite and of each of its parts, in per cent, with 95 % intervals."""
    stages = list(dict.fromkeys(row["stage"] for row in rows))
    suites = [s for s in dict.fromkeys(row["suite"] for row in rows) if s.startswith(of)]
    prefix = "" if figure == "score" else f"{figure}_"
    for number, suite in enumerate(suites):
        points = [row for row in rows if row["suite"] == suite and row[figure] is not None]
        x = [stages.index(row["stage"]) + 0.06 * number for row in points]
        y = [100 * row[figure] for row in points]
        below = [100 * (row[figure] - row[f"{prefix}low"]) for row in points]
        above = [100 * (row[f"{prefix}high"] - row[figure]) for row in points]
        whole = suite == of
        style: dict[str, Any] = {"lw": 2.0 if whole else 1.0, "alpha": 1.0 if whole else 0.5}
        label = suite.removeprefix(f"{of}/").replace("_", " ")
        axis.errorbar(x, y, [below, above], fmt="o-", capsize=3, label=label, **style)
    axis.set_xticks(range(len(stages)), stages)
    axis.set(title=title, ylim=(0, 100))


def plot_rl(axis: Axes, steps: Rows) -> None:
    """Mean reward of RL's rollouts, and share of its groups with a spread of rewards."""
    names = {"reward": "mean reward", "mixed_share": "share of groups with a spread"}
    for name, label in names.items():
        points = [(row["step"], row[name]) for row in steps if name in row]
        axis.plot(*zip(*points, strict=True), ".-", label=label)
    axis.set(title="online RL", xlabel="step", ylim=(0, 1))


def picture(rows: Rows, steps: Rows, path: Path) -> None:
    """All panels as one small PNG."""
    figure = Figure(figsize=(11, 3.2), layout="constrained")
    scores, corners, rl = figure.subplots(1, 3)
    plot_scores(scores, rows, SUITE, "score", "held-out score (%), higher is better")
    plot_scores(corners, rows, CORNER_CASES, "rate", "corner cases (%), lower is better")
    plot_rl(rl, steps)
    for axis in (scores, corners, rl):
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90, metadata={"Software": None})


def main() -> None:
    runs = [Path(word) for word in sys.argv[1:] or ["runs/quickstart"]]
    run = runs[0]
    rows, records = rows_of([run]), records_of(run)
    rl = next(folder for folder, record in records.values() if record["kind"] == "rl")
    picture(rows, read_json_lines(rl / "metrics.jsonl"), PICTURE)
    print(markdown(compare_table(rows, several=False)), end="\n\n")
    print(markdown(cost_table(records)), end="\n\n")
    print(markdown(change_table(runs)), end="\n\n")
    print(origin(records))


if __name__ == "__main__":
    main()

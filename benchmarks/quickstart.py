"""What a finished run of the quickstart says: two Markdown tables and a picture.

    .venv/bin/python -m benchmarks.quickstart [RUN]      # runs/quickstart by default

Prints the scores by suite and stage, as `uphill compare` does, the seconds and tokens of every
stage, and the commit and machine of the run. Writes docs/results/quickstart.png: the held-out score
by stage, and RL's reward by step."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.harness import ROOT
from common.files import read_json_lines
from pipeline.cli.compare import compare_table, rows_of
from pipeline.execution.run_folder import load_plan
from pipeline.execution.state import inspect
from pipeline.store.record import read_record

PICTURE = ROOT / "docs" / "results" / "quickstart.png"
SUITE = "held_out"
Rows = Sequence[Mapping[str, Any]]


def markdown(table: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first row is its head."""
    head, *body = table
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


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


def plot_scores(axis: Axes, rows: Rows) -> None:
    """The score of the held-out prompts and of each of their capabilities, in per cent, with 95 %
    intervals."""
    stages = list(dict.fromkeys(row["stage"] for row in rows))
    suites = [s for s in dict.fromkeys(row["suite"] for row in rows) if s.startswith(SUITE)]
    for number, suite in enumerate(suites):
        points = [row for row in rows if row["suite"] == suite and row["score"] is not None]
        x = [stages.index(row["stage"]) + 0.06 * number for row in points]
        y = [100 * row["score"] for row in points]
        below = [100 * (row["score"] - row["low"]) for row in points]
        above = [100 * (row["high"] - row["score"]) for row in points]
        whole = suite == SUITE
        style: dict[str, Any] = {"lw": 2.0 if whole else 1.0, "alpha": 1.0 if whole else 0.5}
        label = suite.removeprefix(f"{SUITE}/").replace("_", "-")
        axis.errorbar(x, y, [below, above], fmt="o-", capsize=3, label=label, **style)
    axis.set_xticks(range(len(stages)), stages)
    axis.set(title="held-out score by stage (%)", ylim=(0, 100))


def plot_rl(axis: Axes, steps: Rows) -> None:
    """Mean reward of RL's rollouts, and share of its groups with a spread of rewards."""
    names = {"reward": "mean reward", "mixed_share": "share of groups with a spread"}
    for name, label in names.items():
        points = [(row["step"], row[name]) for row in steps if name in row]
        axis.plot(*zip(*points, strict=True), ".-", label=label)
    axis.set(title="online RL", xlabel="step", ylim=(0, 1))


def picture(rows: Rows, steps: Rows, path: Path) -> None:
    """Both panels as one small PNG."""
    figure = Figure(figsize=(8.4, 3.2), layout="constrained")
    scores, rl = figure.subplots(1, 2)
    plot_scores(scores, rows)
    plot_rl(rl, steps)
    for axis in (scores, rl):
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90, metadata={"Software": None})


def main() -> None:
    run = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/quickstart")
    rows, records = rows_of([run]), records_of(run)
    rl = next(folder for folder, record in records.values() if record["kind"] == "rl")
    picture(rows, read_json_lines(rl / "metrics.jsonl"), PICTURE)
    print(markdown(compare_table(rows, several=False)), end="\n\n")
    print(markdown(cost_table(records)), end="\n\n")
    print(origin(records))


if __name__ == "__main__":
    main()

"""A tracker that keeps what it gets in memory, as a server would: it outlives its processes."""

from collections import defaultdict

from common.files import append_json_line, write_json
from pipeline.store.record import ATTEMPT, RECORD
from pipeline.tracking.reports import Reports


class Recorder:
    """`runs`: name to points (step to values); a second value of a step is an error."""

    prefix = ""

    def __init__(self, rewrites):
        self.rewrites = rewrites
        self.runs: dict[str, dict] = defaultdict(dict)
        self.summaries: dict[str, dict] = {}
        self.tables: list = []
        self.configs: dict = {}
        self.ended: list = []

    def check(self):
        pass

    def begin(self, run, known):
        self.name = known or f"{run.name} {run.id}"
        self.configs[self.name] = run
        if self.rewrites:
            self.runs[self.name] = {}
        return self.name, None

    def log(self, step, values):
        assert step not in self.runs[self.name], f"step {step} was sent twice"
        self.runs[self.name][step] = dict(values)

    def table(self, step, table):
        self.tables.append(table)

    def end(self, step, summary, complete):
        self.ended.append((self.name, complete))
        if complete:
            assert self.name not in self.summaries, "a stage was completed twice"
            self.summaries[self.name] = dict(summary)


class Stage:
    """A stage's folder, written as its process and its runner write it."""

    def __init__(self, run, id="sft", started="2026-01-01T00:00:00"):
        self.id, self.started = id, started
        self.folder, self.partial = run / f"01-{id}", run / f"01-{id}.partial"
        self.log = self.partial / "metrics.jsonl"

    def begin(self):
        self.partial.mkdir(exist_ok=True)
        config = {"learning_rate": 0.1}
        about = {"id": self.id, "kind": "toy", "first": self.started, "config": config}
        write_json(self.partial / ATTEMPT, about)

    def step(self, step, value):
        append_json_line(self.log, {"step": step, "loss": value})

    def finish(self, **record):
        about = {"id": self.id, "kind": "toy", "started": self.started, "config": {}}
        write_json(self.partial / RECORD, {**about, "metrics": {"loss": 0.5}, **record})
        (self.partial / ATTEMPT).unlink()
        self.partial.rename(self.folder)


def reports(tracker, run):
    """What a tracker's process makes of the run when it starts."""
    folder = run / "tracking"
    folder.mkdir(exist_ok=True)
    return Reports(tracker, folder, "recorder", "recipe")

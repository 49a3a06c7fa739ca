"""What stages hand over: one entry per file or folder, with its name on disk, reader and writer.

Stages meet only here. A stage's declaration says which artifacts it needs and which it produces;
whoever reads one asks the artifact for its place. JSON artifacts read and write themselves. The
others are read by the package that owns their type: prompts by `prompts/schema.py`, ledgers by
`curriculum/ledger.py`, checkpoints by `models/checkpoint.py`."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.files import (
    append_json_line,
    read_json,
    read_json_lines,
    write_json,
    write_json_lines,
)


@dataclass(frozen=True)
class Artifact:
    """A file or folder that a stage leaves in its folder."""

    name: str
    """How declarations, records and messages call it."""
    file: str
    """Its name in the stage's folder."""
    shared: bool = False
    """Whether other stages read it; the rest is for people and for the command line."""
    weights: str = ""
    """Ending of those of its files that `runtime.keep` may remove; empty for none."""

    def path(self, folder: Path) -> Path:
        """Its place in a stage's folder."""
        return folder / self.file

    def holds_weights(self, file: str) -> bool:
        """Whether a file of the stage, named relative to its folder, is one of its weights."""
        path = Path(file)
        return bool(self.weights) and path.parts[0] == self.file and path.suffix == self.weights


class JsonFile(Artifact):
    """One JSON document."""

    def read(self, folder: Path) -> Any:
        """The document. OSError when it is not there, ValueError when it is no JSON."""
        return read_json(self.path(folder))

    def write(self, folder: Path, value: Any) -> None:
        """Write the document, whole or not at all."""
        write_json(self.path(folder), value)


class JsonLines(Artifact):
    """One JSON object per line."""

    def read(self, folder: Path) -> list[dict[str, Any]]:
        """All complete lines; none where there is no file."""
        return read_json_lines(self.path(folder))

    def write(self, folder: Path, values: Iterable[Any]) -> None:
        """Write all lines, the whole file or nothing of it."""
        write_json_lines(self.path(folder), values)

    def append(self, folder: Path, value: dict[str, Any]) -> None:
        """Append a line; a crash may lose the last one."""
        append_json_line(self.path(folder), value)


PROMPTS = Artifact("prompts", "prompts.parquet", shared=True)
"""Prompts to train on (`prompts.schema.read_prompts`, `write_prompts`)."""
HELD_OUT = Artifact("held-out prompts", "held_out.parquet", shared=True)
"""Prompts kept for evaluation, in the same format."""
CHECKPOINT = Artifact("checkpoint", "checkpoint", shared=True, weights=".safetensors")
"""A Hugging Face folder in safetensors (`models.checkpoint.load_policy`, `save_policy`)."""
LEDGER = Artifact("ledger", "ledger.sqlite", shared=True)
"""What is known about each prompt's difficulty (`curriculum.ledger.Ledger`)."""
GROUPS = JsonLines("groups", "groups.jsonl", shared=True)
"""Every group rolled out, probes included (`stages.rl.groups.Group.to_json`)."""
RESULTS = JsonFile("results", "results.json")
"""Scores of an evaluation by suite, and its protocol (`evals.protocol.summary`)."""
ANSWERS = JsonLines("answers", "answers.jsonl")
"""Every answer of an evaluation (`evals.protocol.Answer`)."""
METRICS = JsonLines("metrics", "metrics.jsonl")
"""A line per optimiser step."""
ROUTING = JsonLines("routing", "routing.jsonl")
"""Drift and load of the experts by layer (`training.router_metrics`)."""
PAIRS = JsonLines("pairs", "pairs.jsonl")
"""Preference pairs that DPO trained on (`stages.dpo.pairs.Pair`)."""
PARITY = JsonFile("parity", "parity.json")
"""Log-probabilities of the final policy, from the trainer and from the engine."""
DROPPED = Artifact("dropped prompts", "dropped.parquet")
"""Prompts that a judge filter did not keep."""
REASONS = JsonLines("reasons", "reasons.jsonl")
"""A judge filter's decision about each prompt (`judges.filtering.Decision`)."""
VERDICTS = JsonLines("verdicts", "verdicts.jsonl")
"""A judge's replies and verdict about each prompt (`judges.verdict.Verdict`)."""
AUDIT = JsonFile("audit", "audit.json")
"""A judge's verdicts against the pass rates of a policy (`judges.audit.Audit`)."""
TOO_LONG = JsonLines("long prompts", "too_long.jsonl")
"""Prompts dropped for `max_prompt_tokens`."""
REPEATED = JsonLines("repeated prompts", "repeated.jsonl")
"""Prompts that another one repeats or contradicts (`prompts.repeats.Repeat`)."""
CONTAMINATED = JsonLines("contaminated prompts", "contaminated.jsonl")
"""Training prompts that overlap an evaluation suite (`prompts.decontaminate.Finding`)."""
RELIABILITY = JsonFile("reliability", "reliability.json")
"""Predicted against observed pass rates of the curriculum."""
CURRICULUM_PLOT = Artifact("curriculum plot", "curriculum.png")
"""The curriculum by step."""
PREFLIGHT = JsonFile("early check", "preflight.json")
"""What the early check asked, and what it noted."""
ORIGIN = JsonFile("origin", "adopted.json")
"""Of an adopted stage: its record in the run that it comes from."""

SHARED: dict[str, Artifact] = {
    artifact.name: artifact for artifact in (PROMPTS, HELD_OUT, CHECKPOINT, LEDGER, GROUPS)
}
"""The artifacts that other stages read, by name."""

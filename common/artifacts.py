"""The artifacts that stages exchange: one entry per file or folder, with its name on disk.

Artifacts are the only connection between stages. A stage's declaration lists those that it needs
and those that it produces, and code that reads one gets its path from the artifact. JSON artifacts
have `read` and `write`. The others are read by the package that owns their type: prompts by
`prompts/schema.py`, ledgers by `curriculum/ledger.py`, checkpoints by `models/checkpoint.py`."""

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
    """A file or folder that a stage produces in its folder."""

    name: str
    """Its name in declarations, records and messages."""
    file: str
    """Its file name in the stage's folder."""
    shared: bool = False
    """Whether other stages read it; others are for the user and the command line."""
    weights: str = ""
    """Suffix of the files that `runtime.keep` may remove; empty for none."""

    def path(self, folder: Path) -> Path:
        """Its path, given the stage's folder."""
        return folder / self.file

    def holds_weights(self, file: str) -> bool:
        """Whether a file is one of the artifact's weights. `file` is relative to the stage's
        folder."""
        path = Path(file)
        return bool(self.weights) and path.parts[0] == self.file and path.suffix == self.weights


class JsonFile(Artifact):
    """One JSON document."""

    def read(self, folder: Path) -> Any:
        """The document. OSError if it cannot be read, ValueError if it is not JSON."""
        return read_json(self.path(folder))

    def write(self, folder: Path, value: Any) -> None:
        """Write the document atomically."""
        write_json(self.path(folder), value)


class JsonLines(Artifact):
    """One JSON object per line."""

    def read(self, folder: Path) -> list[dict[str, Any]]:
        """All complete lines; empty if there is no file."""
        return read_json_lines(self.path(folder))

    def write(self, folder: Path, values: Iterable[Any]) -> None:
        """Write all lines atomically."""
        write_json_lines(self.path(folder), values)

    def append(self, folder: Path, value: dict[str, Any]) -> None:
        """Append a line. A crash may lose it."""
        append_json_line(self.path(folder), value)


PROMPTS = Artifact("prompts", "prompts.parquet", shared=True)
"""Prompts to train on (`prompts.schema.read_prompts`, `write_prompts`)."""
HELD_OUT = Artifact("held-out prompts", "held_out.parquet", shared=True)
"""Prompts kept for evaluation, in the same format."""
CHECKPOINT = Artifact("checkpoint", "checkpoint", shared=True, weights=".safetensors")
"""A Hugging Face folder in safetensors (`models.checkpoint.load_policy`, `save_policy`)."""
LEDGER = Artifact("ledger", "ledger.sqlite", shared=True)
"""The estimated difficulty of each prompt (`curriculum.ledger.Ledger`)."""
GROUPS = JsonLines("groups", "groups.jsonl", shared=True)
"""Every rollout group, probes included (`stages.rl.groups.Group.to_json`)."""
RESULTS = JsonFile("results", "results.json")
"""Scores of an evaluation by suite, and the protocol (`evals.figures.summary`)."""
HARNESS_RESULTS = JsonFile("lm-eval results", "lm_eval_results.json")
"""What lm-evaluation-harness returned, without its samples."""
ANSWERS = JsonLines("answers", "answers.jsonl")
"""Every answer of an evaluation (`evals.answer.Answer`)."""
DEV_SCORES = JsonLines("dev scores", "dev.jsonl")
"""RL's own evaluations on a suite's dev part, one line each (`stages.rl.dev_scores`)."""
PROBES = JsonLines("probes", "probes.jsonl")
"""What each probe of an SFT with `stop_when` measured (`stages.sft.probe_figures`)."""
METRICS = JsonLines("metrics", "metrics.jsonl")
"""One line per optimiser step."""
ROUTING = JsonLines("routing", "routing.jsonl")
"""Drift and load of the experts by layer (`training.router_metrics`)."""
PAIRS = JsonLines("pairs", "pairs.jsonl")
"""Preference pairs that DPO trained on (`stages.dpo.pairs.Pair`)."""
PARITY = JsonFile("parity", "parity.json")
"""Log-probabilities of the final policy, computed by the trainer and by the engine."""
DROPPED = Artifact("dropped prompts", "dropped.parquet")
"""Prompts that a judge filter did not keep."""
REASONS = JsonLines("reasons", "reasons.jsonl")
"""A judge filter's decision about each prompt (`judges.filtering.Decision`)."""
VERDICTS = JsonLines("verdicts", "verdicts.jsonl")
"""A judge's replies and verdict about each prompt (`judges.verdict.Verdict`)."""
AUDIT = JsonFile("audit", "audit.json")
"""A judge's verdicts compared with the pass rates of a policy (`judges.audit.Audit`)."""
TOO_LONG = JsonLines("long prompts", "too_long.jsonl")
"""Prompts dropped because they exceed `max_prompt_tokens`."""
BAD_ROWS = JsonLines("bad rows", "bad_rows.jsonl")
"""Rows of a person's files that could not be used (`prompts.bad_rows.BadRows`)."""
REPEATED = JsonLines("repeated prompts", "repeated.jsonl")
"""Duplicate, near-duplicate and contradictory prompts (`prompts.repeats.Repeat`)."""
CONTAMINATED = JsonLines("contaminated prompts", "contaminated.jsonl")
"""Training prompts that overlap an evaluation suite (`prompts.decontaminate.Finding`)."""
REWARD_AGREEMENT = JsonLines("reward agreement", "reward_agreement.jsonl")
"""The rewards of judges compared with those of verifiers (`judges.agreement.Agreement`)."""
RELIABILITY = JsonFile("reliability", "reliability.json")
"""Pass rates predicted by the curriculum, compared with the observed ones."""
CURRICULUM_PLOT = Artifact("curriculum plot", "curriculum.png")
"""A plot of the curriculum by step."""
PREFLIGHT = JsonFile("early check", "preflight.json")
"""What the early check examined, and its remarks."""
ORIGIN = JsonFile("origin", "adopted.json")
"""The record of an adopted stage in the run that it comes from."""

SHARED: dict[str, Artifact] = {
    artifact.name: artifact for artifact in (PROMPTS, HELD_OUT, CHECKPOINT, LEDGER, GROUPS)
}
"""The artifacts that other stages read, by name."""

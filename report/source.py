"""What a report is made of: the stages of runs with their folders, as the pipeline gives them.

The package reads files of those folders and knows neither plans nor kinds of stage: which sections
a stage has follows from the artifacts in its folder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.artifacts import Artifact
from evals.compare import Evaluation


@dataclass(frozen=True)
class StageSource:
    """One stage of a run."""

    id: str
    kind: str
    state: str
    """`todo`, `running`, `done`, `stale` or `failed`."""
    folder: Path
    """The finished folder, or else the one that it works in; it need not exist."""
    config: Mapping[str, Any] = field(default_factory=dict)
    record: Mapping[str, Any] | None = None
    """The record of a finished stage."""
    note: str = ""
    """A remark on the state, such as why it is stale."""
    inputs: Mapping[str, str] = field(default_factory=dict)
    """Input name to the id of the stage."""
    evaluated: str | None = None
    """The stage whose checkpoint it evaluates; None if it is no evaluation."""
    adopted: str | None = None
    """The first characters of the checksum of the record that it was adopted from."""
    pruned: bool = False
    """Whether its weights were removed by `runtime.keep`."""
    checksum: str | None = None
    """Of the record, which identifies one execution of the stage."""

    def has(self, artifact: Artifact) -> bool:
        """Whether its folder contains an artifact."""
        return artifact.path(self.folder).exists()

    @property
    def metrics(self) -> Mapping[str, Any]:
        """The final figures of a finished stage."""
        return self.record.get("metrics", {}) if self.record else {}


@dataclass(frozen=True)
class RunSource:
    """One run."""

    name: str
    stages: Sequence[StageSource]
    """In the order in which they run."""
    evaluations: Sequence[Evaluation] = ()
    """The finished ones, in the order in which they ran."""
    verdicts: Sequence[Mapping[str, Any]] = ()
    """What gates said of the checkpoints (`evals.gate.Verdict`)."""

    def stage(self, id: str) -> StageSource | None:
        """The stage of this id; None if there is none."""
        return next((stage for stage in self.stages if stage.id == id), None)

    def with_artifact(self, artifact: Artifact) -> list[StageSource]:
        """The stages whose folders contain an artifact."""
        return [stage for stage in self.stages if stage.has(artifact)]

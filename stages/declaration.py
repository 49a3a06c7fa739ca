"""What a stage kind declares. The recipe, its checks, the plan, pruning and the messages read these
declarations, so that a new kind is one class in its own folder and one line in
`stages/registry.py`.

Light: everything that plans imports it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from pydantic import Field

from common.artifacts import CHECKPOINT, Artifact
from common.config import Config
from common.execution import ExecutionConfig
from models.memory import Memory
from models.sizes import Dimensions
from rollouts.config import RolloutConfig
from stages.questions import Question

BASE = "base"
"""Id of the implicit stage that builds the starting checkpoint."""
PROMPTS_STAGE = "prompts"
"""Id of the implicit stage that gathers prompts and splits off the held-out ones."""
FROM = "checkpoint"
"""Name of the input whose checkpoint a stage starts from or evaluates."""
FieldPath = tuple[str | int, ...]
"""Path of a field in a stage's section of the recipe, e.g. `("audit", "policy")`."""


@dataclass(frozen=True)
class Need:
    """An input: the stage it comes from, and the artifacts that are read."""

    artifacts: tuple[Artifact, ...]
    """The artifacts that are read."""
    path: FieldPath = ()
    """The field of the recipe that names the stage; empty if `stage` names it."""
    stage: str | None = None
    """Id of the stage if no field names it."""


@dataclass(frozen=True)
class EngineUse:
    """A rollout engine that a stage starts."""

    path: FieldPath
    """Path of its `rollouts` in the stage's section."""
    rollouts: RolloutConfig
    judge: str | None = None
    """The judge's model that it serves; None if it serves the run's policy."""


@dataclass(frozen=True)
class Sizes:
    """Upper bounds on numbers of prompts, derived from the recipe alone. None: unknown."""

    prompts: dict[str, int | None] = field(default_factory=dict)
    """Stage id to the number of prompts that the stage produces."""
    held_out: int | None = None
    """Number of held-out prompts."""


@dataclass(frozen=True)
class Disk:
    """Disk space of a stage's folder, in bytes."""

    kept: int = 0
    """Space of the finished stage."""
    at_work: int = 0
    """Additional space while it runs."""


@dataclass(frozen=True)
class Objection:
    """A reason why a stage cannot run as configured."""

    path: FieldPath
    message: str
    remedy: str


class StageConfig(Config):
    """Fields of every stage."""

    # A kind overrides the class variables and methods that apply to it.

    version: ClassVar[int] = 1
    """Raised when the meaning of the settings or a default changes; finished stages of an older
    version are stale. A new field whose default keeps the behaviour needs no new version."""
    produces: ClassVar[tuple[Artifact, ...]] = ()
    """The artifacts in the stage's finished folder."""
    reads_execution: ClassVar[tuple[str, ...]] = ()
    """The settings of `common/execution.py` that a stage of this kind reads."""
    grades: ClassVar[bool] = False
    """Whether a stage of this kind grades answers, for which it may start the judges that rewards
    name."""
    imports_torch: ClassVar[bool] = False
    """Whether a stage's process imports torch, which takes seconds. On a CPU it is then a fork of
    one that has imported it (`pipeline/execution/nursery.py`)."""
    execution_group: ClassVar[str] = ""
    """The name in `runtime.stages` that addresses all stages of this kind; empty for none."""

    kind: str
    """The kind of stage."""
    id: str = Field(examples=["filter"])
    """Name of the stage, unique in the recipe; used by other stages, in folder names and on the
    command line."""

    def needs(self) -> Mapping[str, Need]:
        """Input name to what is read. The stage starts from the input named `checkpoint`."""
        return {}

    def outputs(self) -> tuple[Artifact, ...] | None:
        """The artifacts that this stage produces: `produces`, unless its settings decide it. None
        if unknown; another check reports the reason."""
        return self.produces

    def execution_settings(self) -> tuple[str, ...]:
        """The execution settings that this stage reads: `reads_execution`, unless its settings
        decide it."""
        return self.reads_execution

    def grades_answers(self) -> bool:
        """Whether this stage grades answers: `grades`, unless its settings decide it."""
        return self.grades

    def input_ids(self) -> dict[str, str]:
        """Input name to the id of the stage whose finished folder is read."""
        return {name: need.stage or self.value_at(need.path) for name, need in self.needs().items()}

    def value_at(self, path: FieldPath) -> Any:
        """The value of a field, by the names that a recipe uses."""
        value: Any = self
        for part in path:
            if isinstance(part, int):
                value = value[part]
                continue
            names = {f.alias or name: name for name, f in type(value).model_fields.items()}
            value = getattr(value, names[part])
        return value

    def prompts_at_most(self, sizes: Sizes) -> int | None:
        """Upper bound on the prompts that the stage produces; None if unknown or if it produces
        none."""
        return None

    def bounds(self, sizes: Sizes) -> dict[str, int | None]:
        """Upper bounds for `uphill plan` by name; None for unknown ones."""
        return {}

    def memory(self, policy: Dimensions | None, execution: ExecutionConfig) -> Memory | None:
        """Memory of the stage; None if it holds no model, or if the dimensions are unknown."""
        return None

    def disk(self, policy: Dimensions) -> Disk | None:
        """Disk space of the stage's weights; None if it writes none."""
        return None

    def engines(self) -> Iterator[EngineUse]:
        """The rollout engines that the stage starts."""
        yield from ()

    def questions(self, place: str, seed: int) -> Iterator[Question]:
        """Questions of the early check. `place` is the stage's section, `seed` the stage's seed."""
        yield from ()

    def objections(self, policy: Dimensions) -> Iterator[Objection]:
        """What the stage requires that a model of these dimensions does not support."""
        yield from ()

    def execution_objections(self, execution: ExecutionConfig) -> Iterator[Objection]:
        """Execution settings with which the stage cannot run; `path` holds the setting's name."""
        yield from ()

    def weight_inputs(self) -> tuple[str, ...]:
        """Names of the inputs whose weights must exist when the stage runs."""
        return tuple(name for name, need in self.needs().items() if CHECKPOINT in need.artifacts)

"""What a stage kind declares. The recipe, its checks, the plan, pruning and the messages read it
here, so that a new kind is one class in its own folder and one line in `stages/registry.py`.

Light: everything that plans imports it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from pydantic import Field

from common.artifacts import CHECKPOINT, Artifact
from common.config import Config
from common.execution import COSTS_MEMORY, ExecutionConfig
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
"""Where a field is in a stage's section of the recipe, e.g. `("audit", "policy")`."""


@dataclass(frozen=True)
class Need:
    """An input: which stage it is, and what it must have produced."""

    artifacts: tuple[Artifact, ...]
    """What is read of it."""
    path: FieldPath = ()
    """The field of the recipe that names the stage."""
    stage: str | None = None
    """The stage where no field names it."""


@dataclass(frozen=True)
class EngineUse:
    """A rollout engine that a stage starts."""

    path: FieldPath
    """Where its `rollouts` are in the stage's section."""
    rollouts: RolloutConfig
    judge: str | None = None
    """The model of the judge that it serves; None for the run's policy."""


@dataclass(frozen=True)
class Sizes:
    """How many prompts there are, as far as numbers alone tell. None: nobody knows."""

    prompts: dict[str, int | None] = field(default_factory=dict)
    """By the id of the stage that hands them on."""
    held_out: int | None = None


@dataclass(frozen=True)
class Disk:
    """Bytes below a stage's folder."""

    kept: int = 0
    """When the stage is done."""
    at_work: int = 0
    """Besides that, while it runs."""


@dataclass(frozen=True)
class Objection:
    """Why a stage cannot be meant as written."""

    path: FieldPath
    message: str
    remedy: str


class StageConfig(Config):
    """What every stage has. A kind overrides the class variables and methods that apply to it."""

    version: ClassVar[int] = 1
    """Raised when the same settings mean something else than before, a changed default included;
    finished stages of the older meaning are then stale. A new field whose default keeps the meaning
    needs no new version."""
    produces: ClassVar[tuple[Artifact, ...]] = ()
    """What the stage leaves in its folder."""
    reads_execution: ClassVar[tuple[str, ...]] = ()
    """The settings of `common/execution.py` that the stage reads."""

    execution_group: ClassVar[str] = ""
    """In `runtime.stages`, a name for all stages of this kind; empty for none."""

    kind: str
    """What the stage does."""
    id: str = Field(examples=["filter"])
    """Name of this stage in the recipe, used in folders and on the command line."""

    def needs(self) -> Mapping[str, Need]:
        """Input name to what is read. One named `checkpoint` is what the stage starts from."""
        return {}

    def makes(self) -> tuple[Artifact, ...] | None:
        """What this very stage leaves: `produces`, unless its settings decide it. None where that
        cannot be told, which another check explains."""
        return self.produces

    def input_ids(self) -> dict[str, str]:
        """Input name to the id of the stage whose finished folder it is."""
        return {name: need.stage or self.value_at(need.path) for name, need in self.needs().items()}

    def value_at(self, path: FieldPath) -> Any:
        """The value of a field, by the names that a recipe uses."""
        value: Any = self
        for part in path:
            names = {f.alias or name: name for name, f in type(value).model_fields.items()}
            value = getattr(value, names[str(part)])
        return value

    def hands_on(self, sizes: Sizes) -> int | None:
        """Most prompts that the stage hands on to others; None where nobody knows."""
        return None

    def bounds(self, sizes: Sizes) -> dict[str, int | None]:
        """Upper bounds for `uphill plan` by name; None where nobody knows."""
        return {}

    def memory(self, policy: Dimensions | None, execution: ExecutionConfig) -> Memory | None:
        """What the stage holds at once; None where it holds no model, or sizes are unknown."""
        return None

    def disk(self, policy: Dimensions) -> Disk | None:
        """What the stage's weights take on disk; None where it writes none."""
        return None

    def engines(self) -> Iterator[EngineUse]:
        """The rollout engines that the stage starts."""
        yield from ()

    def questions(self, place: str, seed: int) -> Iterator[Question]:
        """What the early check asks for this stage. `place` is its section, `seed` its own."""
        yield from ()

    def objections(self, policy: Dimensions) -> Iterator[Objection]:
        """What the stage asks of a model of these dimensions that it cannot do."""
        yield from ()

    def execution_objections(self, execution: ExecutionConfig) -> Iterator[Objection]:
        """Execution settings with which the stage cannot run; `path` is the setting's name."""
        yield from ()

    def weight_inputs(self) -> tuple[str, ...]:
        """Names of the inputs whose weights must be on disk when the stage runs."""
        return tuple(name for name, need in self.needs().items() if CHECKPOINT in need.artifacts)

    def memory_remedies(self) -> tuple[str, ...]:
        """Execution settings to lower when memory runs out."""
        return tuple(name for name in COSTS_MEMORY if name in self.reads_execution)

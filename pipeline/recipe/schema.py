"""The recipe: one YAML file that says what a run does. Fields are documented where they are
declared."""

from typing import TYPE_CHECKING, Annotated, Any, Union

from pydantic import Field, field_serializer

from common.config import Config, FolderName
from common.divergence import DivergenceLimits
from common.execution import ExecutionConfig
from evals.config import SuiteConfig, SuiteName
from models.config import ModelConfig
from prompts.config import PromptSource
from rollouts.config import RolloutConfig
from stages import registry
from stages.declaration import StageConfig

if TYPE_CHECKING:
    Stage = StageConfig
else:
    Stage = Annotated[Union[registry.KINDS], Field(discriminator="kind")]  # noqa: UP007


class GateConfig(Config):
    """Stops the run after a stage that made the model worse."""

    suite: SuiteName
    """Which of the suites decides."""
    max_drop: float = Field(ge=0, le=1, examples=[0.02])
    """Largest loss of score (0 to 1) against the checkpoint that the stage started from."""


class EvaluateConfig(Config):
    """What every checkpoint is asked, and after which stages."""

    suites: tuple[SuiteConfig, ...] = Field(min_length=1)
    """The suites, by name or with settings."""
    after: tuple[str, ...] = Field(min_length=1, examples=[["base", "sft"]])
    """Ids of the stages whose checkpoints are evaluated; `base` is the starting model."""
    gate: GateConfig | None = None
    """Without it, no score stops the run."""
    rollouts: RolloutConfig = RolloutConfig()
    """The engine."""


class BudgetConfig(Config):
    """What the run may cost; outside every fingerprint. A run that is out of budget saves its state
    and stops."""

    hours: float | None = Field(default=None, gt=0, examples=[12.0])
    """Time that its stages may take, all attempts together."""
    tokens: int | None = Field(default=None, ge=1, examples=[1_000_000])
    """Tokens that it may generate and train on, both together. Looked at after each step and each
    stage."""


class KeepConfig(Config):
    """Whose weights stay in the run folder. Those that a later stage or evaluation needs stay until
    it is done."""

    last: int = Field(default=2, ge=1)
    """The newest checkpoints."""
    best: int = Field(default=1, ge=0)
    """The checkpoints with the best score: on the gate's suite, or on the mean of all suites."""


class RuntimeConfig(Config):
    """How this machine runs it; outside every fingerprint."""

    threads: int | None = Field(default=None, ge=1, examples=[4])
    """CPU threads a stage may use; without it, every CPU that this process may run on."""
    stall_minutes: float = Field(default=60.0, gt=0)
    """A stage that says nothing of its progress for so long is ended."""
    keep: KeepConfig | None = None
    """Which checkpoints keep their weights; without it, all."""
    divergence: DivergenceLimits = DivergenceLimits()
    """When training counts as diverged."""
    execution: ExecutionConfig = ExecutionConfig()
    """What every stage takes that reads it."""
    stages: dict[str, ExecutionConfig] = Field(
        default_factory=dict, examples=[{"rl": {"rows_per_forward": 16}}]
    )
    """By the id of a stage, what it takes instead; `evaluate` stands for all evaluations."""

    @field_serializer("stages")
    def _only_what_is_named(self, stages: dict[str, ExecutionConfig]) -> dict[str, Any]:
        """A setting that a section leaves out comes from a wider one."""
        return {name: one.model_dump(exclude_unset=True) for name, one in stages.items()}


class Recipe(Config):
    name: FolderName = Field(examples=["my_run"])
    """Name of the run's folder: letters, digits, - and _."""
    seed: int = Field(default=0, ge=0)
    """Every stage derives its own seed from it."""
    model: ModelConfig
    """The starting model."""
    prompts: tuple[PromptSource, ...] = Field(min_length=1)
    """Where the prompts come from."""
    stages: tuple[Stage, ...]
    """What is done, in order."""
    evaluate: EvaluateConfig | None = None
    """Evaluations between the stages; without it there are none."""
    budget: BudgetConfig = BudgetConfig()
    """What it may cost; without it, anything."""
    runtime: RuntimeConfig = RuntimeConfig()
    """Settings of the machine."""

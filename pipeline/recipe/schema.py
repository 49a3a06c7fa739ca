"""The recipe: one YAML file that describes a run. The docstring under each field documents it."""

from typing import TYPE_CHECKING, Annotated, Any, Literal, Union

from pydantic import AfterValidator, Field, field_serializer

from common.config import Config, FolderName, InvalidValue
from common.devices import DevicesConfig
from common.divergence import DivergenceLimits
from common.execution import ExecutionConfig, GeneralExecution
from evals.config import SuiteConfig
from evals.gate_config import GateConfig
from models.config import ModelConfig
from prompts.config import PromptSource
from rollouts.config import RolloutConfig
from stages import registry
from stages.declaration import StageConfig

if TYPE_CHECKING:
    Stage = StageConfig
else:
    Stage = Annotated[Union[registry.KINDS], Field(discriminator="kind")]  # noqa: UP007


class EvaluateConfig(Config):
    """Evaluations between the stages: which suites, and after which stages."""

    suites: tuple[SuiteConfig, ...] = Field(min_length=1)
    """Evaluation suites, each a name or a section with settings."""
    after: tuple[str, ...] = Field(min_length=1, examples=[["base", "sft"]])
    """Ids of the stages whose checkpoints are evaluated; `base` is the starting model."""
    gates: tuple[GateConfig, ...] = Field(
        default=(), examples=[[{"suite": "held_out", "max_drop": 0.02}]]
    )
    """What the checkpoints have to hold; none: no score stops the run."""
    rollouts: RolloutConfig = RolloutConfig()
    """The rollout engine that generates the answers."""


class BudgetConfig(Config):
    """Limits on the cost of a run. A run that exceeds one saves its state and stops; run it again
    with a higher budget to continue. Not part of any fingerprint."""

    hours: float | None = Field(default=None, gt=0, examples=[12.0])
    """Running time of all stages in hours, including earlier attempts; not set: unlimited."""
    tokens: int | None = Field(default=None, ge=1, examples=[1_000_000])
    """Tokens generated plus tokens trained on, checked after every step and every stage; not set:
    unlimited."""


class KeepConfig(Config):
    """Which checkpoints keep their weights in the run folder. Weights that a later stage or
    evaluation needs are kept until it is done."""

    last: int = Field(default=2, ge=1)
    """Number of newest checkpoints to keep."""
    best: int = Field(default=1, ge=0)
    """Number of best checkpoints to keep, by the mean dev score on the suites of the gates, or on
    all suites if there is no gate."""


def _each_once(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if names.count(name) > 1:
            raise InvalidValue(f"{name} is named twice", "name each tracker once")
    return names


class RuntimeConfig(Config):
    """How this machine runs the recipe. Not part of any fingerprint, so it may change between two
    attempts at a run."""

    threads: int | None = Field(default=None, ge=1, examples=[4])
    """CPU threads per stage; not set: all CPUs that the process may run on."""
    stall_minutes: float = Field(default=60.0, gt=0)
    """Minutes without progress after which a stage is terminated."""
    keep: KeepConfig | None = None
    """Which checkpoints keep their weights; not set: all."""
    report_to: Annotated[
        tuple[Literal["trackio", "wandb", "tensorboard", "mlflow"], ...], AfterValidator(_each_once)
    ] = Field(default=(), examples=[["tensorboard"]])
    """Experiment trackers that get the curves, scores and samples of the run."""
    divergence: DivergenceLimits = DivergenceLimits()
    """Limits beyond which training counts as diverged and the stage stops."""
    execution: GeneralExecution = GeneralExecution()
    """Execution settings of all stages."""
    devices: DevicesConfig = DevicesConfig()
    """Processes and devices of all stages."""
    stages: dict[str, ExecutionConfig] = Field(
        default_factory=dict, examples=[{"rl": {"rows_per_forward": 16}}]
    )
    """Execution settings of single stages by stage id; they override `execution` and `devices`. The
    name `evaluate` addresses all evaluations."""

    @field_serializer("stages")
    def _only_what_is_named(self, stages: dict[str, ExecutionConfig]) -> dict[str, Any]:
        """Leave out unset settings, which come from a wider section."""
        return {name: one.model_dump(exclude_unset=True) for name, one in stages.items()}


class Recipe(Config):
    name: FolderName = Field(examples=["my_run"])
    """Name of the run's folder: letters, digits, - and _."""
    seed: int = Field(default=0, ge=0)
    """Seed of the run; every stage derives its own seed from it and its id."""
    model: ModelConfig
    """The starting model."""
    prompts: tuple[PromptSource, ...] = Field(min_length=1)
    """Sources of prompts."""
    stages: tuple[Stage, ...]
    """Stages in the order in which they run."""
    evaluate: EvaluateConfig | None = None
    """Evaluations between the stages; not set: none."""
    budget: BudgetConfig = BudgetConfig()
    """Limits on the cost of the run."""
    runtime: RuntimeConfig = RuntimeConfig()
    """How this machine runs the recipe."""

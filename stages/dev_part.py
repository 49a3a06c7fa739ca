"""What the declarations of stages share that ask a suite's dev part while they train; light."""

from collections.abc import Iterator, Mapping

from pydantic import Field, model_validator

from common.artifacts import HELD_OUT
from common.config import Config, Text
from common.execution import ExecutionConfig
from evals.config import (
    Cases,
    SuiteConfig,
    SuiteOrFile,
    require_file,
    require_fitting,
    require_no_answers,
)
from evals.suite_file import HELD_OUT_SUITE, is_suite_path, is_there, suite_header, suite_name
from rollouts.config import RolloutConfig
from stages.declaration import PROMPTS_STAGE, Need, Objection, Sizes
from stages.questions import SuiteQuestion

HELD_OUT_INPUT = "held_out"
"""Name of the input whose held-out prompts a stage asks."""
IN_A_SERVER = "let the engine be a server: `engine: {kind: server}`"


class DevPart(Config):
    """Which prompts of a suite's dev part a stage asks, and when."""

    every: int = Field(ge=1, examples=[10])
    """Optimiser steps between two evaluations; the last step is always evaluated."""
    suite: SuiteOrFile = HELD_OUT_SUITE
    """The suite whose dev part is asked, by its name or, if it is one of your own, by its file. Its
    final part is not asked."""
    cases: Cases | None = Field(default=None, examples=[["repetition", "refusal"]])
    """Of `corner_cases` the cases that are asked; not set: all."""
    limit: int | None = Field(default=None, ge=1, examples=[64])
    """Ask only this many prompts of the dev part, the same ones every time; not set: all."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Longest answer, in tokens; not set: the suite's own length (`held_out` 64, `corner_cases`
    128, others as their files say)."""
    system: Text | None = None
    """System message for prompts that have none."""
    pass_at: float = Field(default=1.0, gt=0, le=1)
    """Reward of the first part from which an answer is correct."""

    @model_validator(mode="after")
    def _fitting(self) -> "DevPart":
        require_file(self.name, self.file)
        require_fitting(self.name, self.cases, self.pass_at)
        if is_there(self.file) and suite_header(self.name, self.file).ask == "likelihood":
            require_no_answers(self.name, self.max_tokens, self.pass_at)
        return self

    @property
    def name(self) -> str:
        """The name of the suite."""
        return suite_name(self.suite)

    @property
    def file(self) -> str | None:
        """The file of a suite of one's own."""
        return self.suite if is_suite_path(self.suite) else None

    def as_suite(self) -> SuiteConfig:
        """The suite as evaluations ask it, but once at temperature 0 whatever its file says."""
        return SuiteConfig(
            name=self.name,
            file=self.file,
            cases=self.cases,
            max_tokens=self.max_tokens,
            system=self.system,
            pass_at=self.pass_at,
            samples=1,
            temperature=0.0,
        )

    def due(self, step: int, steps: int) -> bool:
        """Whether the policy is asked after optimiser step `step` of `steps`."""
        return step == steps or step % self.every == 0

    def times(self, steps: int) -> int:
        """How often the policy is asked in a stage of `steps` optimiser steps."""
        return -(-steps // self.every)

    def needs(self) -> Mapping[str, Need]:
        """The input that the prompts come from."""
        if self.suite != HELD_OUT_SUITE:
            return {}
        return {HELD_OUT_INPUT: Need((HELD_OUT,), stage=PROMPTS_STAGE)}

    def prompts_at_most(self, sizes: Sizes) -> int | None:
        """Upper bound on the prompts that are asked each time; None if unknown."""
        known = sizes.held_out if self.suite == HELD_OUT_SUITE else None
        return min((n for n in (self.limit, known) if n is not None), default=None)

    def require_room(self, rollouts: RolloutConfig, place: str) -> None:
        """ValueError where the longest answer leaves no room for a prompt. `place` names this
        section."""
        suite = self.as_suite()
        if not is_there(suite.file):  # the recipe's check of its files says so
            return
        length = suite.answer_length()
        if length >= rollouts.max_model_len:
            raise ValueError(
                f"{place}: answers of {length} tokens leave no room for a prompt in"
                f" rollouts.max_model_len ({rollouts.max_model_len}); give {place}.max_tokens"
            )

    def question(self, place: str, engine: str, rollouts: RolloutConfig) -> SuiteQuestion:
        """The question of the early check. `place` is this section, `engine` the one with
        `rollouts`."""
        return SuiteQuestion(
            place=place,
            engine=engine,
            suite=self.as_suite(),
            dev_limit=self.limit,
            max_model_len=rollouts.max_model_len,
            steers=True,
        )


def engine_objections(rollouts: RolloutConfig, execution: ExecutionConfig) -> Iterator[Objection]:
    """Layouts in which a stage that trains cannot give its policy to an engine."""
    devices = execution.devices
    if not rollouts.exact and getattr(devices.engine, "tensor_parallel", 1) > 1:
        yield Objection(
            ("devices.engine.tensor_parallel",),
            "rollouts in bfloat16 are proven on servers of one GPU each",
            "set tensor_parallel: 1, or `rollouts: {dtype: float32}`",
        )
    if devices.engine.kind == "in_process" and devices.processes > 1:
        message = f"{devices.processes} training processes, and the rollout engine is in one"
        yield Objection(("devices.engine",), message, IN_A_SERVER)

"""Declaration of direct preference optimisation."""

import math
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from common.artifacts import (
    BAD_ROWS,
    CHECKPOINT,
    CONTAMINATED,
    GROUPS,
    HELD_OUT,
    PAIRS,
    PROMPTS,
    Artifact,
)
from common.config import InvalidValue
from common.execution import ENGINE, ExecutionConfig
from corner_cases.sets import training_size
from models.memory import Memory, engine_memory, reference_memory
from models.sizes import Dimensions
from rollouts.config import RolloutConfig
from stages.declaration import PROMPTS_STAGE, EngineUse, FieldPath, Need, Objection, Sizes
from stages.dpo.pairs import MIN_MARGIN
from stages.dpo.sources import Pairs, PairSource, pair_sources
from stages.questions import CornerCaseQuestion, PairQuestion, Question
from stages.training import TrainingStage


def input_of(number: int) -> str:
    """Name of the input that the pairs of a source come from."""
    return f"pairs {number}" if number else "pairs"


class DpoStage(TrainingStage):
    """Direct preference optimisation on pairs of answers: from an RL stage's groups, from files of
    one's own, from corner cases of the policy, or from several of them."""

    # 2: no pair of files overlaps the suite `corner_cases`. 3: pairs of a corner case may share a
    # chosen answer. 4: no pair of files overlaps one of the suites that are files.
    # 5: these are more.
    version: ClassVar[int] = 5
    produces: ClassVar[tuple[Artifact, ...]] = (*TrainingStage.produces, PAIRS)

    kind: Literal["dpo"]
    pairs: Pairs = Field(examples=["rl"])
    """Id of the RL stage from whose groups the pairs are built; or `{path: FILE}`, pairs of one's
    own; or `{corner_cases: all}`, pairs of answers with and without a corner case; or a list of
    them with shares, such as `{stage: ID, share: 0.5}` and `{path: FILE, share: 0.5}`."""
    reference: str | None = Field(default=None, examples=["sft"])
    """Id of the stage whose checkpoint is the reference policy; not set: the one in `from`."""
    max_pairs: int = Field(default=256, ge=1)
    """Largest number of pairs to train on. Of a stage's pairs those of the newest policy versions
    are preferred; of files a sample is drawn; of corner cases each gives the same number as far as
    it has pairs."""
    max_length_ratio: float = Field(default=2.0, ge=1)
    """Largest ratio between the lengths in tokens of the chosen and the rejected answer of a pair
    from a stage or a corner case. Pairs of files are taken as they are."""
    min_margin: float = Field(default=MIN_MARGIN, gt=0, le=1)
    """Smallest difference between the rewards of a pair's chosen and rejected answer."""
    batch_size: int = Field(default=16, ge=1)
    """Pairs per optimiser step."""
    beta: float = Field(default=0.1, gt=0)
    """DPO's beta: larger values keep the policy closer to the reference policy."""
    sft_weight: float = Field(default=0.5, ge=0)
    """Weight of an SFT loss on the chosen answers, which keeps their likelihood from falling."""
    rollouts: RolloutConfig = RolloutConfig()
    """The rollout engine that answers the prompts of corner cases; without them there is none."""

    @field_validator("pairs")
    @classmethod
    def _shares_add_up(cls, value: Any) -> Any:
        shares = [one.share for one in pair_sources(value)]
        if abs(sum(shares) - 1) > 1e-6:
            listed = ", ".join(f"{share:g}" for share in shares)
            raise InvalidValue(
                f"the shares add up to {sum(shares):g} and not to 1: {listed or 'no source'}",
                "write for example `pairs: [{stage: rl, share: 0.5}, {path: pairs.jsonl, share:"
                " 0.5}]`",
            )
        return value

    @model_validator(mode="after")
    def _one_source_of_corner_cases(self) -> "DpoStage":
        found = [one for one in self.sources if one.cases]
        if len(found) > 1:
            raise InvalidValue(
                f"{len(found)} sources have corner_cases",
                "name all cases in one source: each gives the same number of pairs",
            )
        if not found and self.rollouts != RolloutConfig():
            raise InvalidValue(
                "rollouts has no effect without pairs of corner cases", "remove rollouts"
            )
        if found and found[0].max_tokens >= self.rollouts.max_model_len - 1:
            raise ValueError(
                f"pairs: max_tokens ({found[0].max_tokens}) leaves no room for a prompt in"
                f" rollouts.max_model_len ({self.rollouts.max_model_len})"
            )
        return self

    @property
    def sources(self) -> tuple[PairSource, ...]:
        return pair_sources(self.pairs)

    @property
    def sampled(self) -> PairSource | None:
        """The source of corner cases, for which the stage starts an engine."""
        return next((one for one in self.sources if one.cases), None)

    @property
    def _avoids_held_out(self) -> bool:
        """Whether a source may hold prompts that the run keeps for evaluation."""
        return any(one.stage is None for one in self.sources)

    def execution_settings(self) -> tuple[str, ...]:
        return (*self.reads_execution, *(ENGINE if self.sampled else ()))

    def outputs(self) -> tuple[Artifact, ...]:
        of_files = (CONTAMINATED, BAD_ROWS) if any(one.file for one in self.sources) else ()
        return (*self.produces, *of_files)

    def steps_at_most(self) -> int:
        return math.ceil(self.max_pairs / self.batch_size)

    def needs(self) -> Mapping[str, Need]:
        reference = ("from",) if self.reference is None else ("reference",)
        held_out = Need((HELD_OUT,), stage=PROMPTS_STAGE)
        return {
            **super().needs(),
            **self._pair_needs(),
            "reference": Need((CHECKPOINT,), path=reference),
            **({"held_out": held_out} if self._avoids_held_out else {}),
        }

    def _pair_needs(self) -> dict[str, Need]:
        """The stages that pairs come from, by the name of the input (`input_of`)."""
        if isinstance(self.pairs, str):
            return {"pairs": Need((GROUPS, PROMPTS), path=("pairs",))}
        paths: list[FieldPath] = [("pairs", "stage")]
        if isinstance(self.pairs, tuple):
            paths = [("pairs", number, "stage") for number in range(len(self.pairs))]
        return {
            input_of(number): Need((GROUPS, PROMPTS), path=path)
            for number, (path, source) in enumerate(zip(paths, self.sources, strict=True))
            if source.stage is not None
        }

    def questions(self, place: str, seed: int) -> Iterator[Question]:
        for number, source in enumerate(self.sources):
            item = f"[{number}]" if isinstance(self.pairs, tuple) else ""
            if source.file is not None:
                yield PairQuestion(place=f"{place}.pairs{item}", pairs=source.file)
            if source.cases:
                yield CornerCaseQuestion(
                    place=f"{place}.pairs{item}",
                    engine=place,
                    cases=source.cases,
                    max_tokens=source.max_tokens,
                    max_model_len=self.rollouts.max_model_len,
                )

    def engines(self) -> Iterator[EngineUse]:
        if self.sampled:
            yield EngineUse(("rollouts",), self.rollouts)

    def bounds(self, sizes: Sizes) -> dict[str, int | None]:
        pairs = {"pairs_at_most": self.max_pairs}
        if self.sampled is None:
            return {**pairs}
        prompts = training_size(self.sampled.cases, self.sampled.prompts_per_case)
        answers = prompts * self.sampled.samples
        tokens = answers * self.sampled.max_tokens
        return {**pairs, "answers_at_most": answers, "tokens_generated_at_most": tokens}

    def memory(self, policy: Dimensions | None, execution: ExecutionConfig) -> Memory | None:
        trainer = super().memory(policy, execution)
        if trainer is None or policy is None:
            return None
        trainer = trainer + reference_memory(policy)
        if self.sampled is None:
            return trainer
        tokens = execution.max_num_seqs * self.rollouts.max_model_len
        engine = engine_memory(policy, self.rollouts.dtype, tokens)
        if execution.devices.engine.kind != "in_process":
            return trainer + engine
        # One after the other in the same process.
        return max(trainer, engine, key=Memory.total)

    def execution_objections(self, execution: ExecutionConfig) -> Iterator[Objection]:
        yield from super().execution_objections(execution)
        if execution.rows_per_forward < 2:
            message = (
                f"rows_per_forward is {execution.rows_per_forward}, but a pair has two sequences"
            )
            yield Objection(("rows_per_forward",), message, "use 2 or more")
        devices = execution.devices
        if self.sampled and devices.processes > 1 and devices.engine.kind == "in_process":
            message = (
                f"{devices.processes} training processes, and the rollout engine that answers the"
                " prompts of corner cases is in one"
            )
            remedy = "let the engine be a server: `engine: {kind: server}`"
            yield Objection(("devices.engine",), message, remedy)

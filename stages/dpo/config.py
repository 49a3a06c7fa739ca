"""Declaration of direct preference optimisation."""

import math
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

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
from common.execution import ExecutionConfig
from models.memory import Memory, reference_memory
from models.sizes import Dimensions
from prompts.pair_config import Pairs, PairSource, pair_sources
from stages.declaration import PROMPTS_STAGE, FieldPath, Need, Objection, Sizes
from stages.dpo.pairs import MIN_MARGIN
from stages.questions import PairQuestion, Question
from stages.training import TrainingStage


def input_of(number: int) -> str:
    """Name of the input that the pairs of a source come from."""
    return f"pairs {number}" if number else "pairs"


class DpoStage(TrainingStage):
    """Direct preference optimisation on pairs of answers: from an RL stage's groups, from files of
    one's own, or from both."""

    produces: ClassVar[tuple[Artifact, ...]] = (*TrainingStage.produces, PAIRS)

    kind: Literal["dpo"]
    pairs: Pairs = Field(examples=["rl"])
    """Id of the RL stage from whose groups the pairs are built; or `{path: FILE}`, pairs of one's
    own; or a list of `{stage: ID, share: 0.5}` and `{path: FILE, share: 0.5}`."""
    reference: str | None = Field(default=None, examples=["sft"])
    """Id of the stage whose checkpoint is the reference policy; not set: the one in `from`."""
    max_pairs: int = Field(default=256, ge=1)
    """Largest number of pairs to train on. Of a stage's pairs those of the newest policy versions
    are preferred; of files a sample is drawn."""
    max_length_ratio: float = Field(default=2.0, ge=1)
    """Largest ratio between the lengths in tokens of the chosen and the rejected answer of a pair
    from a stage. Pairs of files are taken as they are."""
    min_margin: float = Field(default=MIN_MARGIN, gt=0, le=1)
    """Smallest difference between the rewards of a pair's chosen and rejected answer."""
    batch_size: int = Field(default=16, ge=1)
    """Pairs per optimiser step."""
    beta: float = Field(default=0.1, gt=0)
    """DPO's beta: larger values keep the policy closer to the reference policy."""
    sft_weight: float = Field(default=0.5, ge=0)
    """Weight of an SFT loss on the chosen answers, which keeps their likelihood from falling."""

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

    @property
    def sources(self) -> tuple[PairSource, ...]:
        return pair_sources(self.pairs)

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
            **({"held_out": held_out} if any(one.file for one in self.sources) else {}),
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
            if source.file is not None:
                item = f"[{number}]" if isinstance(self.pairs, tuple) else ""
                yield PairQuestion(place=f"{place}.pairs{item}", pairs=source.file)

    def bounds(self, sizes: Sizes) -> dict[str, int | None]:
        return {"pairs_at_most": self.max_pairs}

    def memory(self, policy: Dimensions | None, execution: ExecutionConfig) -> Memory | None:
        trainer = super().memory(policy, execution)
        return trainer + reference_memory(policy) if trainer and policy else None

    def execution_objections(self, execution: ExecutionConfig) -> Iterator[Objection]:
        yield from super().execution_objections(execution)
        if execution.rows_per_forward < 2:
            message = (
                f"rows_per_forward is {execution.rows_per_forward}, but a pair has two sequences"
            )
            yield Objection(("rows_per_forward",), message, "use 2 or more")

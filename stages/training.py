"""What the declarations of all training stages share: SFT, RL and DPO; light."""

from collections.abc import Iterator, Mapping
from typing import ClassVar

from pydantic import Field

from common.artifacts import CHECKPOINT, METRICS, ROUTING, Artifact
from common.execution import TRAINER, ExecutionConfig
from models.memory import Memory, resume_bytes, training_memory, weight_bytes
from models.sizes import Dimensions, trainable_parameters
from stages.declaration import FROM, Disk, Need, Objection, StageConfig
from training.settings import TrainingSettings

CHECKPOINTS = 3
"""Checkpoints that a training stage has at most at once: two are kept, and the next one is written
before the oldest goes."""


class TrainingStage(StageConfig, TrainingSettings):
    """A stage that starts from a checkpoint and leaves another one."""

    produces: ClassVar[tuple[Artifact, ...]] = (CHECKPOINT, METRICS, ROUTING)
    reads_execution: ClassVar[tuple[str, ...]] = TRAINER

    from_: str = Field(alias="from", examples=["sft"])
    """Id of the stage whose checkpoint training starts from (`base` for the starting model)."""

    def needs(self) -> Mapping[str, Need]:
        return {FROM: Need((CHECKPOINT,), path=("from",))}

    def memory(self, policy: Dimensions | None, execution: ExecutionConfig) -> Memory | None:
        return training_memory(policy, self.train, self.lora) if policy else None

    def disk(self, policy: Dimensions) -> Disk | None:
        at_work = CHECKPOINTS * resume_bytes(policy, self.train, self.lora)
        return Disk(kept=weight_bytes(policy), at_work=at_work)

    def objections(self, policy: Dimensions) -> Iterator[Objection]:
        yield from self._layers_that_are_missing(policy)
        if self.train == "lora" and self.lora.rank > policy.width:
            message = (
                f"{self.lora.rank:,} is above the model's width, {policy.width:,}: such adapters"
                " are no smaller than it"
            )
            yield Objection(
                ("lora", "rank"), message, "lower it (16 is usual), or choose train: full"
            )

    def _layers_that_are_missing(self, policy: Dimensions) -> Iterator[Objection]:
        """A layer that the model does not have, or a choice of weights that leaves none to
        train."""
        outside = [layer for layer in self.lora.layers or () if layer >= policy.layers]
        if outside:
            named = ", ".join(map(str, outside))
            message = f"there is no layer {named}: the model's are 0 to {policy.layers - 1}"
            yield Objection(("lora", "layers"), message, "name layers that are there")
        elif not trainable_parameters(policy, self.train, self.lora):
            yield self._nothing_trains(policy)

    def _nothing_trains(self, policy: Dimensions) -> Objection:
        if self.train == "lora":
            parts = ", ".join(self.lora.parts)
            message = f"no layer that is named has a part that is named ({parts})"
            remedy = f"its layers with experts are {list(policy.moe_layers)}"
            return Objection(("lora",), message, remedy)
        message = f"the model has no weights for train: {self.train}"
        return Objection(("train",), message, "choose another setting")

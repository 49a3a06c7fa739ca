"""What the declarations of the training stages (SFT, RL, DPO) share; light."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import ClassVar

from pydantic import Field

from common.artifacts import CHECKPOINT, METRICS, ROUTING, Artifact
from common.execution import TRAINER, ExecutionConfig
from models.memory import Memory, resume_bytes, training_memory, weight_bytes
from models.sizes import Dimensions, trainable_parameters
from stages.declaration import FROM, Disk, Need, Objection, StageConfig
from training.settings import TrainingSettings

CHECKPOINTS = 3
"""Largest number of checkpoints of a training stage at once: two are kept, and the next one is
written before the oldest is removed."""


def with_best_weights(disk: Disk, policy: Dimensions) -> Disk:
    """The disk space of a stage that keeps its best weights so far, and beside each of its
    checkpoints those that were the best then."""
    best = (1 + CHECKPOINTS) * weight_bytes(policy)
    return replace(disk, at_work=disk.at_work + best)


class TrainingStage(StageConfig, TrainingSettings):
    """Settings of the stages that train: they start from a checkpoint and produce another one."""

    produces: ClassVar[tuple[Artifact, ...]] = (CHECKPOINT, METRICS, ROUTING)
    imports_torch: ClassVar[bool] = True
    reads_execution: ClassVar[tuple[str, ...]] = TRAINER

    from_: str = Field(alias="from", examples=["sft"])
    """Id of the stage whose checkpoint training starts from; `base` is the starting model."""

    def needs(self) -> Mapping[str, Need]:
        return {FROM: Need((CHECKPOINT,), path=("from",))}

    def memory(self, policy: Dimensions | None, execution: ExecutionConfig) -> Memory | None:
        return training_memory(policy, self.train, self.lora) if policy else None

    def disk(self, policy: Dimensions) -> Disk | None:
        at_work = CHECKPOINTS * resume_bytes(policy, self.train, self.lora)
        return Disk(kept=weight_bytes(policy), at_work=at_work)

    def execution_objections(self, execution: ExecutionConfig) -> Iterator[Objection]:
        devices = execution.devices
        if devices.processes > 1 and devices.sharding == "none":
            message = f"{devices.processes} training processes, but sharding is none"
            remedy = (
                "add `sharding: ddp` (each process has the whole model) or `sharding: fsdp2` (each"
                " has a part of it)"
            )
            yield Objection(("devices.sharding",), message, remedy)

    def objections(self, policy: Dimensions) -> Iterator[Objection]:
        yield from self._weight_objections(policy)
        if self.train == "lora" and self.lora.rank > policy.width:
            message = (
                f"{self.lora.rank:,} is above the model's width, {policy.width:,}: such adapters"
                " are not smaller than the weights that they adapt"
            )
            yield Objection(
                ("lora", "rank"), message, "lower it (16 is usual), or choose train: full"
            )

    def _weight_objections(self, policy: Dimensions) -> Iterator[Objection]:
        """Layers that the model does not have, or a choice of weights that selects none."""
        outside = [layer for layer in self.lora.layers or () if layer >= policy.layers]
        if outside:
            named = ", ".join(map(str, outside))
            message = f"there is no layer {named}: the model has layers 0 to {policy.layers - 1}"
            yield Objection(("lora", "layers"), message, "name existing layers")
        elif not trainable_parameters(policy, self.train, self.lora):
            yield self._no_trained_weights(policy)

    def _no_trained_weights(self, policy: Dimensions) -> Objection:
        if self.train == "lora":
            parts = ", ".join(self.lora.parts)
            message = f"none of the named layers has one of the named parts ({parts})"
            remedy = f"the model's layers with experts are {list(policy.moe_layers)}"
            return Objection(("lora",), message, remedy)
        message = f"the model has no weights for train: {self.train}"
        return Objection(("train",), message, "choose another setting")

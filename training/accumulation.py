"""SFT and DPO: the batch of an optimiser step goes through the model in as few and as even forward
passes as the limit allows.

The trainer gets the whole step as one batch, and its own accumulation stays at 1. Trainer
accumulates batches of equal size only: 17 rows with a limit of 16 would take 17 passes. The
gradient is that of the whole batch, however it is divided."""

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor
from transformers import Trainer

from common.quotas import even_parts

Batch = dict[str, Any]


class EvenPasses(Trainer):
    """A trainer whose batch is divided: at most `items` of it (rows, pairs) go through the model at
    once."""

    items: int
    passes = 1
    """Forward passes of the present optimiser step."""

    def training_step(self, model: Any, inputs: Batch, num_items_in_batch: Any = None) -> Tensor:
        """The forward and backward passes of a step; the sum of their losses is the loss of the
        whole batch."""
        parts, losses = self.parts(inputs), []
        self.passes = len(parts)
        for part in parts:
            self.weigh(part, inputs)
            losses.append(super().training_step(model, part, num_items_in_batch))
        self._average([len(part["input_ids"]) for part in parts])
        return torch.stack(losses).sum()

    def parts(self, inputs: Batch) -> list[Batch]:
        """The batch by pass."""
        sizes = even_parts(len(inputs["input_ids"]), self.items)
        columns = {name: value.split(sizes) for name, value in inputs.items()}
        return [
            shortened({name: column[i] for name, column in columns.items()})
            for i in range(len(sizes))
        ]

    def weigh(self, part: Batch, whole: Batch) -> None:
        """Prepare the loss of a part: a loss that is a mean over the part must become its share of
        the whole. SFT's loss is already divided by the tokens of the whole step."""

    def restore_token_count(self, last: Mapping[str, float]) -> None:
        """Go on counting tokens from a stage's last logged step: TRL counts those that it trained
        on, and loses the count with the process."""
        cast(Any, self)._total_train_tokens = last.get("num_tokens", 0)

    def _average(self, sizes: list[int]) -> None:
        """Replace the figures of the passes by their mean weighted by size, as TRL logs the plain
        mean."""
        for values in cast(Any, self)._metrics["train"].values():
            if len(values) == len(sizes) > 1:
                values[:] = [
                    sum(value * size for value, size in zip(values, sizes, strict=True))
                    / sum(sizes)
                ]


def shortened(batch: Batch) -> Batch:
    """A part without the columns that are padding in all of its rows, which end on the right."""
    length = int(batch["attention_mask"].any(0).nonzero().max()) + 1
    return {name: value[:, :length] if value.dim() == 2 else value for name, value in batch.items()}

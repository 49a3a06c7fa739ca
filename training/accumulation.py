"""SFT and DPO: the batch of an optimiser step goes through the model in as few and as even forward
passes as the limit allows.

The trainer gets the whole step as one batch, and its own accumulation stays at 1. Trainer
accumulates batches of equal size only: 17 rows with a limit of 16 would take 17 passes. The
gradient is that of the whole batch, however it is divided.

With several processes each reads the whole batch and takes its part of every pass. A process
without a part computes a row whose loss counts 0: the others wait for its gradients. The gradients
are averaged over the processes, so each multiplies its share of the loss by their number."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, cast

import torch
from accelerate.data_loader import prepare_data_loader
from torch import Tensor, distributed
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader
from transformers import Trainer

from models.moe import weights_rounded_once
from training.processes import dealt

Batch = dict[str, Any]
IGNORED = -100
"""The label of a token that has no loss."""


class EvenPasses(Trainer):
    """A trainer whose batch is divided: at most `items` of it (rows, pairs) go through the model at
    once."""

    items: int
    passes = 1
    """Forward passes of the present optimiser step."""
    counted = True
    """Whether the present pass has rows of this process, and not only one to keep it company."""

    @property
    def processes(self) -> int:
        return int(self.accelerator.num_processes)

    def get_train_dataloader(self) -> DataLoader:
        """The whole batch of each step, in the order of one process; accelerate would hand every
        process another part of the data."""
        if self.processes == 1:
            return super().get_train_dataloader()
        with _unshared(self.accelerator):
            return super().get_train_dataloader()

    def training_step(self, model: Any, inputs: Batch, num_items_in_batch: Any = None) -> Tensor:
        """The forward and backward passes of a step; the sum of their losses is the loss of the
        whole batch."""
        spans, parts, losses = self.spans(inputs), self.parts(inputs), []
        self.passes = len(parts)
        if self.processes > 1:
            self._own_figures()
        with rounded_once(self):
            for number, part in enumerate(parts, start=1):
                self.counted = spans[number - 1][1] > 0
                self.weigh(part, inputs)
                with gradients_kept(self, model, number):
                    losses.append(super().training_step(model, part, num_items_in_batch))
        counts = [count for _, count in spans]
        if self.processes == 1:
            self._average(counts)
        else:
            self._average_over_processes(inputs, parts, [count > 0 for count in counts])
        return torch.stack(losses).sum()

    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        """The loss of a pass, so that its mean over the processes is their share of the step's."""
        loss = super().compute_loss(*args, **kwargs)
        return loss if self.processes == 1 else loss * (self.processes * self.counted)

    def spans(self, inputs: Batch) -> list[tuple[int, int]]:
        """The items of each pass of this process, as (first, count)."""
        rank = int(self.accelerator.process_index)
        return dealt(self.count(inputs), self.items, self.processes, rank)

    def parts(self, inputs: Batch) -> list[Batch]:
        """The batch by pass. A pass without items has the first one of the step."""
        return [
            self.laid(self.some(inputs, start if count else 0, count or 1))
            for start, count in self.spans(inputs)
        ]

    def laid(self, part: Batch) -> Batch:
        """A part as it goes through the model."""
        return shortened(part)

    def count(self, inputs: Batch) -> int:
        """The items of a batch."""
        return len(inputs["input_ids"])

    def some(self, inputs: Batch, start: int, count: int) -> Batch:
        """Items of a batch that follow one another."""
        return {name: value[start : start + count] for name, value in inputs.items()}

    def weigh(self, part: Batch, whole: Batch) -> None:
        """Prepare the loss of a part: a loss that is a mean over the part must become its share of
        the whole. SFT's loss is already divided by the tokens of the whole step."""

    def weights(self, part: Batch) -> Mapping[str, float]:
        """What the figures of a part, by name, are means over; the empty name stands for those that
        have no entry."""
        answers = part["labels"][:, 1:] != IGNORED
        return {"": float(answers.sum())}

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

    def _own_figures(self) -> None:
        """Let TRL note the figures of this process alone. It gathers those of all rows, which fails
        where processes have different numbers of them."""
        accelerator: Any = self.accelerator
        accelerator.gather = accelerator.gather_for_metrics = lambda values: values
        cast(Any, self)._metrics["train"].clear()
        self._tokens_before = cast(Any, self)._total_train_tokens

    def _average_over_processes(
        self, inputs: Batch, parts: Sequence[Batch], counted: Sequence[bool]
    ) -> None:
        """Replace the figures of the passes by their mean over all passes and processes, and count
        the tokens of the step."""
        figures = cast(Any, self)._metrics["train"]
        names = sorted(name for name in figures if name != "num_tokens")
        weights = [self.weights(part) for part in parts]
        sums = torch.zeros(len(names), 2, dtype=torch.float64)
        for row, name in enumerate(names):
            for value, weight, real in zip(figures[name], weights, counted, strict=True):
                if real:
                    share = weight.get(name, weight[""])
                    sums[row] += torch.tensor([value * share, share], dtype=torch.float64)
        distributed.all_reduce(sums)
        for row, name in enumerate(names):
            figures[name] = [(sums[row, 0] / sums[row, 1]).item()]
        tokens = self._tokens_before + int(inputs["attention_mask"].sum())
        cast(Any, self)._total_train_tokens = tokens
        figures["num_tokens"] = [tokens]


@contextmanager
def _unshared(accelerator: Any) -> Iterator[None]:
    """Data loaders prepared within give every process all of the data."""

    def prepare(loader: DataLoader) -> DataLoader:
        return prepare_data_loader(
            loader,
            accelerator.device,
            num_processes=1,
            process_index=0,
            put_on_device=True,
            use_seedable_sampler=accelerator.use_seedable_sampler,
            data_seed=accelerator.dataloader_config.data_seed,
        )

    accelerator.prepare = prepare
    try:
        yield
    finally:
        del accelerator.prepare


def rounded_once(trainer: Any) -> AbstractContextManager[Any]:
    """Around the passes of a step: in bfloat16 the experts' weights are rounded once for all."""
    again = trainer.passes > 1 or trainer.args.gradient_checkpointing
    return weights_rounded_once() if trainer.args.bf16 and again else nullcontext()


def gradients_kept(trainer: Any, model: Any, number: int) -> AbstractContextManager[Any]:
    """Around pass `number`, from 1, of a step. DDP averages the gradients once, in the last one.
    FSDP2 averages them in each: to keep them, every process would need room for the gradient of the
    whole model."""
    last = number == trainer.passes or not isinstance(model, DistributedDataParallel)
    return nullcontext() if last else model.no_sync()


def shortened(batch: Batch) -> Batch:
    """A part without the columns that are padding in all of its rows, which end on the right."""
    length = int(batch["attention_mask"].any(0).nonzero().max()) + 1
    return {name: value[:, :length] if value.dim() == 2 else value for name, value in batch.items()}


def in_one_row(batch: Batch) -> Batch:
    """A part as one row of documents, without padding (`models/documents.py`): token ids, labels
    and positions (1, T), and the lengths of the documents. A document's first token is predicted
    by nothing, as in a row of its own."""
    real = batch["attention_mask"].bool()
    positions = real.cumsum(1) - 1
    labels = batch["labels"].masked_fill(positions == 0, IGNORED)
    return {
        "input_ids": batch["input_ids"][real][None],
        "labels": labels[real][None],
        "position_ids": positions[real][None],
        "documents": tuple(real.sum(1).tolist()),
    }

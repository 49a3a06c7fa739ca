"""TRL's DPO trainer on pairs that go through the model in even passes.

A batch of n pairs has the n chosen sequences, then the n rejected ones. The losses are means: over
the pairs of a pass ("sigmoid") and over their chosen tokens ("sft"). Each is weighed by the share
that the pass has in the step, whichever process computes it.

Overrides `_precompute_ref_logps`, a private method of TRL: with several processes TRL's writes a
file that the others do not find, as a dataset in memory has a folder of its own in each. Before it
is the one place where a dataset is tokenised and not yet read: a rejected answer that the limit of
tokens ended gets the tokens that were sampled, as the chat template would write an end after it."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, distributed
from trl import DPOTrainer

from training.accumulation import Batch, EvenPasses
from training.processes import dealt

REFERENCE = ("ref_chosen_logps", "ref_rejected_logps")
"""Columns with a row per pair; the others have one per sequence."""
CUT_IDS = "cut_ids"
"""Column with the tokens of rejected answers that the limit ended; empty for other pairs."""


class PairTrainer(EvenPasses, DPOTrainer):
    """At most `items` pairs go through the model at once."""

    def count(self, inputs: Batch) -> int:
        return len(inputs["ref_chosen_logps"])

    def some(self, inputs: Batch, start: int, count: int) -> Batch:
        """Pairs that follow one another, with their chosen and their rejected sequences."""
        chosen = torch.arange(start, start + count, device=inputs["input_ids"].device)
        both = torch.cat([chosen, chosen + self.count(inputs)])
        return {n: v[chosen if n in REFERENCE else both] for n, v in inputs.items()}

    def weigh(self, part: Batch, whole: Batch) -> None:
        """Weigh the losses of the part by its share of the pairs and of the chosen tokens."""
        shares = {
            "sigmoid": len(part["ref_chosen_logps"]) / len(whole["ref_chosen_logps"]),
            "sft": _chosen_tokens(part) / _chosen_tokens(whole),
        }
        weights = self.args.loss_weights or [1.0] * len(self.loss_types)
        self.loss_weights = [
            weight * shares[kind] for kind, weight in zip(self.loss_types, weights, strict=True)
        ]

    def weights(self, part: Batch) -> Mapping[str, float]:
        chosen, rejected = part["completion_mask"][:, 1:].sum(1).chunk(2)
        tokens = {"chosen": float(chosen.sum()), "rejected": float(rejected.sum())}
        return {
            "": float(self.count(part)),
            "entropy": tokens["chosen"] + tokens["rejected"],
            "mean_token_accuracy": tokens["chosen"],
            "logits/chosen": tokens["chosen"],
            "logits/rejected": tokens["rejected"],
        }

    def _precompute_ref_logps(self, dataset: Any, name: str, batch_size: int) -> Any:
        """The dataset with the reference's log-probabilities. Each process computes those of some
        batches, and has all in the end."""
        if CUT_IDS in dataset.column_names:
            rejected = [row[CUT_IDS] or row["rejected_ids"] for row in dataset]
            dataset = dataset.remove_columns([CUT_IDS, "rejected_ids"])
            dataset = dataset.add_column("rejected_ids", rejected)
        if self.processes == 1:
            return super()._precompute_ref_logps(dataset, name, batch_size)
        mine = list(self._reference_logps(dataset, batch_size))
        everyone: list[Any] = [None] * self.processes
        distributed.all_gather_object(everyone, mine)
        columns: dict[str, dict[int, float]] = {column: {} for column in REFERENCE}
        for start, logps in (batch for batches in everyone for batch in batches):
            for column, values in zip(REFERENCE, logps, strict=True):
                columns[column].update(enumerate(values, start))
        for column, values in columns.items():
            dataset = dataset.add_column(column, [values[row] for row in range(len(dataset))])
        return dataset

    def _reference_logps(
        self, dataset: Any, batch_size: int
    ) -> Iterator[tuple[int, list[list[float]]]]:
        """Where each batch of this process begins, and its log-probabilities, chosen and rejected.

        The batches are those of one process. One without a batch left computes the first one again,
        and leaves it out: the reference may be divided among the processes."""
        batches = -(-len(dataset) // batch_size)
        for turn, count in dealt(batches, 1, self.processes, int(self.accelerator.process_index)):
            start = turn * batch_size if count else 0
            rows = [dataset[i] for i in range(start, min(start + batch_size, len(dataset)))]
            batch = self._prepare_inputs(self.data_collator(rows))
            logps: tuple[Tensor, Tensor] = self.compute_ref_log_probs(self.ref_model, batch)
            if count:
                yield start, [values.float().tolist() for values in logps]


def _chosen_tokens(batch: Batch) -> int:
    chosen, _ = batch["completion_mask"].chunk(2)
    return int(chosen.sum())

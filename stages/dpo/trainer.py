"""TRL's DPO trainer on pairs that go through the model in even passes.

A batch of n pairs has the n chosen sequences, then the n rejected ones. The losses are means: over
the pairs of a pass ("sigmoid") and over their chosen tokens ("sft"). Each is weighed by the share
that the pass has in the step."""

import torch
from trl import DPOTrainer

from common.quotas import even_parts
from training.accumulation import Batch, EvenPasses, shortened

REFERENCE = ("ref_chosen_logps", "ref_rejected_logps")
"""Columns with a row per pair; the others have one per sequence."""


class PairTrainer(EvenPasses, DPOTrainer):
    """At most `items` pairs go through the model at once."""

    def parts(self, inputs: Batch) -> list[Batch]:
        """The batch by pass, each with the chosen and the rejected sequences of its pairs."""
        pairs = len(inputs["ref_chosen_logps"])
        parts, start = [], 0
        for size in even_parts(pairs, self.items):
            chosen = torch.arange(start, start + size, device=inputs["input_ids"].device)
            both = torch.cat([chosen, chosen + pairs])
            columns = {n: v[chosen if n in REFERENCE else both] for n, v in inputs.items()}
            parts.append(shortened(columns))
            start += size
        return parts

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


def _chosen_tokens(batch: Batch) -> int:
    chosen, _ = batch["completion_mask"].chunk(2)
    return int(chosen.sum())

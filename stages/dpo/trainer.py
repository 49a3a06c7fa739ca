"""TRL's DPO trainer on pairs that go through the model in even passes.

A batch of n pairs has the n chosen sequences, then the n rejected ones. The losses are means, over
the pairs of a pass ("sigmoid") and over their chosen tokens ("sft"); each is weighed by the part
that the pass has in the step."""

import torch
from trl import DPOTrainer

from common.quotas import even_parts
from training.accumulation import Batch, EvenPasses, shortened

REFERENCE = ("ref_chosen_logps", "ref_rejected_logps")
"""What a batch has of each pair; of the rest it has a row for each sequence."""


class PairTrainer(EvenPasses, DPOTrainer):
    """`items` pairs at most go through the model at once."""

    def parts(self, inputs: Batch) -> list[Batch]:
        pairs = len(inputs["ref_chosen_logps"])
        found, start = [], 0
        for size in even_parts(pairs, self.items):
            mine = torch.arange(start, start + size, device=inputs["input_ids"].device)
            both = torch.cat([mine, mine + pairs])
            found.append(
                shortened({n: v[mine] if n in REFERENCE else v[both] for n, v in inputs.items()})
            )
            start += size
        return found

    def weigh(self, part: Batch, whole: Batch) -> None:
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

"""GRPO on TRL's trainer, with our rollouts: the curriculum decides what is practised, vLLM samples, parity is checked.

TRL 1.16's private methods that this overrides: `_prepare_inputs` (where a batch of rollouts enters), `_compute_loss`
and `_get_per_token_logps_and_entropies`. `tests/test_rl_contract.py` fails when they change.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader
from trl import GRPOConfig, GRPOTrainer

from models.adapters import policy_weights
from rollouts import parity
from stages.rl.groups import Group
from stages.rl.kl import Reference
from stages.rl.packed import logprobs_and_entropies, pack
from stages.rl.practice import Practised

Batch = dict[str, Any]


class CurriculumTrainer(GRPOTrainer):
    """GRPO whose batches come from `practise(step)`: groups with a spread of rewards, and what getting them cost."""

    def __init__(
        self,
        *,
        policy: Any,
        args: GRPOConfig,
        tokenizer: Any,
        engine: Any,
        practise: Callable[[int], Practised],
        probes: tuple[list[list[int]], list[list[int]]],
        tolerance: float,
        reference: Reference | None = None,
    ) -> None:
        self.engine, self.practise, self.probes, self.tolerance = engine, practise, probes, tolerance
        self.reference = reference
        self.current: Batch | None = None
        self.latest_logprobs: Tensor | None = None
        # GRPOTrainer asks for prompts and a reward; both are the curriculum's here and neither is read.
        rows = Dataset.from_dict({"prompt": [""] * args.generation_batch_size})
        self._buffered_inputs: list[Batch | None] | None
        super().__init__(
            model=policy, args=args, reward_funcs=[_graded_already], train_dataset=rows, processing_class=tokenizer
        )
        if reference is not None:
            # Set here: told before, TRL makes a reference of its own, from the model's path or as more adapters.
            self.beta = reference.weight
            reference.policy.to(self.accelerator.device)

    def get_train_dataloader(self) -> DataLoader:
        """One item a forward pass: it only counts, the curriculum draws the prompts."""
        passes: Any = [{} for _ in range(self.args.steps_per_generation)]
        return DataLoader(passes, batch_size=None)

    def _prepare_inputs(self, generation_batch: Any) -> Batch | None:
        position = self._step % self.args.steps_per_generation
        if position == 0 or self._buffered_inputs is None:
            self.sync()
            done = self.practise(self.state.global_step)
            self._buffered_inputs = self._batches(done.chosen, done.counted_tokens)
            for name, value in done.metrics.items():
                self._metrics["train"][name].append(value)
        return self._buffered_inputs[position]

    def sync(self) -> None:
        """Put the policy into the engine and prove that it arrived."""
        self.engine.sync(policy_weights(self.accelerator.unwrap_model(self.model)))
        found = parity.check(self.engine, self.model, *self.probes)
        parity.require(found, self.tolerance, f"after the sync at step {self.state.global_step}")
        self._metrics["train"]["parity/probe_gap"].append(found.mean)
        if (differ := parity.experts_differ(self.engine, self.model, *self.probes)) is not None:
            self._metrics["train"]["router/engine_differs"].append(differ)

    def proof(self) -> dict[str, Any]:
        """Sequences with the log-probabilities that the final policy gives and those of the engine that serves it."""
        self.sync()
        prompts, completions = self.probes
        trainer = parity.trainer_logprobs(self.model, prompts, completions)
        engine = self.engine.score(prompts, completions)
        rows = zip(prompts, completions, trainer.split([len(c) for c in completions]), engine, strict=True)
        sequences = [{"prompt_ids": p, "completion_ids": c, "trainer": t.tolist(), "engine": e} for p, c, t, e in rows]
        flat = torch.tensor([value for row in engine for value in row])
        return {"sequences": sequences, "mean_gap": parity.gap(flat, trainer).mean}

    def _batches(self, groups: Sequence[Group], tokens: int) -> list[Batch | None]:
        """Groups as one padded batch a forward pass, like lengths together; None where nothing is left to train on."""
        ordered = sorted(groups, key=lambda group: (group.longest, group.prompt_id))
        passes = self.args.steps_per_generation
        sizes = [len(ordered) // passes + (i < len(ordered) % passes) for i in range(passes)]
        batches: list[Batch | None] = []
        for size in sizes:
            part, ordered = ordered[:size], ordered[size:]
            batch = collate(part, self._tokenizer.pad_token_id, tokens) if part else None
            batches.append(batch and {name: value.to(self.accelerator.device) for name, value in batch.items()})
        return batches

    def _get_per_token_logps_and_entropies(self, model: Any, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor, None]:
        """TRL's hook for the policy's log-probabilities; prompts are computed once a group (`packed.py`)."""
        assert self.current is not None
        policy = self.accelerator.unwrap_model(model)
        packed, ids = self.current["packed"], self.current["completion_ids"]
        engine = self.current["engine_logprobs"]
        logprobs, entropies = logprobs_and_entropies(policy, packed, ids, self.temperature, self.top_p, engine)
        self.latest_logprobs = logprobs.detach()
        return logprobs, entropies, None

    def _compute_loss(self, model: Any, inputs: Batch | None) -> Tensor:
        if inputs is None:
            # A forward pass without groups: a zero that the optimiser's accumulation can go through.
            return next(p for p in model.parameters() if p.requires_grad).sum() * 0.0
        self.current = inputs
        if self.reference is not None:
            packed, ids = inputs["packed"], inputs["completion_ids"]
            inputs["ref_per_token_logps"] = self.reference.logprobs(packed, ids, self.temperature)
        loss = super()._compute_loss(model, inputs)
        mask = inputs["completion_mask"].bool()
        assert self.latest_logprobs is not None
        found = parity.gap(inputs["engine_logprobs"][mask], self.latest_logprobs[mask])
        parity.require(found, self.tolerance, f"on the rollouts of step {self.state.global_step}")
        self._metrics["train"]["parity/rollout_gap"].append(found.mean)
        largest = self._metrics["train"]["parity/largest_gap"]
        largest[:] = [max([*largest, found.largest])]  # TRL logs the mean of what is listed here
        return loss


def collate(groups: Sequence[Group], pad: int, tokens: int) -> Batch:
    """Padded tensors of some groups' members: prompts on the left, completions on the right.

    `tokens` is the number of completion tokens by which TRL's "dapo" loss is normalised: those of the step's groups,
    of the ones without a spread of rewards too where the curriculum counts them.
    """
    rows = [(group.prompt_ids, member.rollout) for group in groups for member in group.members]
    usable = torch.tensor([[member.fault is None] for group in groups for member in group.members])
    prompts = [torch.tensor(prompt).flip(0) for prompt, _ in rows]
    prompt_ids = pad_sequence(prompts, batch_first=True, padding_value=pad).flip(1)
    prompt_mask = pad_sequence([torch.ones_like(p) for p in prompts], batch_first=True).flip(1)
    completions = [torch.tensor(rollout.token_ids) for _, rollout in rows]
    mask = pad_sequence([torch.ones_like(c) for c in completions], batch_first=True)
    return {
        "packed": pack(groups, pad),
        "prompt_ids": prompt_ids,
        "prompt_mask": prompt_mask,
        "completion_ids": pad_sequence(completions, batch_first=True, padding_value=pad),
        # Attention to a faulty rollout's tokens does no harm; its loss is masked here.
        "completion_mask": mask * usable,
        "advantages": torch.tensor([value for group in groups for value in group.advantages()]),
        "num_items_in_batch": torch.tensor(tokens),
        "engine_logprobs": pad_sequence([torch.tensor(r.logprobs) for _, r in rows], batch_first=True),
    }


def _graded_already(**kwargs: Any) -> list[float]:
    raise RuntimeError("rewards come with the rollouts; TRL must not ask for them")

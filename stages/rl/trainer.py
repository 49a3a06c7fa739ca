"""GRPO on TRL's trainer, with our rollouts: the curriculum decides what is practised, vLLM samples,
parity is checked.

TRL 1.16's methods that this overrides: `training_step` (an optimiser step here, of several passes),
`_prepare_inputs` (which would sample), `_compute_loss` and `_get_per_token_logps_and_entropies`.
`tests/stages/test_rl_contract.py` fails when they change. How many passes a step takes depends on
what was sampled, so the trainer's own accumulation stays at 1."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader
from transformers import TrainerControl
from trl import GRPOConfig, GRPOTrainer

from models.adapters import policy_weights
from rollouts import parity
from rollouts.interface import RolloutEngine
from stages.rl.collector import StepBatch
from stages.rl.kl import Reference
from stages.rl.packed import logprobs_and_entropies, pack
from stages.rl.passes import Part
from training.resume import MARKER

Batch = dict[str, Any]


class RlTrainer(GRPOTrainer):
    """GRPO whose batches come from `practise(step)`: groups with a spread of rewards, and what
    getting them cost."""

    def __init__(
        self,
        *,
        policy: Any,
        args: GRPOConfig,
        tokenizer: Any,
        engine: RolloutEngine,
        collect: Callable[[int], StepBatch],
        probes: tuple[list[list[int]], list[list[int]]],
        tolerance: float,
        reference: Reference | None = None,
    ) -> None:
        self.engine, self.collect, self.probes, self.tolerance = engine, collect, probes, tolerance
        self.reference = reference
        self.current: Batch | None = None
        self.latest_logprobs: Tensor | None = None
        self.passes = 1
        self._sums: dict[str, tuple[float, int]] = {}
        self.control: TrainerControl
        # GRPOTrainer asks for prompts and a reward; both are the curriculum's here and neither is
        # read.
        rows = Dataset.from_dict({"prompt": [""] * args.generation_batch_size})
        super().__init__(
            model=policy,
            args=args,
            reward_funcs=[_graded_already],
            train_dataset=rows,
            processing_class=tokenizer,
        )
        if reference is not None:
            # Set here: told before, TRL makes a reference of its own, from the model's path or as
            # more adapters.
            self.beta = reference.weight
            reference.policy.to(self.accelerator.device)

    def get_train_dataloader(self) -> DataLoader:
        """One empty item, an optimiser step: the curriculum draws the prompts."""
        items: Any = [{}]
        return DataLoader(items, batch_size=None)

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        """A step's rollouts, then the forward and backward passes that they take; the step's
        loss."""
        begin = time.perf_counter()
        model.train()
        self.sync()
        done = self.collect(self.state.global_step)
        for name, value in done.metrics.items():
            self._metrics["train"][name].append(value)
        self._sums.clear()
        self.passes = max(len(done.passes), 1)
        pad, run = self._tokenizer.pad_token_id, super().training_step
        batches = (collate(parts, pad, done.counted_tokens) for parts in done.passes or [[]])
        losses = [run(model, batch, num_items_in_batch) for batch in batches]
        self._metrics["train"]["step_time"] = [time.perf_counter() - begin]
        return torch.stack(losses).sum()

    def _prepare_inputs(self, generation_batch: Any) -> Batch:
        return {name: value.to(self.accelerator.device) for name, value in generation_batch.items()}

    def keep(self) -> None:
        """Save a checkpoint of the last whole step, in the middle of the next one, unless there is
        one."""
        if not (
            Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}" / MARKER
        ).exists():
            self._save_checkpoint(self.model, trial=None)
            self.control = self.callback_handler.on_save(self.args, self.state, self.control)

    def sync(self) -> None:
        """Put the policy into the engine and prove that it arrived."""
        policy, version = self.accelerator.unwrap_model(self.model), self.state.global_step
        self.engine.publish(policy_weights(policy), version)
        found = parity.check(self.engine, self.model, *self.probes)
        parity.require(found, self.tolerance, f"after publishing version {version}")
        self._metrics["train"]["parity/probe_gap"].append(found.mean)
        if (differ := parity.experts_differ(self.engine, self.model, *self.probes)) is not None:
            self._metrics["train"]["router/engine_differs"].append(differ)

    def proof(self) -> dict[str, Any]:
        """Sequences with the log-probabilities that the final policy gives and those of the engine
        that serves it."""
        self.sync()
        prompts, completions = self.probes
        trainer = parity.trainer_logprobs(self.model, prompts, completions)
        engine = self.engine.score(prompts, completions)
        rows = zip(
            prompts, completions, trainer.split([len(c) for c in completions]), engine, strict=True
        )
        sequences = [
            {"prompt_ids": p, "completion_ids": c, "trainer": t.tolist(), "engine": e}
            for p, c, t, e in rows
        ]
        flat = torch.tensor([value for row in engine for value in row])
        return {"sequences": sequences, "mean_gap": parity.gap(flat, trainer).mean}

    def _get_per_token_logps_and_entropies(
        self, model: Any, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor, None]:
        """TRL's hook for the policy's log-probabilities; prompts are computed once a group
        (`packed.py`)."""
        assert self.current is not None
        policy = self.accelerator.unwrap_model(model)
        packed, ids = self.current["packed"], self.current["completion_ids"]
        engine = self.current["engine_logprobs"]
        logprobs, entropies = logprobs_and_entropies(
            policy, packed, ids, self.temperature, self.top_p, engine
        )
        self.latest_logprobs = logprobs.detach()
        return logprobs, entropies, None

    def _compute_loss(self, model: Any, inputs: Batch) -> Tensor:
        if not inputs:
            # A step without groups: a zero that the optimiser can go through.
            return next(p for p in model.parameters() if p.requires_grad).sum() * 0.0
        self.current = inputs
        if self.reference is not None:
            packed, ids = inputs["packed"], inputs["completion_ids"]
            inputs["ref_per_token_logps"] = self.reference.logprobs(packed, ids, self.temperature)
        loss = super()._compute_loss(model, inputs)
        mask = inputs["completion_mask"].bool()
        assert self.latest_logprobs is not None
        found = parity.gap(inputs["engine_logprobs"][mask], self.latest_logprobs[mask])
        parity.require(found, self.tolerance, f"on the rollouts of version {self.engine.version}")
        figures = self._metrics["train"]
        self._average("entropy", figures["entropy"].pop(), found.tokens)
        if self.reference is not None:
            self._average("kl", figures["kl"].pop(), found.tokens)
        self._average("parity/rollout_gap", found.mean, found.tokens)
        figures["parity/largest_gap"] = [max([*figures["parity/largest_gap"], found.largest])]
        return loss

    def _average(self, name: str, value: float, tokens: int) -> None:
        """List a figure's mean over the tokens of the step's passes so far: TRL would log the mean
        over the passes."""
        total, count = self._sums.get(name, (0.0, 0))
        self._sums[name] = total + value * tokens, count + tokens
        self._metrics["train"][name] = [self._sums[name][0] / self._sums[name][1]]


def collate(parts: Sequence[Part], pad: int, tokens: int) -> Batch:
    """Padded tensors of a forward pass: prompts on the left, completions on the right; nothing if
    it is empty.

    `tokens` is the number of completion tokens by which TRL's "dapo" loss is normalised: those that
    the loss of the whole step is over, of groups without a spread of rewards too where the
    curriculum counts them."""
    if not parts:
        return {}
    prompts = [torch.tensor(part.prompt_ids).flip(0) for part in parts for _ in part.rollouts]
    rollouts = [rollout for part in parts for rollout in part.rollouts]
    completions = [torch.tensor(rollout.token_ids) for rollout in rollouts]
    return {
        "packed": pack(parts, pad),
        "prompt_ids": pad_sequence(prompts, batch_first=True, padding_value=pad).flip(1),
        "prompt_mask": pad_sequence([torch.ones_like(p) for p in prompts], batch_first=True).flip(
            1
        ),
        "completion_ids": pad_sequence(completions, batch_first=True, padding_value=pad),
        "completion_mask": pad_sequence(
            [torch.ones_like(c) for c in completions], batch_first=True
        ),
        "advantages": torch.tensor([value for part in parts for value in part.advantages]),
        "num_items_in_batch": torch.tensor(tokens),
        "engine_logprobs": pad_sequence(
            [torch.tensor(rollout.logprobs) for rollout in rollouts], batch_first=True
        ),
    }


def _graded_already(**kwargs: Any) -> list[float]:
    raise RuntimeError("rewards come with the rollouts; TRL must not ask for them")

"""GRPO on `transformers.Trainer`: one optimiser step is publish, prove, take the rollouts, loss.

Trainer then clips the gradient, steps the optimiser, logs and saves. How many forward passes a step
takes depends on what was sampled, so Trainer's own gradient accumulation stays at 1.
`tests/stages/test_rl_contract.py` holds what this relies on in Trainer.

With several processes, process 0 holds engine, curriculum and ledger. It deals out what trains;
every process takes part in everything that computes with the policy."""

import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import PreTrainedTokenizerBase, Trainer, TrainerControl, TrainingArguments

from common.artifacts import METRICS
from common.errors import RunFailed
from common.stage import StageContext
from rollouts import parity, ties
from rollouts.interface import RolloutEngine
from stages.rl.batch import Batch, collate, idle
from stages.rl.config import RlStage
from stages.rl.kl import Reference
from stages.rl.leader import Leader
from stages.rl.loss import LARGEST_WEIGHT, dapo_loss, importance, no_loss
from stages.rl.own_evaluation import OwnEvaluation
from stages.rl.passes import Pass, Share
from stages.rl.step_metrics import GAP, RATIO, SQUARED, StepMetrics
from training import processes
from training.accumulation import gradients_kept, rounded_once
from training.publish import Probe, proof, prove, publish, tolerance_of
from training.resume import MARKER


class RlTrainer(Trainer):
    """Trains the policy on the rollouts that `leader`, in process 0, hands out."""

    control: TrainerControl

    def __init__(
        self,
        policy: Any,
        args: TrainingArguments,
        tokenizer: PreTrainedTokenizerBase,
        *,
        config: RlStage,
        context: StageContext,
        leader: Leader | None,
        probe: Probe,
        reference: Reference | None = None,
        evaluation: OwnEvaluation | None = None,
    ) -> None:
        if args.n_gpu > 1:
            raise RunFailed(
                f"{args.n_gpu} GPUs are visible to the one process that trains",
                "make one visible: CUDA_VISIBLE_DEVICES=0",
            )
        super().__init__(policy, args, processing_class=tokenizer)
        self.config, self.context, self.leader = config, context, leader
        self.probe, self.reference, self.evaluation = probe, reference, evaluation
        self.pad: int = tokenizer.pad_token_id
        self.metrics = StepMetrics()
        self.tolerance = tolerance_of(
            config.rollouts,
            config.parity_tolerance,
            config.drift_tolerance,
            METRICS.read(context.folder),
        )
        self.lag = 0
        """Versions between the policy that sampled the present step's rollouts and the one that
        trains."""
        self.passes = 1
        """Forward passes of the present optimiser step."""
        self.counted = True
        """Whether the present pass has completions of this process."""
        self.present: Pass = []
        """The completions of the present pass."""
        if reference is not None:
            reference.policy.to(self.accelerator.device)

    def get_train_dataloader(self) -> DataLoader:
        """One empty item per optimiser step: the curriculum draws the prompts."""
        items: Any = [{}]
        return DataLoader(items, batch_size=None)

    def training_step(
        self, model: nn.Module, inputs: Any, num_items_in_batch: Any = None
    ) -> Tensor:
        """One optimiser step up to its gradient; the loss of the step."""
        began = time.perf_counter()
        model.train()
        share = self.share()
        self.lag = share.lag
        passes, losses = self.forward_passes(share), []
        with rounded_once(self):
            for number, tensors in enumerate(passes, start=1):
                self.counted = "packed" not in tensors or bool(tensors["mask"].any())
                self.present = share.passes[number - 1] if share.passes else []
                with gradients_kept(self, model, number):
                    losses.append(super().training_step(model, tensors, num_items_in_batch))
        self.metrics.update({"step_time": time.perf_counter() - began})
        return torch.stack(losses).sum()

    def share(self) -> Share:
        """What this process trains on in the present step. The engine gets the policy on the
        way."""
        step = self.state.global_step
        if self.leader is None:
            self.publish()
            return self._mine(None)
        shares, figures = self.leader.shares(step, self.publish)
        self.metrics.update(figures)
        return self._mine(shares)

    def _mine(self, shares: list[Share] | None) -> Share:
        every = processes.broadcast(self.context, shares)
        assert every is not None
        return every[self.context.rank]

    def publish(self) -> None:
        """Put the policy into the engine, and prove that it arrived; the figures are the step's.
        All processes call it."""
        self.metrics.update(self.published())

    def published(self) -> dict[str, float]:
        """As `publish`, and returns the figures."""
        began = time.perf_counter()
        policy, version = self.policy, self.state.global_step
        publish(self.engine, policy, version)
        published = time.perf_counter()
        figures = prove(self.context, self.engine, policy, self.probe, self.tolerance, version)
        times = {"time/sync": published - began, "time/parity": time.perf_counter() - published}
        return {**figures, **times}

    def proof(self) -> dict[str, Any]:
        """`parity.json`: the final policy and the engine that serves it on the probe. All processes
        call it; the answer is process 0's."""
        self.publish()
        return proof(self.engine, self.policy, self.probe)

    @property
    def engine(self) -> RolloutEngine | None:
        """The rollout engine, in process 0."""
        return None if self.leader is None else self.leader.engine

    @property
    def policy(self) -> Any:
        """The policy without what Trainer wraps around it."""
        return self.accelerator.unwrap_model(self.model)

    def forward_passes(self, share: Share) -> list[Batch]:
        """The tensors of each forward pass; one pass without completions where nothing is trained
        on."""
        self.passes = max(len(share.passes), 1)
        if not share.passes:
            return [collate([], self.pad, share.loss_tokens)]
        return [
            collate(parts, self.pad, share.loss_tokens) if parts else idle(share.loss_tokens)
            for parts in share.passes
        ]

    def compute_loss(
        self,
        model: nn.Module,
        inputs: Batch,
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """The loss of a pass, from one call of the wrapped model's forward. The last two arguments
        are Trainer's; the loss is normalised by `inputs` alone."""
        if "packed" not in inputs:
            return no_loss(model)
        packed, temperature = inputs["packed"], self.config.temperature
        reference = None
        if self.reference is not None:
            reference = self.reference.logprobs(packed, temperature)
        logprobs, entropies = model(
            packed=packed,
            temperature=temperature,
            top_p=self.config.top_p,
            engine_logprobs=inputs["engine_logprobs"],
        )
        old, weights = self._correction(logprobs.detach(), inputs["engine_logprobs"])
        loss, kl = dapo_loss(
            logprobs,
            old,
            inputs["advantages"],
            inputs["mask"],
            inputs["loss_tokens"],
            reference,
            self.config.kl_weight,
            weights,
        )
        if self.counted:
            self._measure(inputs, logprobs.detach(), entropies, kl)
        # DDP and FSDP2 give the mean of the processes' gradients; the step's is their sum.
        count = self.context.execution.devices.processes
        return loss * count if count > 1 else loss

    def _correction(self, logprobs: Tensor, engine: Tensor) -> tuple[Tensor, Tensor | None]:
        """The log-probabilities that the ratio of the loss is taken to (B, C), and the weights of
        its terms. On-policy rollouts of an engine in float32 need none: they are the policy's own
        up to the order of sums. One in bfloat16 samples from the rounded policy."""
        if not self.lag and self.tolerance.exact:
            return logprobs, None
        if self.config.importance == "clip":
            return engine, None
        return logprobs, importance(logprobs, engine).clamp(max=LARGEST_WEIGHT)

    def _measure(
        self, inputs: Batch, logprobs: Tensor, entropies: Tensor, kl: Tensor | None
    ) -> None:
        """Note the figures of a pass; RunFailed where the engine sampled from another policy than
        the one that it was given."""
        mask, engine = inputs["mask"], inputs["engine_logprobs"]
        real = mask.bool()
        gap = parity.gap(engine[real], logprobs[real])
        for name, values in {"entropy": entropies, "kl": kl}.items():
            if values is not None:
                mean = ((values * mask).sum() / mask.sum()).item()
                self.metrics.add_mean(name, mean, gap.tokens)
        exact = self.tolerance.exact
        if self.lag or not exact:
            ratio = importance(logprobs[real], engine[real])
            self.metrics.add_mean(GAP, gap.mean, gap.tokens)
            self.metrics.add_mean(RATIO, ratio.mean().item(), gap.tokens)
            self.metrics.add_mean(SQUARED, ratio.square().mean().item(), gap.tokens)
        if self.lag:
            # The policy has moved since: the gap is that and proves nothing about the engine.
            return
        self.tolerance.require(
            self._unexplained(gap), f"on the rollouts of version {self.state.global_step}"
        )
        kind = "gap" if exact else "drift"
        self.metrics.add_mean(f"parity/rollout_{kind}", gap.mean, gap.tokens)
        self.metrics.add_largest(f"parity/largest_{kind}", gap.largest)

    def _unexplained(self, gap: parity.LogprobGap) -> parity.LogprobGap:
        """The gap of the present pass, without what near ties of routers explain where it is past
        the tolerance."""
        within = gap.mean <= self.tolerance.limit
        if within or not self.tolerance.exact or not ties.can_explain(self.policy):
            return gap
        rows = [(part.prompt_ids, one) for part in self.present for one in part.rollouts]
        return ties.without(
            self.policy,
            [prompt for prompt, _ in rows],
            [one.token_ids for _, one in rows],
            [one.logprobs for _, one in rows],
            self.tolerance.limit,
            temperature=self.config.temperature,
            top_p=self.config.top_p,
        )

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Trainer's figures of a step, and ours; the stage's own evaluation is among them."""
        figures = {**logs, **self.metrics.take(partial(processes.gather, self.context))}
        if self.evaluation is not None and "loss" in logs:
            figures |= self.evaluation.after_step(
                self.state.global_step,
                figures,
                # Its figures are no step's: the next step publishes the same policy and logs them.
                self.published,
                self.policy,
                self.processing_class,
                self.probe,
            )
        super().log(figures, start_time)

    def save_last_step(self) -> None:
        """Save a checkpoint of the last whole step, in the middle of the next one, unless there is
        one. Trainer has no public method for that."""
        step = self.state.global_step
        if not (Path(self.args.output_dir) / f"checkpoint-{step}" / MARKER).exists():
            self._save_checkpoint(self.model, trial=None)
            self.control = self.callback_handler.on_save(self.args, self.state, self.control)

"""GRPO on `transformers.Trainer`: one optimiser step is publish, prove, collect, loss.

Trainer then clips the gradient, steps the optimiser, logs and saves. How many forward passes a step
takes depends on what was sampled, so Trainer's own gradient accumulation stays at 1.
`tests/stages/test_rl_contract.py` holds what this relies on in Trainer."""

import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import PreTrainedTokenizerBase, Trainer, TrainerControl, TrainingArguments

from common.errors import RunFailed
from rollouts import parity
from stages.rl.batch import Batch, collate
from stages.rl.collector import RolloutCollector, StepBatch
from stages.rl.config import RlStage
from stages.rl.kl import Reference
from stages.rl.loss import dapo_loss, no_loss
from stages.rl.publish import Probe, proof, prove, publish
from stages.rl.recorder import StepRecorder
from stages.rl.step_metrics import StepMetrics
from training.resume import MARKER


class RlTrainer(Trainer):
    """Trains the policy on the batches that `collector` hands over."""

    control: TrainerControl

    def __init__(
        self,
        policy: Any,
        args: TrainingArguments,
        tokenizer: PreTrainedTokenizerBase,
        *,
        config: RlStage,
        collector: RolloutCollector,
        recorder: StepRecorder,
        probe: Probe,
        reference: Reference | None = None,
    ) -> None:
        if args.n_gpu > 1:
            raise RunFailed(
                f"{args.n_gpu} GPUs are visible to the one process that trains",
                "make one visible: CUDA_VISIBLE_DEVICES=0",
            )
        super().__init__(policy, args, processing_class=tokenizer)
        self.config, self.collector, self.recorder = config, collector, recorder
        self.probe, self.reference = probe, reference
        self.pad: int = tokenizer.pad_token_id
        self.metrics = StepMetrics()
        self.passes = 1
        """Forward passes of the present optimiser step."""
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
        version = self.state.global_step
        self.publish()
        batch = self.collector.collect(version)
        self.metrics.update(self.recorder.record(version, batch))
        losses = []
        for tensors in self.forward_passes(batch):
            losses.append(super().training_step(model, tensors, num_items_in_batch))
        self.metrics.update({"step_time": time.perf_counter() - began})
        return torch.stack(losses).sum()

    def publish(self) -> None:
        """Put the policy into the engine, and prove that it arrived."""
        engine, policy, version = self.collector.engine, self.policy, self.state.global_step
        publish(engine, policy, version)
        tolerance = self.config.parity_tolerance
        self.metrics.update(prove(engine, policy, self.probe, tolerance, version))

    def proof(self) -> dict[str, Any]:
        """`parity.json`: the final policy and the engine that serves it on the probe."""
        self.publish()
        return proof(self.collector.engine, self.policy, self.probe)

    @property
    def policy(self) -> Any:
        """The policy without what Trainer wraps around it."""
        return self.accelerator.unwrap_model(self.model)

    def forward_passes(self, batch: StepBatch) -> list[Batch]:
        """The tensors of each forward pass; one pass without completions where nothing is trained
        on."""
        passes = batch.passes or [[]]
        self.passes = len(passes)
        return [collate(parts, self.pad, batch.loss_tokens) for parts in passes]

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
        loss, kl = dapo_loss(
            logprobs,
            logprobs.detach(),
            inputs["advantages"],
            inputs["mask"],
            inputs["loss_tokens"],
            reference,
            self.config.kl_weight,
        )
        self._measure(inputs, logprobs.detach(), entropies, kl)
        return loss

    def _measure(
        self, inputs: Batch, logprobs: Tensor, entropies: Tensor, kl: Tensor | None
    ) -> None:
        """Note the figures of a pass; RunFailed where the engine sampled from another policy."""
        mask = inputs["mask"]
        real = mask.bool()
        gap = parity.gap(inputs["engine_logprobs"][real], logprobs[real])
        tolerance = self.config.parity_tolerance
        parity.require(
            gap, tolerance, f"on the rollouts of version {self.collector.engine.version}"
        )
        for name, values in {"entropy": entropies, "kl": kl}.items():
            if values is not None:
                mean = ((values * mask).sum() / mask.sum()).item()
                self.metrics.add_mean(name, mean, gap.tokens)
        self.metrics.add_mean("parity/rollout_gap", gap.mean, gap.tokens)
        self.metrics.add_largest("parity/largest_gap", gap.largest)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Trainer's figures of a step, and ours."""
        super().log({**logs, **self.metrics.take()}, start_time)

    def save_last_step(self) -> None:
        """Save a checkpoint of the last whole step, in the middle of the next one, unless there is
        one. Trainer has no public method for that."""
        step = self.state.global_step
        if not (Path(self.args.output_dir) / f"checkpoint-{step}" / MARKER).exists():
            self._save_checkpoint(self.model, trial=None)
            self.control = self.callback_handler.on_save(self.args, self.state, self.control)

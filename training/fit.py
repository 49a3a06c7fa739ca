"""What SFT, RL and DPO share around a TRL trainer: load the policy, train with resuming, save for
plain loaders."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import PreTrainedTokenizerBase, TrainerCallback

from common.errors import Interrupted, RunFailed
from common.files import append_json_line, read_json_lines
from common.stage import StageContext
from models.adapters import freeze_untrained, merged
from models.checkpoint import load_policy, load_tokenizer, save_policy
from models.moe import MoeForCausalLM
from training.config import TrainingStage
from training.divergence import divergence, not_a_number
from training.resume import CompleteCheckpoints, resume_folder, step_of
from training.router_metrics import RouterMetrics

SCHEDULERS = {"constant": "constant_with_warmup", "linear": "linear", "cosine": "cosine"}
"""The trainer's names; its plain `constant` has no warm-up."""


@dataclass(frozen=True)
class Trained:
    """A policy in training and its tokenizer."""

    policy: MoeForCausalLM | PeftModel
    tokenizer: PreTrainedTokenizerBase


def load(config: TrainingStage, checkpoint: Path, seed: int) -> Trained:
    """The policy in a stage's checkpoint, float32; what the stage does not train is frozen."""
    policy = load_policy(checkpoint)
    policy.config.use_cache = False
    torch.manual_seed(seed)
    return Trained(freeze_untrained(policy, config.train, config.lora), load_tokenizer(checkpoint))


def arguments(
    config: TrainingStage, context: StageContext, rows: int, precision: str = "float32"
) -> dict[str, Any]:
    """Trainer arguments of every stage. `rows` an optimiser step come as one batch: our trainers
    divide it into forward passes themselves (`training/accumulation.py`, `stages/rl/passes.py`)."""
    return {
        "output_dir": str(resume_folder(context)),
        "learning_rate": config.learning_rate,
        "lr_scheduler_type": SCHEDULERS[config.schedule],
        "warmup_steps": config.warmup_steps,
        "weight_decay": config.weight_decay,
        "per_device_train_batch_size": rows,
        "gradient_accumulation_steps": 1,
        "seed": context.seed,
        "save_steps": config.save_every,
        "save_total_limit": 2,
        "logging_steps": 1,
        "report_to": [],
        "disable_tqdm": True,
        "bf16": precision == "bfloat16",
        "gradient_checkpointing": config.gradient_checkpointing,
        "gradient_checkpointing_kwargs": (
            {"use_reentrant": False} if config.gradient_checkpointing else None
        ),
        "use_cpu": not torch.cuda.is_available(),
        "dataloader_num_workers": 0,
    }


class Metrics(TrainerCallback):
    """Writes every logged step to `metrics.jsonl`, tells the person, and stops when training is
    sick."""

    def __init__(
        self, context: StageContext, shown: tuple[str, ...], health: RouterMetrics
    ) -> None:
        self.path = context.folder / "metrics.jsonl"
        self.context = context
        self.shown = shown
        self.health = health
        self.rows = read_json_lines(self.path)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: object) -> None:
        if args.warmup_steps >= state.max_steps:
            self.context.note(
                f"warmup_steps is {args.warmup_steps} and the stage has {state.max_steps} optimiser"
                " steps: the learning rate never reaches its peak; lower warmup_steps or"
                " batch_size, or raise epochs"
            )

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any], **kwargs: object
    ) -> None:
        values = {k: v for k, v in logs.items() if isinstance(v, (int, float))}
        self._refuse(state.global_step, not_a_number([values], self.context.watch))
        if "loss" not in values:
            return
        routers = self.health.step(state.global_step, state.max_steps)
        self.rows.append({"step": state.global_step, **values, **routers})
        append_json_line(self.path, self.rows[-1])
        self._refuse(state.global_step, divergence(self.rows, self.context.watch))
        shown = {name: values[name] for name in self.shown if name in values}
        self.context.progress(state.global_step, state.max_steps, unit="step", **shown)

    def _refuse(self, step: int, found: tuple[str, str] | None) -> None:
        """RunFailed when the step is sick; nothing of it is saved."""
        if found:
            kept = max(resume_folder(self.context).glob("checkpoint-*"), key=step_of, default=None)
            where = (
                f"the last checkpoint before is {kept}"
                if kept
                else "there is no checkpoint before it"
            )
            raise RunFailed(f"step {step}: {found[0]}; {where}", found[1])


def fit(
    trainer: Any,
    config: TrainingStage,
    context: StageContext,
    *,
    start: Path | None,
    probe: Sequence[list[int]],
    shown: tuple[str, ...],
    extra: Callable[[Path], None] = lambda folder: None,
) -> dict[str, float]:
    """Train to the end, from the checkpoint `start` if there is one; returns the last step's
    metrics.

    `trainer` is TRL's with `passes`, the forward passes of the present optimiser step. `probe` are
    sequences (token ids) on which the routing's drift is measured. `extra` saves a stage's own
    state into a checkpoint folder. Raises Interrupted after a requested stop."""
    every, passes = config.save_every, lambda: int(trainer.passes)
    health = RouterMetrics(
        trainer.model, probe, context.folder, config.balance_loss, every, start, passes
    )

    def keep(folder: Path) -> None:
        extra(folder)
        health.save(folder)

    metrics, checkpoints = Metrics(context, shown, health), CompleteCheckpoints(context, keep)
    trainer.add_callback(metrics)
    trainer.add_callback(checkpoints)
    if metrics.rows:
        # TRL counts the tokens that it trained on and forgets the count with the process.
        trainer._total_train_tokens = metrics.rows[-1].get("num_tokens", 0)
    trainer.train(resume_from_checkpoint=str(start) if start else None)
    if checkpoints.stopped:
        raise Interrupted(
            "stopped as asked; the stage goes on from here", "run the same command again"
        )
    # From the file: a stage killed after its last step finds that step's metrics there and trains
    # no further.
    return read_json_lines(metrics.path)[-1]


def save(trained: Trained, context: StageContext) -> None:
    """Write `checkpoint/`: adapters merged, loadable without our code."""
    policy = merged(trained.policy)
    policy.config.use_cache = True
    save_policy(policy, trained.tokenizer, context.folder / "checkpoint")


def picked(metrics: dict[str, float], names: tuple[str, ...]) -> dict[str, float]:
    """Those of the metrics that a stage's record keeps."""
    return {name: metrics[name] for name in names if name in metrics}

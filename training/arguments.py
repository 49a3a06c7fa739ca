"""The trainer arguments that SFT, RL and DPO share."""

from typing import Any

import torch

from common.stage import StageContext
from training.processes import several
from training.resume import resume_folder
from training.settings import TrainingSettings

SCHEDULERS = {"constant": "constant_with_warmup", "linear": "linear", "cosine": "cosine"}
"""Names that the trainer knows; its plain `constant` has no warm-up."""
FSDP2 = {
    "version": 2,
    "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
    "state_dict_type": "SHARDED_STATE_DICT",
    "cpu_ram_efficient_loading": False,
    "reshard_after_forward": True,
}
"""Each decoder layer is gathered when it computes; checkpoints are written by all processes."""


def trainer_arguments(config: TrainingSettings, context: StageContext, rows: int) -> dict[str, Any]:
    """Keyword arguments of transformers' `TrainingArguments` and of TRL's configs, which differ in
    their defaults.

    The `rows` of an optimiser step come as one batch: our trainers divide it into forward passes
    themselves (`training/accumulation.py`, `stages/rl/passes.py`)."""
    checkpointing, devices = context.execution.gradient_checkpointing, context.execution.devices
    sharded = {"fsdp": True, "fsdp_config": dict(FSDP2)} if devices.sharding == "fsdp2" else {}
    return {
        "output_dir": str(resume_folder(context)),
        "learning_rate": config.learning_rate,
        "lr_scheduler_type": SCHEDULERS[config.schedule],
        "warmup_steps": config.warmup_steps,
        "weight_decay": config.weight_decay,
        "per_device_train_batch_size": rows,
        "gradient_accumulation_steps": 1,
        "seed": context.seed,
        "save_steps": context.execution.save_every,
        "save_total_limit": 2,
        "logging_steps": 1,
        "report_to": [],
        "disable_tqdm": True,
        "bf16": context.execution.devices.precision == "bfloat16",
        "gradient_checkpointing": checkpointing,
        "gradient_checkpointing_kwargs": {"use_reentrant": False} if checkpointing else None,
        "use_cpu": not torch.cuda.is_available(),
        "dataloader_num_workers": 0,
        # Every process has the whole batch, and counts its tokens alone.
        "average_tokens_across_devices": not several(context),
        # Every weight that trains has a part in every loss.
        "ddp_find_unused_parameters": False if several(context) else None,
        **sharded,
    }

"""The policy that a stage trains: load it from a checkpoint, and save it for plain loaders."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch.distributed.fsdp import FSDPModule
from transformers import PreTrainedTokenizerBase

from common.artifacts import CHECKPOINT
from common.stage import StageContext
from models.adapters import freeze_untrained, merged
from models.checkpoint import load_policy, load_tokenizer, save_policy
from models.moe import MoeForCausalLM
from models.routing import plain
from models.sharded import save_sharded_policy
from training.processes import barrier
from training.settings import TrainingSettings


@dataclass(frozen=True)
class Trained:
    """A policy in training and its tokenizer."""

    policy: MoeForCausalLM | PeftModel
    tokenizer: PreTrainedTokenizerBase


def load(config: TrainingSettings, checkpoint: Path, seed: int) -> Trained:
    """The policy of a checkpoint, float32; what the stage does not train is frozen. `seed` draws
    the adapters."""
    policy, tokenizer = load_policy(checkpoint), load_tokenizer(checkpoint)
    policy.config.use_cache = False
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    torch.manual_seed(seed)
    return Trained(freeze_untrained(policy, config.train, config.lora), tokenizer)


def save(trained: Trained, context: StageContext) -> None:
    """Write `checkpoint/`: adapters merged, loadable without our code. Call it on every rank; rank
    0 writes."""
    folder = CHECKPOINT.path(context.folder)
    whole: Any = trained.policy
    if isinstance(whole, FSDPModule):
        plain(trained.policy).config.use_cache = True
        save_sharded_policy(whole, trained.tokenizer, folder, writes=context.main)
    elif context.main:
        policy = merged(trained.policy)
        policy.config.use_cache = True
        save_policy(policy, trained.tokenizer, folder)
    barrier(context)

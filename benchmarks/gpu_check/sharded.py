"""FSDP2 at world size 1: the packed RL loss and an SFT loss through `fully_shard`, in float32
(equal to the plain policy) and with bfloat16 parameters and float32 reduction."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard

from benchmarks.gpu_check.setting import Setting, gradients, relative_gaps
from benchmarks.gpu_check.workload import SMALL, rl_batch, rl_loss, sequences, sft_loss

BFLOAT16 = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)


def run(setting: Setting) -> dict[str, Any]:
    plain = setting.tiny().to(setting.device)
    vocabulary = plain.config.vocab_size
    batch = rl_batch(SMALL, vocabulary, setting.device)
    ids = sequences(4, 48, vocabulary, setting.device, 0)
    losses: dict[str, Callable[[nn.Module], Tensor]] = {
        "rl": lambda policy: rl_loss(policy, batch),
        "sft": lambda policy: sft_loss(policy, ids),
    }
    figures: dict[str, Any] = {}
    with one_process(setting.device) as backend:
        figures["backend"] = backend
        for precision, policy in {"float32": MixedPrecisionPolicy(), "bfloat16": BFLOAT16}.items():
            sharded = shard(setting.tiny().to(setting.device), setting.device, policy)
            figures["wrapper"] = type(sharded).__name__
            for name, loss in losses.items():
                expected = _gradients(plain, loss)
                figures[f"{name}_{precision}"] = relative_gaps(_gradients(sharded, loss), expected)
    return figures


@contextmanager
def one_process(device: str) -> Iterator[str]:
    """A process group of this process alone, nccl on CUDA and gloo on a CPU; gives its name."""
    backend = "nccl" if device == "cuda" else "gloo"
    with tempfile.TemporaryDirectory() as folder:
        address = f"file://{Path(folder) / 'store'}"
        dist.init_process_group(backend, init_method=address, rank=0, world_size=1)
        try:
            yield backend
        finally:
            dist.destroy_process_group()


def shard(policy: Any, device: str, precision: MixedPrecisionPolicy) -> Any:
    """The policy in FSDP2's units: each layer, and the rest."""
    mesh = init_device_mesh(device, (dist.get_world_size(),))
    for layer in policy.model.layers:
        fully_shard(layer, mesh=mesh, mp_policy=precision)
    fully_shard(policy, mesh=mesh, mp_policy=precision)
    if not isinstance(policy, FSDPModule):
        raise AssertionError(f"{type(policy)} is not sharded")
    return policy


def _gradients(policy: nn.Module, loss: Callable[[nn.Module], Tensor]) -> dict[str, Tensor]:
    policy.zero_grad()
    loss(policy).backward()
    return gradients(policy)

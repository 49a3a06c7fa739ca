"""FSDP2 in gloo processes: accelerate takes an FSDP plugin on GPUs only, and goes on with DDP on a
CPU without a word.

Overrides `AcceleratorState.__init__`, which has no other way in. `tests/training/test_processes.py`
fails when accelerate no longer needs it, or when what is set here has another name there."""

from functools import wraps
from typing import Any

from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType

_stock = AcceleratorState.__init__


@wraps(_stock)
def _with_fsdp(self: Any, *args: Any, fsdp_plugin: Any = None, **kwargs: Any) -> None:
    fresh = not AcceleratorState._shared_state
    _stock(self, *args, fsdp_plugin=fsdp_plugin, **kwargs)
    if fresh and fsdp_plugin is not None and self.distributed_type == DistributedType.MULTI_CPU:
        self.distributed_type = DistributedType.FSDP
        PartialState._shared_state["distributed_type"] = DistributedType.FSDP
        if self._mixed_precision != "no":
            fsdp_plugin.set_mixed_precision(self._mixed_precision)
        self.fsdp_plugin = fsdp_plugin


def allow() -> None:
    """Let accelerate shard a model over gloo processes. Doing it twice does no harm."""
    AcceleratorState.__init__ = _with_fsdp

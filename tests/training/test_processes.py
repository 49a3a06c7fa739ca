"""What the processes of a stage agree on; in one process nothing is agreed on."""

import os
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin
from hypothesis import given
from hypothesis import strategies as st
from torch import distributed
from torch.distributed.fsdp import FSDPModule
from torch.nn.parallel import DistributedDataParallel

from builders.contexts import stage_context
from common.devices import DevicesConfig
from common.errors import BadInput, RunFailed
from common.execution import ExecutionConfig
from training import cpu_fsdp, processes


def context(folder, rank=0, **devices):
    layout = DevicesConfig.model_validate(devices)
    return stage_context(folder, execution=ExecutionConfig(devices=layout), rank=rank)


@given(st.integers(0, 60), st.integers(1, 9), st.integers(1, 5))
def test_every_item_is_dealt_once_in_order_in_as_many_passes_to_each_process(items, most, count):
    ranks = [processes.dealt(items, most, count, rank) for rank in range(count)]
    assert len({len(spans) for spans in ranks}) == 1
    seen = [
        item
        for parts in zip(*ranks, strict=True)
        for start, size in parts
        for item in range(start, start + size)
    ]
    assert seen == list(range(items))
    for parts in zip(*ranks, strict=True):
        sizes = [size for _, size in parts]
        assert max(sizes) <= most and max(sizes) - min(sizes) <= 1 and sizes[0] > 0


def test_one_process_touches_no_process_group(tmp_path):
    alone = context(tmp_path)
    processes.join(alone)
    assert not distributed.is_initialized()
    marked = object()
    assert processes.broadcast(alone, marked) is marked
    counts = torch.tensor([1, 2])
    assert processes.total(alone, counts) is counts
    assert not processes.agree_stop(alone)


def test_a_layout_without_meaning_is_refused(tmp_path):
    with pytest.raises(BadInput, match=r"processes is 2 and devices\.sharding is none"):
        processes.join(context(tmp_path, processes=2))


def test_a_process_that_was_started_as_another_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "1")
    with pytest.raises(RunFailed, match=r"this is process 1, but .* RANK 1 and WORLD_SIZE 1"):
        processes.join(context(tmp_path, rank=1, processes=2, sharding="ddp"))


class Sharded(torch.nn.Linear, FSDPModule):
    def __new__(cls, *args, **kwargs):
        return object.__new__(cls)


class Copied(DistributedDataParallel):
    def __init__(self):
        torch.nn.Module.__init__(self)


@pytest.mark.parametrize(
    ("layout", "count", "model", "right"),
    [
        ({}, 1, torch.nn.Linear, True),
        ({"sharding": "ddp"}, 1, torch.nn.Linear, True),
        ({"processes": 2, "sharding": "ddp"}, 2, Copied, True),
        ({"processes": 2, "sharding": "fsdp2"}, 2, Sharded, True),
        ({"sharding": "fsdp2"}, 1, Sharded, True),
        ({"processes": 2, "sharding": "ddp"}, 1, torch.nn.Linear, False),
        ({"processes": 2, "sharding": "ddp"}, 2, torch.nn.Linear, False),
        ({"processes": 2, "sharding": "ddp"}, 2, Sharded, False),
        ({"processes": 2, "sharding": "fsdp2"}, 2, Copied, False),
        ({"processes": 2, "sharding": "fsdp2"}, 1, Sharded, False),
        ({}, 1, Copied, False),
    ],
)
def test_the_trainer_must_have_taken_the_layout(layout, count, model, right):
    devices, made = (
        DevicesConfig.model_validate(layout),
        model() if model is Copied else model(1, 1),
    )
    if right:
        processes.require_wrapped(count, made, devices)
    else:
        said = f"sharding {devices.sharding}, but the trainer has {count} .* {model.__name__}"
        with pytest.raises(RunFailed, match=said):
            processes.require_wrapped(count, made, devices)


@pytest.fixture
def one_gloo_process(monkeypatch):
    """accelerate as in one of several gloo processes."""
    before = dict(os.environ)  # accelerate adds variables of its own
    for name, value in {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "false")
    monkeypatch.setattr(AcceleratorState, "__init__", cpu_fsdp._stock)
    AcceleratorState._reset_state(reset_partial_state=True)
    processes._meet(0, 1)
    yield
    distributed.destroy_process_group()
    AcceleratorState._reset_state(reset_partial_state=True)
    for name in os.environ.keys() - before.keys():
        del os.environ[name]


def kind_of(plugin: Any) -> Any:
    return Accelerator(cpu=True, fsdp_plugin=plugin).distributed_type


def test_accelerate_still_ignores_fsdp_on_a_cpu_and_the_patch_still_makes_it_take_it(
    one_gloo_process,
):
    plugin = FullyShardedDataParallelPlugin(fsdp_version=2)
    assert kind_of(plugin) == DistributedType.MULTI_CPU  # else the patch is no longer needed
    AcceleratorState._reset_state(reset_partial_state=True)
    cpu_fsdp.allow()
    cpu_fsdp.allow()
    assert kind_of(plugin) == DistributedType.FSDP
    state: Any = AcceleratorState()
    assert state.is_fsdp2 and state.fsdp_plugin is plugin
    assert PartialState().distributed_type == DistributedType.FSDP

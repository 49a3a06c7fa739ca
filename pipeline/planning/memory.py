"""Memory of a recipe's stages, and the number of GPUs of one kind that it takes.

A stage's declaration computes its memory from the model's dimensions (`models/memory.py`);
`pipeline/planning/layout.py` says what of it is on one device. Activations, which depend on the
libraries, are not computed: a share of each GPU is left free for them."""

import math
from dataclasses import asdict
from typing import Any

from common.errors import BadInput
from models.memory import Memory
from models.presets import NOTES
from models.sizes import Dimensions, active, dimensions_of, routed, routers, total
from pipeline.planning.layout import GIB, layout_of
from pipeline.recipe.declared import declared
from pipeline.recipe.schema import Recipe

GPUS = {"a100-40gb": 39, "a100-80gb": 79, "h100-80gb": 79, "h200-141gb": 139, "b200-180gb": 178}
"""GPU name to the GiB that a program can use, rounded down."""
LEFT_FREE = 0.2
"""Share of each GPU that is left free for what is not computed."""


def memory_view(recipe: Recipe, gpu: str) -> dict[str, Any]:
    """The memory part of `plan --json`: `model`, `gpu`, `assumptions`, `stages` (node id to its
    figures) and `layouts` (node id to what it starts)."""
    if gpu not in GPUS:
        raise BadInput(f"--gpu {gpu}: no such GPU in the table", f"known are: {', '.join(GPUS)}")
    policy = dimensions_of(recipe.model)
    note = NOTES.get(recipe.model.preset or "")
    memory = memory_of(recipe, policy)
    layouts = {
        stage.config.id: layout_of(stage, memory.get(stage.config.id), policy, _usable(gpu))
        for stage in declared(recipe)
    }
    return {
        "model": policy and _model(policy, note),
        "gpu": {"name": gpu, "memory_gib": GPUS[gpu], "left_free": LEFT_FREE},
        "assumptions": assumptions(gpu),
        "stages": {node: _figures(part, gpu) for node, part in memory.items()},
        "layouts": layouts,
    }


def _usable(gpu: str) -> float:
    """GiB of a GPU that may be planned for."""
    return GPUS[gpu] * (1 - LEFT_FREE)


def memory_of(recipe: Recipe, policy: Dimensions | None) -> dict[str, Memory]:
    """Stage id to memory, for stages that hold a model of known dimensions."""
    memories = {
        stage.config.id: stage.config.memory(policy, stage.execution) for stage in declared(recipe)
    }
    return {id: memory for id, memory in memories.items() if memory is not None}


def _model(policy: Dimensions, note: str | None) -> dict[str, Any]:
    counts = {
        "total_parameters": total(policy),
        "active_parameters": active(policy),
        "routed_expert_parameters": routed(policy),
        "router_parameters": routers(policy),
    }
    return {**counts, "note": note} if note else counts


def _figures(memory: Memory, gpu: str) -> dict[str, Any]:
    parts = {f"{name}_gib": round(size / GIB, 3) for name, size in asdict(memory).items()}
    usable = _usable(gpu) * GIB
    return {
        **parts,
        "total_gib": round(memory.total() / GIB, 3),
        "gpus": math.ceil(memory.total() / usable),
    }


def assumptions(gpu: str) -> list[str]:
    """The assumptions behind the figures, in sentences."""
    return [
        (
            f"the first table has a whole stage and as many {gpu} GPUs as would hold it evenly"
            " divided; the second table has what `runtime.devices` starts, and what one of its"
            " processes and one GPU of its servers holds"
        ),
        (
            "the trainer holds weights in float32 and, per trained parameter, 4 bytes of gradient"
            " and 8 of AdamW; DPO also holds the reference policy, RL only with `kl_weight` and"
            " without `train: lora`; an engine that is not a server is in the same process"
        ),
        (
            "`fsdp2` divides weights, gradients and AdamW's state by the processes, not the"
            " reference policy, and puts together embeddings, head and two layers at a time, with"
            " the gradients of one; `ddp` divides nothing and holds the gradients twice; without"
            " `fsdp2`, `precision: bfloat16` holds all weights once more in bfloat16"
        ),
        (
            "an engine holds weights and cache in `rollouts.dtype`, divided by `tensor_parallel`;"
            " the cache is bounded by max_num_seqs x max_model_len tokens, as on a GPU; on a CPU"
            " it takes `kv_cache_gib` instead"
        ),
        (
            "activations, libraries and merged adapters during a sync are not counted:"
            f" {LEFT_FREE:.0%} of the {GPUS[gpu]} GiB of each {gpu} is left free"
        ),
        "the active parameters of a token include all embeddings",
    ]


def model_line(view: dict[str, Any]) -> str:
    """The model's size in words."""
    model = view["model"]
    if model is None:
        return (
            "model: its dimensions are not known yet, so the memory of stages that train or serve"
            " it is unknown too"
        )
    counts = (
        f"model: {model['total_parameters']:,} parameters, {model['active_parameters']:,} active"
        " per token"
    )
    return f"{counts}\nnote: {model['note']}" if "note" in model else counts


def memory_table(view: dict[str, Any]) -> list[list[str]]:
    """The rows of the printed memory table, the header first; only the header if nothing is
    known."""
    names = [
        "weights",
        "gradients",
        "optimizer",
        "reference",
        "engine",
        "kv_cache_at_most",
        "total",
    ]
    rows = [["GiB", *(name.replace("_", " ") for name in names), f"{view['gpu']['name']} GPUs"]]
    for stage in view["stages"]:
        if memory := stage["memory"]:
            rows.append(
                [
                    stage["id"],
                    *(_short(memory[f"{name}_gib"]) for name in names),
                    str(memory["gpus"]),
                ]
            )
    return rows


def _short(gib: float) -> str:
    """At least three significant digits; `-` for zero."""
    if not gib:
        return "-"
    return f"{gib:,.0f}" if gib >= 100 else f"{gib:.1f}" if gib >= 10 else f"{gib:.3f}"

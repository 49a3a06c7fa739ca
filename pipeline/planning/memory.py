"""How much memory the stages of a recipe take, and how many GPUs of one kind hold it.

What a stage holds is in its declaration (`models/memory.py`, arithmetic on dimensions). What
depends on how a library goes about it (activations, temporary copies) is not computed: a share of
each GPU is left."""

import math
from dataclasses import asdict
from typing import Any

from common.errors import BadInput
from models.memory import Memory
from models.presets import NOTES
from models.sizes import Dimensions, active, dimensions_of, routed, routers, total
from pipeline.recipe.declared import declared
from pipeline.recipe.schema import Recipe

GPUS = {"a100-40gb": 39, "a100-80gb": 79, "h100-80gb": 79, "h200-141gb": 139, "b200-180gb": 178}
"""GiB that a program finds on a GPU of this name, rounded down."""
LEFT_FREE = 0.2
"""Share of each GPU that is left for what is not computed."""
GIB = 2**30


def memory_view(recipe: Recipe, gpu: str) -> dict[str, Any]:
    """What `plan --json` says of memory: `model`, `gpu`, `assumptions`, and `stages`, node id to
    its figures."""
    if gpu not in GPUS:
        raise BadInput(f"--gpu {gpu}: no such GPU in the table", f"known are: {', '.join(GPUS)}")
    policy = dimensions_of(recipe.model)
    note = NOTES.get(recipe.model.preset or "")
    return {
        "model": policy and _model(policy, note),
        "gpu": {"name": gpu, "memory_gib": GPUS[gpu], "left_free": LEFT_FREE},
        "assumptions": assumptions(gpu),
        "stages": {
            node: _figures(memory, gpu) for node, memory in memory_of(recipe, policy).items()
        },
    }


def memory_of(recipe: Recipe, policy: Dimensions | None) -> dict[str, Memory]:
    """Stage id to memory, for the stages that hold a model whose dimensions are known."""
    held = {
        stage.config.id: stage.config.memory(policy, stage.execution) for stage in declared(recipe)
    }
    return {id: memory for id, memory in held.items() if memory is not None}


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
    usable = GPUS[gpu] * (1 - LEFT_FREE) * GIB
    return {
        **parts,
        "total_gib": round(memory.total() / GIB, 3),
        "gpus": math.ceil(memory.total() / usable),
    }


def assumptions(gpu: str) -> list[str]:
    """What the figures rest on, in sentences for people."""
    return [
        (
            "uphill runs a stage in one process on one device today: more than one GPU is what the"
            " memory would need if it were sharded evenly, not something that uphill does yet"
        ),
        (
            "the trainer holds weights in float32 and, for each trained parameter, 4 bytes of"
            " gradient and 8 of AdamW; DPO holds the reference policy too, RL the engine in the"
            " same process; so does RL with `kl_weight` and another `train` than lora hold the"
            " reference policy"
        ),
        (
            "the engine holds weights and cache in `rollouts.dtype`; the cache is the bound"
            " max_num_seqs x max_model_len tokens, as on a GPU; on a CPU it takes `kv_cache_gib`"
            " instead"
        ),
        (
            "activations, libraries and temporary copies (merged adapters during a sync, weights"
            f" in bfloat16 under `precision: bfloat16`) are not counted: {LEFT_FREE:.0%} of the"
            f" {GPUS[gpu]} GiB of each {gpu} is left free"
        ),
        "a token's active parameters include all embeddings",
    ]


def model_line(view: dict[str, Any]) -> str:
    """The model's size for people."""
    model = view["model"]
    if model is None:
        return (
            "model: its dimensions are not known yet, so neither is the memory of what trains it or"
            " asks it"
        )
    counts = (
        f"model: {model['total_parameters']:,} parameters, {model['active_parameters']:,} active"
        " for each token"
    )
    return f"{counts}\nnote: {model['note']}" if "note" in model else counts


def memory_table(view: dict[str, Any]) -> list[list[str]]:
    """The rows of the memory table for people, its header first; only the header if nothing is
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
    """Three digits or more, as few as say something."""
    if not gib:
        return "-"
    return f"{gib:,.0f}" if gib >= 100 else f"{gib:.1f}" if gib >= 10 else f"{gib:.3f}"

"""Memory of a recipe's stages, and the number of GPUs of one kind that it takes.

A stage's declaration computes its memory from the model's dimensions (`models/memory.py`);
`pipeline/planning/layout.py` says what of it is on one device. Activations, which depend on the
libraries, are not computed: a share of each GPU is left free for them."""

import math
from dataclasses import asdict
from typing import Any

from common.errors import BadInput
from common.execution import ExecutionConfig
from models.memory import Memory, engine_memory
from models.presets import NOTES
from models.sizes import Dimensions, active, dense_dimensions, dimensions_of, routed, routers, total
from pipeline.planning.layout import GIB, layout_of
from pipeline.recipe.declared import declared
from pipeline.recipe.schema import Recipe
from prompts.judge_parts import JudgePart

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
    memories = dict[str, Memory]()
    for stage in declared(recipe):
        memory = stage.config.memory(policy, stage.execution)
        if memory is not None:
            judges = reward_judges(recipe, stage.execution) if stage.config.grades_answers() else 0
            memories[stage.config.id] = memory + Memory(judges=judges)
    return memories


def reward_judges(recipe: Recipe, execution: ExecutionConfig) -> int:
    """Bytes of the judges that the prompts' rewards name by their folder; those with the same
    engine are one."""
    parts = [part for source in recipe.prompts for part in source.rewards]
    engines = {
        (part.model, part.dtype, part.max_model_len)
        for part in parts
        if isinstance(part, JudgePart) and part.model is not None
    }
    found = [
        engine_memory(dimensions, dtype, execution.max_num_seqs * length).total()
        for model, dtype, length in engines
        if (dimensions := dense_dimensions(model)) is not None
    ]
    return sum(found)


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
            "a judge whose folder a reward names is a server beside the others in every stage that"
            " grades, with the weights and at most the cache of such an engine"
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
        "judges",
        "total",
    ]
    known = [stage["memory"] for stage in view["stages"] if stage["memory"]]
    if not any(memory["judges_gib"] for memory in known):
        names.remove("judges")
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

"""How much memory the stages of a recipe take, and how many GPUs of one kind hold it: arithmetic on
dimensions.

The figures follow the code. The trainer (`training/fit.py`) holds weights, gradients and AdamW's
two moments in float32, DPO a second policy beside it, RL the engine as well and with a KL term
often a second policy too; a judge and an evaluation hold an engine alone. What depends on how a
library goes about it (activations, temporary copies) is not computed: a share of each GPU is left.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

from common.errors import BadInput
from models.presets import NOTES
from models.sizes import (
    Dimensions,
    active,
    adapters,
    cache_bytes,
    dense_dimensions,
    dimensions_of,
    routed,
    routers,
    total,
    trainable_parameters,
)
from pipeline.recipe.references import EVALUATION_PREFIX
from pipeline.recipe.schema import Recipe, Stage
from rollouts.config import RolloutConfig
from stages.dpo.config import DpoStage
from stages.judge_filter.config import JudgeFilterStage
from stages.rl.config import RlStage
from stages.sft.config import SftStage

GPUS = {"a100-40gb": 39, "a100-80gb": 79, "h100-80gb": 79, "h200-141gb": 139, "b200-180gb": 178}
"""GiB that a program finds on a GPU of this name, rounded down."""
LEFT_FREE = 0.2
"""Share of each GPU that is left for what is not computed."""
GIB = 2**30
FLOAT32 = 4
BYTES = {"float32": 4, "bfloat16": 2}


@dataclass(frozen=True)
class Memory:
    """What a stage holds at once, in bytes."""

    weights: int = 0
    """The policy in training, with its adapters."""
    gradients: int = 0
    optimizer: int = 0
    """AdamW's first and second moments."""
    reference: int = 0
    """The reference policy of DPO, and of RL with a KL term where no adapters can be left out for
    it."""
    engine: int = 0
    """The engine's own copy of the weights."""
    kv_cache_at_most: int = 0
    """Key-value cache of as many and as long sequences as the engine may hold at once."""

    def total(self) -> int:
        return sum(asdict(self).values())


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
    """Node id to memory, for the stages that train or hold an engine and whose model's dimensions
    are known."""
    found = {stage.id: _of_stage(stage, policy) for stage in recipe.stages}
    if recipe.evaluate:
        asked = _engine(policy, recipe.evaluate.rollouts) if policy else None
        found |= {f"{EVALUATION_PREFIX}{stage}": asked for stage in recipe.evaluate.after}
    return {node: memory for node, memory in found.items() if memory is not None}


def _of_stage(stage: Stage, policy: Dimensions | None) -> Memory | None:
    if stage.kind == "judge_filter":
        return _judge(stage, policy)
    return _training(stage, policy) if stage.kind != "adopt" and policy else None


def _judge(stage: JudgeFilterStage, policy: Dimensions | None) -> Memory | None:
    """One judge is in memory at a time, and the policy of the audit after them: the largest
    counts."""
    found = [
        (judge.model and dense_dimensions(judge.model), judge.rollouts) for judge in stage.judges
    ]
    engines = [_engine(dense, rollouts) for dense, rollouts in found if dense]
    engines += [_engine(policy, stage.audit.rollouts)] if stage.audit and policy else []
    return max(engines, key=Memory.total, default=None)


def _training(stage: SftStage | RlStage | DpoStage, policy: Dimensions) -> Memory:
    moving = trainable_parameters(policy, stage.train, stage.lora)
    added = adapters(policy, stage.lora) if stage.train == "lora" else 0
    engine = _engine(policy, stage.rollouts) if stage.kind == "rl" else Memory()
    return Memory(
        weights=(total(policy) + added) * FLOAT32,
        gradients=moving * FLOAT32,
        optimizer=moving * 2 * FLOAT32,
        reference=total(policy) * FLOAT32 if _second_policy(stage) else 0,
        engine=engine.engine,
        kv_cache_at_most=engine.kv_cache_at_most,
    )


def _second_policy(stage: SftStage | RlStage | DpoStage) -> bool:
    """Whether the weights of the reference policy are held beside those in training."""
    return stage.kind == "dpo" or (
        stage.kind == "rl" and stage.kl_weight > 0 and stage.train != "lora"
    )


def _engine(model: Dimensions, rollouts: RolloutConfig) -> Memory:
    width = BYTES[rollouts.dtype]
    tokens = rollouts.max_num_seqs * rollouts.max_model_len
    return Memory(engine=total(model) * width, kv_cache_at_most=cache_bytes(model, width) * tokens)


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

"""What each stage starts, and where: its training processes, its rollout engine, and the memory of
one of each (`runtime.devices`)."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from common.devices import DevicesConfig, Servers, ServerUrls
from common.execution import ENGINE, TRAINER
from models.memory import Memory, on_rank, on_server
from models.sizes import Dimensions, dense_dimensions
from pipeline.recipe.declared import Declared
from stages.declaration import StageConfig

GIB = 2**30


def layout_of(
    stage: Declared, memory: Memory | None, policy: Dimensions | None, usable_gib: float
) -> dict[str, Any] | None:
    """The `layout` of a stage in `plan --json`; None if it neither trains nor starts an engine.

    `memory` is that of the whole stage. A device fits if its part is at most `usable_gib`; without
    known dimensions there are no figures."""
    config, devices = stage.config, stage.execution.devices
    trains = bool(set(TRAINER) & set(config.execution_settings()))
    rolls = bool(set(ENGINE) & set(config.execution_settings())) and any(config.engines())
    if not trains and not rolls:
        return None
    layout: dict[str, Any] = {"trainer": None, "engine": None, "gpus": 1}
    if trains:
        layout["trainer"] = {
            **devices.model_dump(mode="json", include={"processes", "sharding", "precision"}),
            "launcher": list(devices.launcher),
        }
        layout["gpus"] = devices.processes
    if rolls:
        layout["engine"] = devices.engine.model_dump(mode="json")
        if isinstance(devices.engine, Servers):
            servers = devices.engine.replicas * devices.engine.tensor_parallel
            layout["gpus"] = (devices.processes if trains else 0) + servers
        elif isinstance(devices.engine, ServerUrls) and not trains:
            layout["gpus"] = 0
    for place, part in _parts(config, devices, memory, policy, trains, rolls):
        layout[place] = {f"{name}_gib": _gib(size) for name, size in asdict(part).items()}
        layout[place] |= {
            "total_gib": _gib(part.total()),
            "fits": part.total() <= usable_gib * GIB,
        }
    return layout


def _parts(
    config: StageConfig,
    devices: DevicesConfig,
    memory: Memory | None,
    policy: Dimensions | None,
    trains: bool,
    rolls: bool,
) -> Iterator[tuple[str, Memory]]:
    """Memory of one training process (`by_process`) and of one GPU of a server
    (`by_server_gpu`)."""
    if memory is None:
        return
    inside = devices.engine.kind == "in_process"
    if trains and policy is not None:
        yield "by_process", on_rank(memory, policy, devices)
    elif inside:
        yield "by_process", memory
    if rolls and isinstance(devices.engine, Servers):
        tensor_parallel = devices.engine.tensor_parallel
        yield "by_server_gpu", on_server(memory, tensor_parallel, _kv_heads(config, policy))


def _kv_heads(config: StageConfig, policy: Dimensions | None) -> int:
    """The fewest key-value heads of the models that a stage serves."""
    models = [dense_dimensions(use.judge) if use.judge else policy for use in config.engines()]
    return min((model.kv_heads for model in models if model is not None), default=1)


def layout_table(view: dict[str, Any]) -> list[list[str]]:
    """The rows of the printed table of what starts where, the header first."""
    kind = view["gpu"]["name"]
    header = ["stage", "trainer", "engine", "GPUs", "GiB by process", "GiB by server GPU"]
    rows = [[*header, f"fits {kind}"]]
    for stage in view["stages"]:
        if layout := stage["layout"]:
            parts = [layout.get(place) for place in ("by_process", "by_server_gpu")]
            fits = all(part["fits"] for part in parts if part)
            rows.append(
                [
                    stage["id"],
                    _trainer(layout["trainer"]),
                    _engine(layout["engine"]),
                    str(layout["gpus"]),
                    *(f"{part['total_gib']:,.2f}" if part else "-" for part in parts),
                    ("yes" if fits else "no") if any(parts) else "-",
                ]
            )
    return rows


def _trainer(trainer: dict[str, Any] | None) -> str:
    if trainer is None:
        return "-"
    count = trainer["processes"]
    words = [f"{count} process{'es' if count > 1 else ''}", trainer["precision"]]
    words += [trainer["sharding"]] if trainer["sharding"] != "none" else []
    words += [f"by {trainer['launcher'][0]}"] if trainer["launcher"] else []
    return ", ".join(words)


def _engine(view: dict[str, Any] | None) -> str:
    if view is None:
        return "-"
    if view["kind"] == "remote":
        return f"at {len(view['urls'])} URL{'s' if len(view['urls']) > 1 else ''}"
    if view["kind"] != "server":
        return "in process"
    words = [f"{view['replicas']} server{'s' if view['replicas'] > 1 else ''}"]
    words += [f"TP {view['tensor_parallel']}"] if view["tensor_parallel"] > 1 else []
    words += [f"{view['cores']} cores each"] if view["cores"] else []
    return ", ".join(words)


def _gib(size: int) -> float:
    return round(size / GIB, 3)

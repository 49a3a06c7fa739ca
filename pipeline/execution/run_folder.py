"""Finds the run folder, stage or checkpoint that a command names: `runs/<name>` or `<name>`, each
optionally followed by `:STAGE`."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from common.artifacts import CHECKPOINT
from common.errors import BadInput
from common.files import write_sealed
from evals.gate_config import GateConfig
from pipeline.execution.state import NodeState, inspect
from pipeline.planning.plan import Node, Plan
from pipeline.store.record import FORMAT, pruned_files, read_own, require_weights

PLAN = "plan.json"
"""File with the plan of the latest run in a folder."""


def save_plan(run: Path, plan: Plan) -> None:
    write_sealed(run / PLAN, {"format": FORMAT, **asdict(plan)})


def load_plan(run: Path) -> Plan:
    """The plan of the latest run in the folder `run`."""
    remedy = "run the recipe again; finished stages are skipped"
    data = read_own(run / PLAN, remedy)
    try:
        del data["format"]
        data["gates"] = _gates(data)
        preflight = Node(**data["preflight"]) if data["preflight"] else None
        nodes = tuple(Node(**node) for node in data["nodes"])
        return Plan(**{**data, "nodes": nodes, "preflight": preflight})
    except (TypeError, KeyError) as error:
        raise BadInput(
            f"{run / PLAN}: cannot be read: {type(error).__name__}: {error}", remedy
        ) from None


def _gates(data: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    """The gates of a plan. One from before there could be several has `gate`."""
    earlier = data.pop("gate", None)
    gates = data.get("gates", [] if earlier is None else [earlier])
    return tuple(GateConfig.model_validate(gate).model_dump(mode="json") for gate in gates)


def find_run(name: str, runs_dir: Path) -> Path:
    """The run folder with the given path, or with the given name below `runs_dir`."""
    for place in (Path(name), runs_dir / name):
        if (place / PLAN).is_file():
            return place
    known = sorted(path.parent.name for path in runs_dir.glob(f"*/{PLAN}"))
    remedy = (
        f"runs in {runs_dir}: {', '.join(known)}"
        if known
        else f"there are no runs in {runs_dir}; see --runs-dir"
    )
    raise BadInput(f"{name}: no such run", remedy)


def find_stage(name: str, runs_dir: Path) -> tuple[Path, str | None]:
    """The run folder of `RUN[:STAGE]`, and the stage if one is named."""
    run, _, stage = name.rpartition(":") if ":" in name else (name, "", "")
    return find_run(run, runs_dir), stage or None


@dataclass(frozen=True)
class Checkpoint:
    """A finished stage of a run that produced a checkpoint."""

    run: Path
    plan: Plan
    node: Node
    state: NodeState

    @property
    def folder(self) -> Path:
        return CHECKPOINT.path(self.state.folder)


def is_checkpoint(path: Path) -> bool:
    """Whether `path` is a folder with a checkpoint, even a damaged one."""
    return (path / "config.json").is_file() or (path.is_dir() and any(path.glob("*.safetensors")))


def find_checkpoint(name: str, runs_dir: Path) -> Checkpoint:
    """The checkpoint of `RUN:STAGE`, or of the last finished stage of `RUN` that no gate
    refused."""
    run, stage = find_stage(name, runs_dir)
    plan = load_plan(run)
    states = inspect(plan, run)
    if stage:
        node = plan[stage]
        if not node.has_output(CHECKPOINT):
            raise BadInput(
                f"{name}: a {node.kind} stage produces no checkpoint",
                f"name one of the stages {_checkpoint_stages(plan)}",
            )
        if states[stage].state != "done":
            raise BadInput(f"{name}: the stage is {states[stage].state}", "run the recipe first")
        require_weights(states[stage].folder, stage)
        return Checkpoint(run, plan, node, states[stage])
    done = [
        node
        for node in plan.nodes
        if node.has_output(CHECKPOINT) and states[node.id].state == "done"
    ]
    done = [node for node in done if not pruned_files(states[node.id].folder)]
    done = [node for node in done if states[node.id].instead is None]
    if not done:
        raise BadInput(f"{name}: no stage with a checkpoint is done yet", "run the recipe first")
    return Checkpoint(run, plan, done[-1], states[done[-1].id])


def _checkpoint_stages(plan: Plan) -> str:
    """The ids of the stages that produce checkpoints, comma-separated."""
    return ", ".join(node.id for node in plan.nodes if node.has_output(CHECKPOINT))

"""A run folder as the commands name it: `runs/<name>`, `<name>`, each with `:STAGE` where a stage is meant."""

from dataclasses import asdict, dataclass
from pathlib import Path

from common.errors import BadInput
from common.files import read_json, write_json
from pipeline.plan import Node, Plan
from pipeline.references import CHECKPOINT_KINDS
from pipeline.state import NodeState, inspect

PLAN = "plan.json"
"""The plan that a run folder was last run with."""


def save_plan(run: Path, plan: Plan) -> None:
    write_json(run / PLAN, asdict(plan))


def load_plan(run: Path) -> Plan:
    """The plan that `run` was last run with."""
    try:
        data = read_json(run / PLAN)
        return Plan(**{**data, "nodes": tuple(Node(**node) for node in data["nodes"])})
    except (OSError, ValueError, TypeError, KeyError) as error:
        message = f"{run / PLAN}: cannot be read: {type(error).__name__}: {error}"
        raise BadInput(message, "run the recipe again; finished stages are skipped") from None


def find_run(name: str, runs_dir: Path) -> Path:
    """The run folder that a person means: a path to one, or its name below `runs_dir`."""
    for place in (Path(name), runs_dir / name):
        if (place / PLAN).is_file():
            return place
    known = sorted(path.parent.name for path in runs_dir.glob(f"*/{PLAN}"))
    there = f"runs in {runs_dir}: {', '.join(known)}" if known else f"there are no runs in {runs_dir}; see --runs-dir"
    raise BadInput(f"{name}: no such run", there)


@dataclass(frozen=True)
class Checkpoint:
    """A finished stage of a run that left a checkpoint."""

    run: Path
    plan: Plan
    node: Node
    state: NodeState

    @property
    def folder(self) -> Path:
        return self.state.folder / "checkpoint"


def find_checkpoint(name: str, runs_dir: Path) -> Checkpoint:
    """The checkpoint of `RUN:STAGE`, or of the last finished stage of `RUN`."""
    run_name, _, stage = name.rpartition(":") if ":" in name else (name, "", "")
    run = find_run(run_name, runs_dir)
    plan = load_plan(run)
    states = inspect(plan, run)
    if stage:
        node = plan[stage]
        if node.kind not in CHECKPOINT_KINDS:
            raise BadInput(f"{name}: a {node.kind} stage leaves no checkpoint", f"name a stage of {_with(plan)}")
        if states[stage].state != "done":
            raise BadInput(f"{name}: the stage is {states[stage].state}", "run the recipe first")
        return Checkpoint(run, plan, node, states[stage])
    done = [node for node in plan.nodes if node.kind in CHECKPOINT_KINDS and states[node.id].state == "done"]
    if not done:
        raise BadInput(f"{name}: no stage with a checkpoint is done yet", "run the recipe first")
    return Checkpoint(run, plan, done[-1], states[done[-1].id])


def _with(plan: Plan) -> str:
    return ", ".join(node.id for node in plan.nodes if node.kind in CHECKPOINT_KINDS)

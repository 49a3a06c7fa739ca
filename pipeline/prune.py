"""Removes the weights of checkpoints that a run has no more use for, by the recipe's `runtime.keep`.

What stays of a pruned stage is its record, its metrics and `pruned.json`, which names what was removed. Never pruned
are the last, the best, and what a stage or an evaluation that is not done yet still reads.
"""

from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from common.files import read_json, write_sealed
from pipeline.plan import EVALUATE, Node, Plan
from pipeline.record import FORMAT, PRUNED, pruned_files
from pipeline.state import NodeState
from stages.reference import CHECKPOINT_KINDS

States = Mapping[str, NodeState]


def prune(plan: Plan, states: States) -> list[str]:
    """Prune what the plan's rule allows; the ids of the stages that lost their weights. Nothing without a rule."""
    keep = plan.runtime.get("keep")
    found = [node.id for node in prunable(plan, states, keep)] if keep else []
    for stage in found:
        _remove(states[stage])
    return found


def prunable(plan: Plan, states: States, keep: Mapping[str, int]) -> list[Node]:
    """The finished stages whose weights the rule lets go, in the plan's order."""
    done = [node for node in plan.nodes if node.kind in CHECKPOINT_KINDS and states[node.id].state == "done"]
    open_ = [node for node in plan.nodes if states[node.id].state != "done"]
    kept = {stage for node in open_ for stage in node.inputs.values()}
    kept |= {node.id for node in done[len(done) - keep["last"] :]}
    scores = _scores(plan, states)
    kept |= set(sorted(scores, key=lambda stage: scores[stage], reverse=True)[: keep["best"]])
    return [node for node in done if node.id not in kept and not _gone(states[node.id].folder)]


def _gone(folder: Path) -> bool:
    """Whether a stage was pruned, to the end: a crash may have come in between."""
    pruned = pruned_files(folder)
    return bool(pruned) and not any((folder / name).exists() for name in pruned)


def _scores(plan: Plan, states: States) -> dict[str, float]:
    """Each evaluated stage's score: that of the gate's suite, or the mean over the suites where there is no gate."""
    found = {}
    for node in plan.nodes:
        if node.kind == EVALUATE and states[node.id].state == "done":
            suites: dict[str, Any] = read_json(states[node.id].folder / "results.json")["suites"]
            names = [plan.gate["suite"]] if plan.gate else list(suites)
            found[node.inputs["checkpoint"]] = fmean(suites[name]["score"] for name in names)
    return found


def _remove(state: NodeState) -> None:
    """Say first what goes, then remove it: a crash between the two leaves files that nobody counts on."""
    assert state.record is not None
    names = [name for name in state.record["files"] if _weights(Path(name))]
    write_sealed(state.folder / PRUNED, {"format": FORMAT, "files": names, "rule": "runtime.keep"})
    for name in names:
        (state.folder / name).unlink(missing_ok=True)


def _weights(name: Path) -> bool:
    return name.parts[0] == "checkpoint" and name.suffix == ".safetensors"

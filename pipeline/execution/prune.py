"""Removes the weights of checkpoints that a run has no more use for, by the recipe's
`runtime.keep`.

What stays of a pruned stage is its record, its metrics and `pruned.json`, which names what was
removed. Never pruned are the last, the best, and what a stage or an evaluation that is not done yet
still reads."""

from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from common.artifacts import CHECKPOINT, RESULTS
from common.files import write_sealed
from pipeline.execution.state import NodeState
from pipeline.planning.plan import Node, Plan
from pipeline.store.record import FORMAT, PRUNED, pruned_files

States = Mapping[str, NodeState]


def prune(plan: Plan, states: States) -> list[str]:
    """Prune what the plan's rule allows; the ids of the stages that lost their weights. Nothing
    without a rule."""
    keep = plan.runtime.get("keep")
    found = [node.id for node in prunable(plan, states, keep)] if keep else []
    for stage in found:
        _remove(states[stage])
    return found


def prunable(plan: Plan, states: States, keep: Mapping[str, int]) -> list[Node]:
    """The finished stages whose weights the rule lets go, in the plan's order."""
    done = [
        node
        for node in plan.nodes
        if node.has_output(CHECKPOINT) and states[node.id].state == "done"
    ]
    open_ = [node for node in plan.nodes if states[node.id].state != "done"]
    kept = {stage for node in open_ for stage in node.inputs.values()}
    kept |= {node.id for node in done[len(done) - keep["last"] :]}
    kept |= _best(_scores(plan, states), keep["best"])
    return [node for node in done if node.id not in kept and not _gone(states[node.id].folder)]


def _gone(folder: Path) -> bool:
    """Whether a stage was pruned, to the end: a crash may have come in between."""
    pruned = pruned_files(folder)
    return bool(pruned) and not any((folder / name).exists() for name in pruned)


def _best(scores: Mapping[str, float | None], count: int) -> set[str]:
    """The `count` stages with the highest scores, and those without one: any of them may be the
    best."""
    known = {stage: score for stage, score in scores.items() if score is not None}
    best = sorted(known, key=lambda stage: known[stage], reverse=True)[:count]
    return {*best, *(scores.keys() - known.keys())} if count else set()


def _scores(plan: Plan, states: States) -> dict[str, float | None]:
    """Each evaluated stage's score: that of the gate's suite, or the mean over the suites where
    there is no gate.

    None where a suite that counts has no score, because none of its answers could be judged.
    """
    found: dict[str, float | None] = {}
    for node in plan.nodes:
        if node.evaluated and states[node.id].state == "done":
            suites: dict[str, Any] = RESULTS.read(states[node.id].folder)["suites"]
            scores = [
                suites[name]["score"] for name in ([plan.gate["suite"]] if plan.gate else suites)
            ]
            found[node.evaluated] = None if None in scores else fmean(scores)
    return found


def _remove(state: NodeState) -> None:
    """Say first what goes, then remove it: a crash between the two leaves files that nobody counts
    on."""
    assert state.record is not None
    names = [name for name in state.record["files"] if CHECKPOINT.holds_weights(name)]
    write_sealed(state.folder / PRUNED, {"format": FORMAT, "files": names, "rule": "runtime.keep"})
    for name in names:
        (state.folder / name).unlink(missing_ok=True)

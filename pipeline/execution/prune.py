"""Removes the weights of checkpoints that are no longer needed, as `runtime.keep` allows.

All other files of a pruned stage stay, and `pruned.json` lists the removed ones. Never pruned are
the newest and the best checkpoints, and those that an unfinished stage or evaluation reads."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

from common.artifacts import CHECKPOINT
from common.files import write_sealed
from pipeline.execution.gates import inputs_of, may_go_back_to
from pipeline.execution.state import NodeState
from pipeline.planning.plan import Node, Plan
from pipeline.store.record import FORMAT, PRUNED, pruned_files

States = Mapping[str, NodeState]


def prune(plan: Plan, states: States) -> list[str]:
    """Prune what `runtime.keep` allows; return the ids of the pruned stages. Without `runtime.keep`
    nothing is pruned."""
    keep = plan.runtime.get("keep")
    stages = [node.id for node in prunable(plan, states, keep)] if keep else []
    for stage in stages:
        _remove(states[stage])
    return stages


def prunable(plan: Plan, states: States, keep: Mapping[str, int]) -> list[Node]:
    """The finished stages whose weights may be removed, in the plan's order."""
    done = [
        node
        for node in plan.nodes
        if node.has_output(CHECKPOINT) and states[node.id].state == "done"
    ]
    unfinished = [node for node in plan.nodes if states[node.id].state != "done"]
    kept = {stage for node in unfinished for stage in inputs_of(node, states).values()}
    kept |= {stage for node in unfinished if (stage := may_go_back_to(plan, states, node))}
    kept |= {node.id for node in done[len(done) - keep["last"] :]}
    kept |= _best(_scores(plan, states), keep["best"])
    return [node for node in done if node.id not in kept and not _is_pruned(states[node.id].folder)]


def _is_pruned(folder: Path) -> bool:
    """Whether a stage was pruned completely. A crash may have interrupted the removal."""
    pruned = pruned_files(folder)
    return bool(pruned) and not any((folder / name).exists() for name in pruned)


def _best(scores: Mapping[str, float | None], count: int) -> set[str]:
    """The `count` stages with the highest scores, and those without a score, any of which may be
    the best."""
    known = {stage: score for stage, score in scores.items() if score is not None}
    best = sorted(known, key=lambda stage: known[stage], reverse=True)[:count]
    return {*best, *(scores.keys() - known.keys())} if count else set()


def _scores(plan: Plan, states: States) -> dict[str, float | None]:
    """Evaluated stage to its dev score: the mean over the suites of the gates, or over all if there
    is no gate.

    None if a suite has no score because none of its answers could be graded."""
    from evals.parts import dev_scores

    by_stage: dict[str, float | None] = {}
    for node in plan.nodes:
        if node.evaluated and states[node.id].state == "done":
            suites = dev_scores(states[node.id].folder).suites
            steering = [one["name"] for one in node.config["suites"] if one.get("dev", True)]
            scores = [suites[name]["score"] for name in _deciding(plan, steering)]
            by_stage[node.evaluated] = None if None in scores or not scores else fmean(scores)
    return by_stage


def _deciding(plan: Plan, steering: Sequence[str]) -> Sequence[str]:
    """The suites whose dev scores decide: those of the gates, or all that have a dev part."""
    return list(dict.fromkeys(gate["suite"] for gate in plan.gates)) or steering


def _remove(state: NodeState) -> None:
    """List the files first, then remove them: after a crash in between, files that are listed but
    still exist do no harm."""
    assert state.record is not None
    names = [name for name in state.record["files"] if CHECKPOINT.holds_weights(name)]
    write_sealed(state.folder / PRUNED, {"format": FORMAT, "files": names, "rule": "runtime.keep"})
    for name in names:
        (state.folder / name).unlink(missing_ok=True)

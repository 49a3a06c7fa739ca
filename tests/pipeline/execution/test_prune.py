"""Whose weights go by `runtime.keep`, and whose never do."""

import pytest

from builders.toy_runs import record_of
from common.artifacts import CHECKPOINT, RESULTS
from common.errors import RunFailed
from common.files import read_sealed, write_json
from evals.gate_config import GateConfig
from pipeline.execution.prune import prunable, prune
from pipeline.execution.state import inspect
from pipeline.planning.plan import Node, Plan
from pipeline.store.record import (
    PRUNED,
    problems_in,
    record_checksum,
    require_weights,
    write_record,
)

IDS = ("base", "sft", "rl", "dpo")
SCORES = {"base": 0.1, "sft": 0.5, "rl": 0.4, "dpo": 0.3}


def node(id, produces, place, config=None, **inputs):
    names = tuple(artifact.name for artifact in produces)
    return Node(id, "toy", config or {}, "", 0, inputs, {"id": id}, id, place, "", names)


def plan_of(keep=None, gate=None, without_dev=()):
    suites = [{"name": name, "dev": name not in without_dev} for name in ("held_out", "other")]
    nodes, before = [], None
    for number, id in enumerate(IDS, start=1):
        nodes.append(
            node(
                id, [CHECKPOINT], f"{number:02d}-{id}", **({"checkpoint": before} if before else {})
            )
        )
        config = {"suites": suites}
        nodes.append(node(f"eval-{id}", [RESULTS], f"evals/{id}", config, checkpoint=id))
        before = id
    gates = () if gate is None else (GateConfig(max_drop=0.1, **gate).model_dump(),)
    return Plan("toy", tuple(nodes), gates, runtime={"keep": keep} if keep else {})


@pytest.fixture
def finish(tmp_path):
    """Finishes the first `count` nodes of a plan."""

    def make(plan, count):
        for node in plan.nodes[:count]:
            folder = tmp_path / node.place
            if node.evaluated:
                score = SCORES[node.evaluated]
                scores = {"held_out": score, "other": 1.2 - 2 * (score or 0)}
                suites = {
                    # The final parts say the opposite, and decide nothing.
                    name: {"dev": {"score": own}, "final": {"score": -(own or 0)}}
                    for name, own in scores.items()
                }
                folder.mkdir(parents=True)
                write_json(folder / "results.json", {"suites": suites})
            else:
                (folder / "checkpoint").mkdir(parents=True)
                (folder / "checkpoint" / "model.safetensors").write_bytes(b"weights")
                (folder / "checkpoint" / "config.json").write_text("{}")
            made = {
                name: {
                    "stage": stage,
                    "fingerprint": stage,
                    "record": record_checksum(tmp_path / plan[stage].place),
                }
                for name, stage in node.inputs.items()
            }
            write_record(
                folder,
                {"fingerprint": node.fingerprint, "identity": dict(node.identity), "inputs": made},
            )
        return inspect(plan, tmp_path)

    return make


@pytest.mark.parametrize(
    ("last", "best", "gate", "gone"),
    [
        (1, 0, None, ["base", "sft", "rl"]),
        (1, 1, {"suite": "held_out"}, ["base", "rl"]),
        (1, 1, None, ["sft", "rl"]),  # the mean over the suites turns the order around
        (2, 1, {"suite": "held_out"}, ["base"]),
        (4, 0, None, []),
    ],
)
def test_the_last_and_the_best_stay(finish, last, best, gate, gone):
    plan = plan_of({"last": last, "best": best}, gate)
    assert [node.id for node in prunable(plan, finish(plan, 8), plan.runtime["keep"])] == gone


def test_a_suite_without_a_dev_part_decides_nothing(finish):
    plan = plan_of({"last": 1, "best": 1}, without_dev=["other"])
    found = prunable(plan, finish(plan, 8), plan.runtime["keep"])
    assert [node.id for node in found] == ["base", "rl"]


def test_what_has_no_score_may_be_the_best_and_stays(finish, monkeypatch):
    monkeypatch.setitem(SCORES, "base", None)
    plan = plan_of({"last": 1, "best": 1}, {"suite": "held_out"})
    assert [node.id for node in prunable(plan, finish(plan, 8), plan.runtime["keep"])] == ["rl"]


@pytest.mark.parametrize(
    ("done", "gone"),
    [
        (3, []),  # sft is done, and dpo will read base
        (5, ["sft"]),
        (6, ["sft"]),
        (7, ["base", "sft", "rl"]),
    ],
)
def test_what_is_still_to_be_read_stays(finish, done, gone):
    plan = plan_of()
    plan["dpo"].inputs["reference"] = "base"
    assert [node.id for node in prunable(plan, finish(plan, done), {"last": 1, "best": 0})] == gone


def test_a_pruned_stage_stays_done_and_says_so(finish, tmp_path):
    plan = plan_of({"last": 1, "best": 0})
    finish(plan, 3)
    assert prune(plan, inspect(plan, tmp_path)) == ["base"]
    folder = tmp_path / "01-base"
    assert not (folder / "checkpoint" / "model.safetensors").exists()
    assert (folder / "checkpoint" / "config.json").exists()
    assert read_sealed(folder / PRUNED)["files"] == ["checkpoint/model.safetensors"]
    states = inspect(plan, tmp_path)
    assert [states[id].state for id in ("base", "eval-base", "sft")] == ["done"] * 3
    assert list(problems_in(folder, record_of(folder), whole=True)) == []
    assert prune(plan, states) == []
    (folder / "checkpoint" / "model.safetensors").write_bytes(
        b"weights"
    )  # as if killed before it was removed
    assert prune(plan, states) == ["base"] and prune(plan, states) == []
    with pytest.raises(RunFailed, match=r"removed by `runtime.keep`"):
        require_weights(folder, "base")
    require_weights(tmp_path / "02-sft", "sft")


def test_without_a_rule_nothing_goes(finish):
    plan = plan_of()
    assert prune(plan, finish(plan, 8)) == []

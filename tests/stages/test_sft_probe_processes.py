"""Probes of an SFT in two gloo processes: the same end and the same kept weights as in one, also of
a stage that was stopped."""

import pytest
from safetensors.torch import load_file

from builders.learnable import probed_inputs
from builders.ranks import alone, job, together
from common.files import read_json_lines

STAGE = {"id": "sft", "kind": "sft", "on": "prompts", "train": "full", "batch_size": 5}
STAGE |= {"learning_rate": 1e-2, "schedule": "constant", "warmup_steps": 0, "epochs": 2}
STAGE |= {"stop_when": {"every": 1, "samples": 2, "max_tokens": 2, "format": 0.1}}
EXECUTION = {"save_every": 2, "devices": {"engine": {"kind": "server"}}}
"""No server is started: the engine is a double."""
SHARDINGS = ("ddp", "fsdp2")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("ranks")


@pytest.fixture(scope="module")
def found(root):
    inputs = probed_inputs(root / "inputs", 11)

    def attempt(name, *sharding, rows=4, **settings):
        more = {"rows_per_forward": rows, "double": True, "sgd": True, **EXECUTION, **settings}
        return job(name, STAGE, inputs, *sharding, **more)

    jobs = []
    for kind in SHARDINGS:
        jobs.append(attempt(kind, kind, rows=2))
        jobs.append(attempt(f"{kind}-begun", kind, rows=2, stop=(1, 1)))
        jobs.append(attempt(f"{kind}-again", kind, rows=2, folder=f"{kind}-begun"))
    return {"one": [alone(root, attempt("one"))], **together(root, jobs)}


@pytest.mark.parametrize("kind", SHARDINGS)
def test_two_processes_end_as_one_does_and_keep_the_same_weights(root, found, kind):
    (one,), two = found["one"], found[kind]
    assert (one["metrics"]["ended"], one["metrics"]["kept_step"]) == ("patience", 1)
    assert one["metrics"]["steps"] == 3
    for metrics in (result["metrics"] for result in two):
        for name in ("ended", "steps", "kept_step", "kept_pass_at_k", "kept_format"):
            assert metrics[name] == one["metrics"][name], name
    rows, wanted = (read_json_lines(root / name / "probes.jsonl") for name in (kind, "one"))
    assert [row["ended"] for row in rows] == [None, None, "patience"]
    for row, other in zip(rows, wanted, strict=True):
        assert row["correct"] == other["correct"] and row["tokens"] == other["tokens"]
        assert row["entropy"] == pytest.approx(other["entropy"], rel=1e-4)
    mine, theirs = (
        load_file(root / name / "checkpoint" / "model.safetensors") for name in (kind, "one")
    )
    assert max((mine[name] - theirs[name]).abs().max().item() for name in theirs) < 1e-7


@pytest.mark.parametrize("kind", SHARDINGS)
def test_a_stopped_stage_ends_in_the_bytes_of_an_unbroken_one(root, found, kind):
    assert [result["error"] for result in found[f"{kind}-begun"]] == ["Interrupted"] * 2
    assert found[f"{kind}-again"] == found[kind]
    for name in ("checkpoint/model.safetensors", "metrics.jsonl", "probes.jsonl"):
        begun, whole = root / f"{kind}-begun" / name, root / kind / name
        assert begun.read_bytes() == whole.read_bytes(), name

"""DPO in two gloo processes, against one: its two terms are means over the whole step, and each
process has the reference's log-probabilities of all pairs."""

import pytest
from safetensors.torch import load_file

from builders.learnable import pair_inputs
from builders.ranks import alone, job, together
from common.files import read_json_lines

PAIRS = 9
"""In batches of 4: the last of three steps has one pair, and a process without any."""
FULL = {"id": "dpo", "kind": "dpo", "from": "rl", "pairs": "rl", "train": "full", "batch_size": 4}
FULL |= {"learning_rate": 1e-2, "schedule": "constant", "warmup_steps": 0, "beta": 0.5}
PARTS = ["attention", "routed_experts"]
STAGES = {
    "full": FULL,
    "lora": {**FULL, "train": "lora", "lora": {"rank": 4, "alpha": 8, "parts": PARTS}},
    "sigmoid": {**FULL, "sft_weight": 0.0},
}
SHARDINGS = ("ddp", "fsdp2")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("ranks")
    inputs = pair_inputs(root / "inputs", PAIRS)
    for name, stage in STAGES.items():
        alone(root, job(f"one-{name}", stage, inputs, sgd=True, rows_per_forward=8))
    jobs = [
        job(f"{kind}-{name}", stage, inputs, kind, sgd=True, rows_per_forward=2)
        for kind in SHARDINGS
        for name, stage in STAGES.items()
    ]
    for kind in SHARDINGS:
        at_once = {"rows_per_forward": 2, "save_every": 1}
        whole = job(f"{kind}-whole", FULL, inputs, kind, sgd=True, **at_once)
        begun = {**whole, "name": f"{kind}-begun", "folder": f"{kind}-begun", "stop": (1, 1)}
        jobs += [whole, begun, {**begun, "name": f"{kind}-again", "stop": None}]
    found = together(root, jobs)
    for kind in SHARDINGS:
        assert [one["error"] for one in found[f"{kind}-begun"]] == ["Interrupted"] * 2
    return root


@pytest.mark.parametrize("kind", SHARDINGS)
@pytest.mark.parametrize("name", STAGES)
def test_two_processes_end_in_the_weights_of_one(root, kind, name):
    folders = root / f"{kind}-{name}", root / f"one-{name}"
    mine, one = (load_file(folder / "checkpoint" / "model.safetensors") for folder in folders)
    assert mine.keys() == one.keys()
    assert max((mine[key] - one[key]).abs().max().item() for key in one) < 1e-7
    assert (folders[0] / "pairs.jsonl").read_bytes() == (folders[1] / "pairs.jsonl").read_bytes()


@pytest.mark.parametrize("kind", SHARDINGS)
@pytest.mark.parametrize("name", STAGES)
def test_the_figures_are_those_of_all_pairs(root, kind, name):
    rows, wanted = (
        read_json_lines(root / folder / "metrics.jsonl")
        for folder in (f"{kind}-{name}", f"one-{name}")
    )
    assert len(rows) == len(wanted) == 3
    for row, other in zip(rows, wanted, strict=True):
        assert row == pytest.approx(other, rel=1e-4, abs=1e-6), other["step"]
    assert {"rewards/margins", "logps/chosen", "num_tokens", "grad_norm"} <= rows[0].keys()


@pytest.mark.parametrize("kind", SHARDINGS)
def test_a_stopped_stage_goes_on_in_the_same_bytes(root, kind):
    for name in ("checkpoint/model.safetensors", "metrics.jsonl", "pairs.jsonl"):
        begun, whole = root / f"{kind}-begun" / name, root / f"{kind}-whole" / name
        assert begun.read_bytes() == whole.read_bytes(), name

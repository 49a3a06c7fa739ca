"""SFT in two gloo processes, against one: every layout ends in the same weights and figures, and a
stopped stage goes on, with as many processes in the same bytes."""

import pytest
from safetensors.torch import load_file

from builders.learnable import prompt_inputs
from builders.ranks import alone, job, together
from common.files import files_below, read_json_lines, read_sealed

PROMPTS = 11
"""In batches of 5: the last of three steps has one row, and a process without any."""
FULL = {"id": "sft", "kind": "sft", "on": "prompts", "train": "full", "batch_size": 5}
FULL |= {"learning_rate": 1e-2, "schedule": "constant", "warmup_steps": 0}
PARTS = ["attention", "mlp", "shared_expert", "routed_experts"]
RATE = 1e-3
ADAM = {**FULL, "learning_rate": RATE}
STAGES = {
    "full": FULL,
    "lora": {**FULL, "train": "lora", "lora": {"rank": 4, "alpha": 8, "parts": PARTS}},
    "balanced": {**FULL, "balance_loss": 0.1},
}
SHARDINGS = ("ddp", "fsdp2")
WITH_TWO = {"rows_per_forward": 2, "save_every": 2}
WITH_ONE = {**WITH_TWO, "rows_per_forward": 8}
"""A step in one pass: of several passes the figures are means by rows, and not by tokens."""
LIKE_TWO = {**WITH_TWO, "rows_per_forward": 4}
"""As many rows at once as two processes have together: a balance loss is that of a pass."""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("ranks")


@pytest.fixture(scope="module")
def inputs(root):
    return prompt_inputs(root / "inputs", PROMPTS)


@pytest.fixture(scope="module")
def found(root, inputs):
    """What each process found, by job."""
    for name, stage in STAGES.items():
        settings = LIKE_TWO if "balance_loss" in stage else WITH_ONE
        alone(root, job(f"one-{name}", stage, inputs, sgd=True, **settings))
    alone(root, job("one-adam", ADAM, inputs, **WITH_ONE))
    jobs = []
    for kind in SHARDINGS:
        for name, stage in STAGES.items():
            settings = {**WITH_TWO, "gradient_checkpointing": name != "full"}
            jobs.append(job(f"{kind}-{name}", stage, inputs, kind, sgd=True, **settings))
        for name in ("full", "balanced"):
            settings = {**WITH_TWO, "packing": True}
            jobs.append(
                job(f"{kind}-packed-{name}", STAGES[name], inputs, kind, sgd=True, **settings)
            )
        jobs.append(job(f"{kind}-adam", ADAM, inputs, kind, **WITH_TWO))
        for begun in (f"{kind}-begun", f"{kind}-handed-over"):
            jobs.append(job(begun, ADAM, inputs, kind, stop=(1, 1), **WITH_TWO))
        again = {"folder": f"{kind}-begun", **WITH_TWO}
        jobs.append(job(f"{kind}-again", ADAM, inputs, kind, **again))
    return together(root, jobs)


def gap(root, one, other):
    """The largest difference between the weights of two checkpoints."""
    ours, theirs = (load_file(root / n / "checkpoint" / "model.safetensors") for n in (one, other))
    assert ours.keys() == theirs.keys()
    return max((ours[name] - theirs[name]).abs().max().item() for name in ours)


def logged(root, name, log="metrics.jsonl"):
    return read_json_lines(root / name / log)


@pytest.mark.parametrize("kind", SHARDINGS)
@pytest.mark.parametrize("name", STAGES)
def test_two_processes_end_in_the_weights_of_one(root, found, kind, name):
    assert gap(root, f"{kind}-{name}", f"one-{name}") < 1e-7


@pytest.mark.parametrize("kind", SHARDINGS)
@pytest.mark.parametrize("name", [*STAGES, "adam"])
def test_the_figures_are_those_of_all_rows(root, found, kind, name):
    rows, wanted = logged(root, f"{kind}-{name}"), logged(root, f"one-{name}")
    assert len(rows) == len(wanted) == 3
    for row, other in zip(rows, wanted, strict=True):
        assert row == pytest.approx(other, rel=1e-4), other["step"]
    assert logged(root, f"{kind}-{name}", "routing.jsonl") == logged(
        root, f"one-{name}", "routing.jsonl"
    )
    assert found[f"{kind}-{name}"][0] == found[f"{kind}-{name}"][1]


@pytest.mark.parametrize("kind", SHARDINGS)
@pytest.mark.parametrize("name", ["full", "balanced"])
def test_packed_rows_in_two_processes_are_the_padded_ones_of_one(root, found, kind, name):
    assert gap(root, f"{kind}-packed-{name}", f"one-{name}") < 1e-7
    rows, wanted = logged(root, f"{kind}-packed-{name}"), logged(root, f"one-{name}")
    for row, other in zip(rows, wanted, strict=True):
        assert row == pytest.approx(other, rel=1e-4), other["step"]
    routing = logged(root, f"{kind}-packed-{name}", "routing.jsonl")
    assert routing == logged(root, f"one-{name}", "routing.jsonl")


@pytest.mark.parametrize("kind", SHARDINGS)
def test_with_adam_the_weights_differ_by_rounding(root, found, kind):
    # Adam divides a gradient by its size: where it is nearly 0, rounding decides the step.
    assert gap(root, f"{kind}-adam", "one-adam") < RATE / 10


@pytest.mark.parametrize("kind", SHARDINGS)
def test_the_checkpoint_is_the_folder_of_one_process(root, found, kind):
    mine, one = root / f"{kind}-adam" / "checkpoint", root / "one-adam" / "checkpoint"
    names = [path.name for path in files_below(mine)]
    assert names == [path.name for path in files_below(one)]
    for name in set(names) - {"model.safetensors"}:
        assert (mine / name).read_bytes() == (one / name).read_bytes(), name


@pytest.mark.parametrize("kind", SHARDINGS)
def test_a_stop_that_reached_one_process_stops_all_and_ends_in_the_same_bytes(root, found, kind):
    assert [result["error"] for result in found[f"{kind}-begun"]] == ["Interrupted"] * 2
    assert len(logged(root, f"{kind}-handed-over")) == 2  # of three steps
    begun, whole = root / f"{kind}-begun", root / f"{kind}-adam"
    for name in ("checkpoint/model.safetensors", "metrics.jsonl", "routing.jsonl"):
        assert (begun / name).read_bytes() == (whole / name).read_bytes(), name


def test_one_process_goes_on_from_a_checkpoint_of_two(root, inputs, found):
    again = job("alone", ADAM, inputs, folder="ddp-handed-over", **WITH_ONE)
    assert alone(root, again)["metrics"]["steps"] == 3
    assert gap(root, "ddp-handed-over", "ddp-adam") < 1e-6


def test_a_checkpoint_in_parts_is_refused_without_sharding_and_read_by_another_number(
    root, inputs, found
):
    folder = "fsdp2-handed-over"
    refused = alone(root, job("refused", ADAM, inputs, folder=folder, **WITH_ONE))
    assert refused["error"] == "BadInput"
    assert '"sharding": "fsdp2"' in refused["message"] and "checkpoint-2" in refused["message"]
    again = job("other", ADAM, inputs, "fsdp2", folder=folder, **WITH_ONE)
    (result,) = together(root, [again], processes=1)["other"]
    assert result["metrics"]["steps"] == 3 and gap(root, folder, "fsdp2-adam") < 1e-6
    marker = read_sealed(root / folder / "resume" / "checkpoint-3" / "complete.json")
    assert marker["devices"] == {"processes": 1, "sharding": "fsdp2"}


def test_three_processes_end_in_the_weights_of_one(root, inputs, found):
    # 5 rows a step, one at once: in the second of two passes one process has none.
    jobs = [
        job(f"three-{kind}", FULL, inputs, kind, sgd=True, rows_per_forward=1) for kind in SHARDINGS
    ]
    together(root, jobs, processes=3)
    for kind in SHARDINGS:
        assert gap(root, f"three-{kind}", "one-full") < 1e-7
        assert logged(root, f"three-{kind}")[-1] == pytest.approx(
            logged(root, "one-full")[-1], rel=1e-4
        )

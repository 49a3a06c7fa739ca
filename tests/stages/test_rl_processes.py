"""RL in two processes: weights and figures of one, whatever each process has to train on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from builders import rl_ranks
from builders.ranks import TESTS, free_port

WAIT = 150
"""Seconds after which processes that are still there have hung."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rl")
    rl_ranks.make_start(folder / "start")
    return folder


def trained(folder, processes, sharding, train, kl_weight=0.0):
    """What three steps give: with groups, without, with groups."""
    work = folder / f"{processes}-{sharding}-{train}-{kl_weight}"
    if (work / "result.pt").exists():
        return torch.load(work / "result.pt", weights_only=False)
    work.mkdir()
    env = {**os.environ, "PYTHONPATH": f"{TESTS.parent}{os.pathsep}{TESTS}", "OMP_NUM_THREADS": "1"}
    if processes > 1:
        env |= {"WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes)}
        env |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    children = []
    for rank in range(processes):
        own = {"RANK": str(rank), "LOCAL_RANK": str(rank)} if processes > 1 else {}
        words = [str(work), str(rank), str(processes), sharding, train, str(kl_weight)]
        command = [sys.executable, rl_ranks.__file__, *words]
        log = (work / f"rank-{rank}.log").open("w")
        children.append(subprocess.Popen(command, env=env | own, stdout=log, stderr=log))
    try:
        codes = [child.wait(WAIT) for child in children]
    finally:
        for child in children:
            child.kill()
    said = "\n".join(path.read_text()[-3000:] for path in sorted(work.glob("*.log")))
    assert codes == [0] * processes, said
    return torch.load(work / "result.pt", weights_only=False)


@pytest.mark.parametrize("train", ["full", "lora"])
@pytest.mark.parametrize("sharding", ["ddp", "fsdp2"])
def test_two_processes_train_to_the_weights_of_one_and_keep_the_best(folder, sharding, train):
    kl_weight = 0.3 if train == "full" else 0.0
    one = trained(folder, 1, "none", train, kl_weight)
    two = trained(folder, 2, sharding, train, kl_weight)
    assert (len(one["world"]), len(two["world"])) == (1, 2)
    assert ("DistributedDataParallel" if sharding == "ddp" else "FSDP") in two["wrapped"]
    assert one["weights"].keys() == two["weights"].keys()
    for name, weight in one["weights"].items():
        assert (two["weights"][name] - weight).abs().max() <= 1e-7, name
    for ours, theirs in zip(two["rows"], one["rows"], strict=True):
        for name in (n for n in theirs if n not in ("step_time", "epoch") and "time/" not in n):
            assert ours[name] == pytest.approx(theirs[name], rel=1e-4, abs=2e-6), name
    for found in (one, two):
        assert all(torch.equal(found["second"][n], w) for n, w in found["best"].items())
        assert [row["dev/score"] for row in found["rows"]] == [0.1, 0.2, 0.3]
        assert [row["tokens_generated_total"] for row in found["rows"]] == [5, 10, 15]
    moved = torch.cat([(one["weights"][n] - w).abs().flatten() for n, w in start(folder).items()])
    assert moved.max() > 1e-4 and one["rows"][0]["grad_norm"] > 0.01


def start(folder: Path):
    from safetensors.torch import load_file

    return load_file(folder / "start" / "model.safetensors")

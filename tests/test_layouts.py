"""RL through the command line in processes of its own: two training processes, a rollout server,
rollouts one step ahead. Killed on the way it ends in the same bytes and leaves nothing behind."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.process_kills import below, kind_of, left_behind
from benchmarks.same_run import differing
from common.artifacts import METRICS
from common.files import read_json

ROOT = Path(__file__).parents[1]
RECIPE = """
name: layouts
seed: 3
model: {preset: nano}
prompts:
  - {source: reasoning_gym, family: spell_backward, capability: spelling, question: "reverse {word}",
     settings: {min_word_len: 3, max_word_len: 3}, held_out: 0.1, count: 500}
stages:
  - {id: sft, kind: sft, on: prompts, train: full, epochs: 5, batch_size: 64, learning_rate: 3.0e-3}
  - {id: rl, kind: rl, from: sft, on: prompts, train: full, steps: 5, prompts_per_step: 4, group_size: 6,
     max_tokens: 8, learning_rate: 5.0e-5, ahead: 1, rollouts: {max_model_len: 64}}
runtime:
  stages:
    sft: {rows_per_forward: 64}
    rl: {save_every: 2, devices: {processes: 2, sharding: fsdp2, engine: {kind: server}}}
"""  # noqa: E501
SLOWEST_S = 240


def started(folder, *options):
    command = [sys.executable, "-m", "pipeline", "run", str(folder.parent / "layouts.yaml")]
    with (folder.parent / f"{folder.name}.log").open("ab") as log:
        return subprocess.Popen(
            [*command, "--runs-dir", str(folder), *options],
            stdout=log,
            stderr=log,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )


def said(folder):
    return (folder.parent / f"{folder.name}.log").read_text()[-3000:]


def finished(folder, *options):
    assert started(folder, *options).wait(SLOWEST_S) == 0, said(folder)
    return folder / "layouts"


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A folder with two runs up to SFT."""
    folder = tmp_path_factory.mktemp("layouts")
    (folder / "layouts.yaml").write_text(RECIPE)
    finished(folder / "whole", "--until", "sft")
    shutil.copytree(folder / "whole", folder / "killed")
    return folder


def test_killed_processes_end_in_the_same_bytes_and_leave_nothing_behind(begun):
    whole, folder = finished(begun / "whole"), begun / "killed"
    process = started(folder)
    checkpoint = folder / "layouts" / "04-rl.partial" / "resume" / "checkpoint-2" / "complete.json"
    end = time.monotonic() + SLOWEST_S
    while not checkpoint.exists():
        assert process.poll() is None and time.monotonic() < end, said(folder)
        time.sleep(0.02)
    ranks = [pid for pid in below(process.pid) if kind_of(pid) == "rank"]
    assert len(ranks) == 2
    os.kill(ranks[1], signal.SIGKILL)
    assert process.wait(60) == 1
    assert "rank 1 of 2 was killed by SIGKILL" in said(folder)
    time.sleep(1)
    assert left_behind(folder) == 0
    killed = finished(folder)
    assert differing(whole, killed) == []
    rows = METRICS.read(killed / "04-rl")
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5]
    assert all(row["parity/probe_gap"] < 1e-5 for row in rows)
    assert "parity/largest_gap" in rows[0] and "importance/effective_share" not in rows[0]
    assert all(0.9 < row["importance/effective_share"] <= 1 for row in rows[1:])
    record = read_json(killed / "04-rl" / "record.json")
    assert record["execution"]["devices"]["processes"] == 2
    assert len(record["peak_memory_mib_by_rank"]) == 2

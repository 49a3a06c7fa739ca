"""RL with an engine in bfloat16 through the command line: it trains, says its drift, and ends in
the same bytes when it is run again."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.same_run import differing
from common.artifacts import METRICS, PARITY

ROOT = Path(__file__).parents[1]
RECIPE = """
name: rounded
seed: 3
model: {preset: nano}
prompts:
  - {source: reasoning_gym, family: spell_backward, capability: spelling, question: "reverse {word}",
     settings: {min_word_len: 3, max_word_len: 4}, held_out: 0.1, count: 1000}
stages:
  - {id: sft, kind: sft, on: prompts, train: full, epochs: 6, batch_size: 64, learning_rate: 3.0e-3}
  - {id: rl, kind: rl, from: sft, on: prompts, train: full, steps: 3, prompts_per_step: 8, group_size: 8,
     max_tokens: 8, learning_rate: 1.0e-4, rollouts: {max_model_len: 64, dtype: bfloat16}}
runtime:
  stages:
    sft: {rows_per_forward: 64}
"""  # noqa: E501


def finished(folder, *options):
    command = [sys.executable, "-m", "pipeline", "run", str(folder.parent / "rounded.yaml")]
    done = subprocess.run(
        [*command, "--runs-dir", str(folder), *options],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder / "rounded"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The same run twice, with one SFT."""
    folder = tmp_path_factory.mktemp("rounded")
    (folder / "rounded.yaml").write_text(RECIPE)
    finished(folder / "one", "--until", "sft")
    shutil.copytree(folder / "one", folder / "two")
    return [finished(folder / name) for name in ("one", "two")]


def test_two_runs_end_in_the_same_bytes(runs):
    assert differing(*runs) == []


def test_the_metrics_say_drift_and_the_share_that_the_correction_leaves(runs):
    rows = METRICS.read(runs[0] / "04-rl")
    assert [row["step"] for row in rows] == [1, 2, 3]
    assert not any(name.endswith("_gap") for row in rows for name in row)
    # Rounding to eight bits, and not the 1e-6 of an engine in float32.
    assert all(1e-5 < row["parity/probe_drift"] < 0.1 for row in rows)
    trained = [row for row in rows if row["mixed_share"] > 0]
    assert trained and all(1e-5 < row["parity/rollout_drift"] < 0.1 for row in trained)
    assert all(0.99 < row["importance/effective_share"] < 1 for row in trained)
    assert all(row["grad_norm"] > 0 for row in trained)
    assert 1e-5 < PARITY.read(runs[0] / "04-rl")["mean_gap"] < 0.1
